"""Parquet and CSV hold what JSONL holds: every kind, every field, in the same order."""

import csv
import io
import json
import sys
from typing import Any

import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from msgspec import inspect

from contract.errors import ErrorCode, JobError, StorageUnavailableError, UsageError
from contract.job import Job, Plan
from contract.kinds import KINDS
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.workspace import Workspace
from producer.results.sinks import SINKS, check_exports, parquet
from producer.results.sinks.base import MergedLine, SinkContext

TEXT = 'Straße, «漢字» 🎉\n="1+1"'
FAILURE = Failure(ErrorCode.TRUNCATED, "cut")


def value(info: inspect.Type, full: bool) -> Any:
    """Return a value of a type: with everything that it can have, or with as little as it can have."""
    match info:
        case inspect.UnionType(types=types):
            return (
                value(next(one for one in types if not isinstance(one, inspect.NoneType)), full)
                if full
                else None
            )
        case inspect.StructType(fields=fields):
            return {one.encode_name: value(one.type, full) for one in fields if full or one.required}
        case inspect.VarTupleType(item_type=item):
            return [value(item, True), value(item, False)] if full else []
        case inspect.TupleType(item_types=items):
            return [value(one, full) for one in items]
        case inspect.StrType():
            return TEXT if full else ""
        case inspect.FloatType():
            return 0.1 + 0.2
        case inspect.IntType():
            return 7
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
    return {"camera": {"number": 7}}


def merged(kind: str) -> list[MergedLine]:
    """Return lines of a kind: full ones, empty ones, and an error between them."""
    line = KINDS[kind].line
    results = [
        MergedLine(encode_line(msgspec.convert(value(inspect.type_info(line), full), line)).strip(), None, 0)
        for full in (True, False, True)
    ]
    failed = ErrorLine(TEXT, "/scans/b.png", FAILURE, 2)
    return [*results[:2], MergedLine(encode_line(failed).strip(), FAILURE, 0), results[2]]


def of_kind(kind: str, job: Job, items: int = 4) -> Job:
    given = {"kind": kind, "parameters": KINDS[kind].parameters(), "plan": Plan(chunks=1, items=items)}
    return job.model_copy(update={"exports": ("parquet",), **given})


def write(job: Job, workspace: Workspace, lines: list[MergedLine], *names: str) -> None:
    for name in names:
        with SINKS[name].open(SinkContext(job, workspace)) as write_line:
            for line in lines:
                write_line(line)


def rows_of(path: str, reader: str) -> list[dict[str, Any]]:
    if reader == "pyarrow":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    frame = pd.read_parquet(path, dtype_backend="pyarrow")
    return [
        {name: None if one is pd.NA else one for name, one in row.items()} for row in frame.to_dict("records")
    ]


def as_line(row: dict[str, Any], line: type[msgspec.Struct]) -> msgspec.Struct:
    """Return a row as the line that it was made from."""
    texts = {
        one.encode_name: json.loads(row[one.encode_name])
        for one in msgspec.structs.fields(line)
        if one.name == "metadata" and row[one.encode_name]
    }
    return msgspec.convert({**row, **texts}, line)


@pytest.mark.parametrize("reader", ["pyarrow", "pandas"])
@pytest.mark.parametrize("kind", KINDS)
def test_parquet_holds_the_lines_of_every_kind(
    kind: str, reader: str, job: Job, workspace: Workspace
) -> None:
    write(of_kind(kind, job), workspace, merged(kind), "jsonl", "parquet")

    for name, line in (("results", KINDS[kind].line), ("errors", ErrorLine)):
        lines = [
            msgspec.json.decode(one, type=line) for one in workspace.lines(workspace.path(f"{name}.jsonl"))
        ]
        rows = rows_of(workspace.path(f"{name}.parquet"), reader)
        assert [as_line(row, line) for row in rows] == lines


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.reads == "words"])
def test_the_words_of_a_page_are_a_column_of_their_own(kind: str, job: Job, workspace: Workspace) -> None:
    lines = merged(kind)

    write(of_kind(kind, job), workspace, lines, "parquet")

    line = msgspec.json.decode(lines[0].line, type=KINDS[kind].line)
    expected = msgspec.to_builtins(list(KINDS[kind].words(line)), builtin_types=(tuple,))
    first, second, _ = pq.read_table(workspace.path("results.parquet"))["words"].to_pylist()
    assert first == msgspec.json.decode(msgspec.json.encode(expected)) != []
    assert second == []


def test_a_file_says_which_job_it_is_of_without_what_is_private(job: Job, workspace: Workspace) -> None:
    job = of_kind("recognition", job).model_copy(update={"notify": ("https://hooks.example/secret",)})

    write(job, workspace, merged("recognition"), "parquet")

    found = json.loads(pq.read_metadata(workspace.path("results.parquet")).metadata[parquet.JOB.encode()])
    assert (found["id"], found["exports"]) == (job.id, ["parquet"])
    assert "notify" not in found


def test_many_items_are_several_files_whose_borders_are_items(
    job: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parquet.FILE_ITEMS, "crop", 3)
    job = of_kind("recognition", job)

    write(job, workspace, merged("recognition"), "parquet")

    names = sorted(workspace.store.names(workspace.root))
    assert names == [f"{name}-{number:05d}.parquet" for name in ("errors", "results") for number in (0, 1)]
    rows = [pq.read_metadata(workspace.path(name)).num_rows for name in names]
    assert rows == [1, 0, 2, 1]


def test_row_groups_bound_what_is_held_in_memory(
    job: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("BATCH_LINES", 2), ("GROUP_LINES", 4)):
        monkeypatch.setattr(f"producer.results.parquet_file.{name}", most)
    lines = [
        MergedLine(encode_line(RecognitionLine(f"{number}.png", "a", "b", 0.5)).strip(), None, 0)
        for number in range(9)
    ]

    write(of_kind("recognition", job, items=9), workspace, lines, "parquet")

    file = pq.ParquetFile(workspace.path("results.parquet"))
    groups = [file.read_row_group(number)["id"].to_pylist() for number in range(file.num_row_groups)]
    numbers = [f"{number}.png" for number in range(9)]
    assert groups == [numbers[:4], numbers[4:8], numbers[8:]]


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_storage_that_fails_leaves_no_partial_file(
    name: str, job: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise StorageUnavailableError("the disk is full")

    monkeypatch.setattr("contract.storage.streams.TranslatedStream.write", fails)

    with pytest.raises(StorageUnavailableError, match="the disk is full"):
        write(of_kind("recognition", job), workspace, merged("recognition"), name)

    assert list(workspace.store.objects(workspace.root)) == []


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_a_damaged_line_fails_the_job(name: str, job: Job, workspace: Workspace) -> None:
    with pytest.raises(JobError, match="a part is damaged"):
        write(of_kind("recognition", job), workspace, [MergedLine(b'{"id": 1}', None, 0)], name)


def test_without_the_library_the_job_is_refused_and_a_merge_fails_it(
    job: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = of_kind("recognition", job)
    monkeypatch.delitem(sys.modules, "producer.results.columns", raising=False)
    monkeypatch.delattr("producer.results.columns", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UsageError, match=r"pip install 'trace-ocr-batch\[columns\]'"):
        check_exports(job)
    with pytest.raises(JobError, match=r"pip install 'trace-ocr-batch\[columns\]'"):
        write(job, workspace, [], "parquet")


def rows_of_csv(workspace: Workspace, name: str) -> list[dict[str, str]]:
    text = workspace.store.read(workspace.path(name), 1 << 20).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_a_row_for_each_line(job: Job, workspace: Workspace) -> None:
    line = RecognitionLine("a.png", "a", TEXT, 0.1 + 0.2, label="", angle=90)
    lines = [MergedLine(encode_line(line).strip(), None, 0), *merged("recognition")[2:3]]

    write(of_kind("recognition", job), workspace, lines, "csv")

    (row,) = rows_of_csv(workspace, "results.csv")
    assert list(row)[:5] == ["id", "name", "value", "confidence", "label"]
    assert row.items() >= {"id": "a.png", "value": TEXT, "confidence": "0.30000000000000004"}.items()
    assert row.items() >= {"label": "", "note": "", "angle": "90"}.items()
    (error,) = rows_of_csv(workspace, "errors.csv")
    assert error.items() >= {"id": TEXT, "uri": "/scans/b.png", "attempts": "2"}.items()
    assert error.items() >= {"error.code": "truncated", "error.message": "cut"}.items()


def test_a_cell_of_csv_is_no_formula(job: Job, workspace: Workspace) -> None:
    values = ("=cmd|' /C calc'!A0", "@SUM(A1)", "-12.5")
    lines = [MergedLine(encode_line(RecognitionLine("a", "a", one, 0.5)).strip(), None, 0) for one in values]

    write(of_kind("recognition", job), workspace, lines, "csv")

    read = [row["value"] for row in rows_of_csv(workspace, "results.csv")]
    assert read == ["'=cmd|' /C calc'!A0", "'@SUM(A1)", "-12.5"]


def test_a_list_in_csv_is_json(job: Job, workspace: Workspace) -> None:
    write(of_kind("compare", job), workspace, merged("compare")[:1], "csv")

    (row,) = rows_of_csv(workspace, "results.csv")
    assert [one["value"] for one in json.loads(row["readings"])] == [TEXT, ""]
