"""The merge: parts in order to results, errors and a summary; the marker last."""

import json
from contextlib import AbstractContextManager
from typing import IO, Any

import msgspec
import pytest

from contract.errors import JobError, ObjectMissingError
from contract.job import Job
from contract.workspace import Workspace
from producer.results.merge import merge


@pytest.fixture
def ready(planned: Job, write_part: Any) -> Job:
    """Given a job whose parts all exist; two of its five items failed."""
    write_part(2)
    write_part(1, failed=("2.png", "3.png"))
    write_part(0)
    return planned


def ids(workspace: Workspace, uri: str) -> list[str]:
    return [json.loads(line)["id"] for line in workspace.lines(uri)]


def merged_files(workspace: Workspace) -> list[str]:
    names = ("results.jsonl", "errors.jsonl", "summary.json", "_SUCCESS")
    return [name for name in names if workspace.store.exists(workspace.path(name))]


def test_results_and_errors_come_in_source_order(ready: Job, workspace: Workspace) -> None:
    merge(ready, workspace)

    assert ids(workspace, workspace.results) == ["0.png", "1.png", "4.png"]
    assert ids(workspace, workspace.errors) == ["2.png", "3.png"]


def test_lines_are_copied_byte_for_byte(ready: Job, workspace: Workspace) -> None:
    merge(ready, workspace)

    assert workspace.lines(workspace.results)[:2] == workspace.lines(workspace.part(0))


def test_the_summary_counts_the_items_by_outcome(ready: Job, workspace: Workspace) -> None:
    summary = merge(ready, workspace, now=1_010.0)

    assert summary == workspace.load_summary()
    assert summary == {
        "id": "crops-1",
        "kind": "recognition",
        "status": "completed",
        "request_counts": {"total": 5, "completed": 3, "failed": 2},
        "error_codes": {"empty_file": 2},
        "passed_over": {"hidden": 1},
        "read_in_part": 0,
        "created_at": 1_000,
        "completed_at": 1_010,
        "wall_seconds": 10.0,
        "items_per_second": 0.5,
        "reading_seconds": None,
        "items_per_second_while_reading": None,
        "stage_seconds": {"fetch": 0.75, "forward": 1.5},
        "batches": 3,
        "batch_fill": 0.5,
        "fitting_batch_size": None,
        "parameters": ready.parameters.model_dump(),
        "counts": {},
        "quality": {
            "items": 5,
            "error_codes": {"empty_file": 2},
            "empty": 0,
            "empty_share": 0.0,
            "readings": 3,
            "mean_length": 10.0,
            "mean_confidence": 0.5,
            "confidence_deviation": 0.0,
            "confidence_histogram": [0] * 10 + [3] + [0] * 9,
            "groups": {},
        },
        "review": None,
        "broken_rules": [],
        "drift": [],
        "models": [{"architecture": "parseq", "device": "cpu", "source": "model store"}],
        "workers": ["cpu0@host", "cpu1@host", "cpu2@host"],
        "retries": 0,
    }


def test_the_summary_shows_that_a_device_ran_out_of_memory(ready: Job, workspace: Workspace) -> None:
    # given two chunks whose worker had to read fewer crops at once
    for number, fitting in ((0, 64), (2, 16)):
        statistics = workspace.load_statistics(number)
        assert statistics is not None
        short = msgspec.structs.replace(statistics, fitting_batch_size=fitting)
        workspace.store.replace(workspace.statistics(number), msgspec.json.encode(short))

    assert merge(ready, workspace)["fitting_batch_size"] == 16


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        pytest.param([(1_010.0, 1_014.0), (1_012.0, 1_015.0), (1_015.0, 1_016.0)], 6.0, id="overlapping"),
        pytest.param([(1_010.0, 1_011.0), (9_000.0, 9_003.0), (1_010.5, 1_012.0)], 5.0, id="with a pause"),
        pytest.param(
            [(1_020.0, 1_010.0), (1_010.0, 1_015.0), (1_010.0, 1_012.0)], 5.0, id="a clock set back"
        ),
    ],
)
def test_the_summary_tells_how_long_chunks_were_being_read(
    times: list[tuple[float, float]], seconds: float, ready: Job, workspace: Workspace
) -> None:
    for number, (begun, ended) in enumerate(times):
        statistics = workspace.load_statistics(number)
        assert statistics is not None
        timed = msgspec.structs.replace(statistics, begun_at=begun, ended_at=ended)
        workspace.store.replace(workspace.statistics(number), msgspec.json.encode(timed))

    summary = merge(ready, workspace)

    assert summary["reading_seconds"] == seconds
    assert summary["items_per_second_while_reading"] == round(5 / seconds, 2)


def test_a_job_without_failures_has_an_empty_errors_file(
    planned: Job, workspace: Workspace, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)

    merge(planned, workspace)

    assert workspace.lines(workspace.errors) == []


def test_parts_without_statistics_are_merged(ready: Job, workspace: Workspace) -> None:
    for number in range(3):
        workspace.store.delete(workspace.statistics(number))

    summary = merge(ready, workspace)

    assert (summary["batches"], summary["batch_fill"], summary["models"]) == (0, 0.0, [])


def test_the_marker_is_written_last(
    ready: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    replace, writer = type(workspace.store).replace, type(workspace.store).writer

    def note(self: Any, uri: str, data: bytes) -> None:
        replace(self, uri, data)
        written.append(uri.removeprefix(workspace.root + "/"))

    def note_stream(self: Any, uri: str) -> AbstractContextManager[IO[bytes]]:
        written.append(uri.removeprefix(workspace.root + "/"))
        return writer(self, uri)

    monkeypatch.setattr(type(workspace.store), "replace", note)
    monkeypatch.setattr(type(workspace.store), "writer", note_stream)

    merge(ready, workspace)

    before_the_marker = written[: written.index("_SUCCESS")]
    assert before_the_marker[0] == "merge.json"
    files = {"merge.json", "results.jsonl", "results.order.bin", "errors.jsonl", "summary.json"}
    assert set(before_the_marker) == files
    assert set(written) - set(before_the_marker) == {"_SUCCESS"}


@pytest.mark.parametrize(
    ("number", "lines", "said"),
    [(1, 1, "holds 1 line for 2 items"), (2, 2, "holds 2 lines for 1 item:"), (0, 0, "holds 0 lines")],
)
def test_a_part_with_too_few_or_too_many_lines_is_refused(
    number: int, lines: int, said: str, ready: Job, workspace: Workspace
) -> None:
    line = workspace.lines(workspace.part(0))[0] + b"\n"
    workspace.store.replace(workspace.part(number), line * lines)

    with pytest.raises(JobError, match=said) as raised:
        merge(ready, workspace)

    assert workspace.part(number) in str(raised.value)
    assert merged_files(workspace) == []


def test_a_part_that_is_not_json_is_a_job_error_that_names_it(ready: Job, workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(1), b"not\njson\n")

    with pytest.raises(JobError, match=r"parts/000001\.jsonl"):
        merge(ready, workspace)

    assert merged_files(workspace) == []


def test_a_part_that_is_missing_is_an_error_and_nothing_is_merged(ready: Job, workspace: Workspace) -> None:
    workspace.store.delete(workspace.part(1))

    with pytest.raises(ObjectMissingError, match="000001"):
        merge(ready, workspace)

    assert merged_files(workspace) == []


def test_a_job_that_is_not_fully_planned_is_not_merged(job: Job, workspace: Workspace) -> None:
    with pytest.raises(JobError, match="submit it again"):
        merge(job, workspace)


def test_merging_again_gives_the_same_bytes(ready: Job, workspace: Workspace) -> None:
    def contents() -> list[bytes]:
        return [
            workspace.store.read(uri, 10_000)
            for uri in (workspace.results, workspace.errors, workspace.summary)
        ]

    merge(ready, workspace, now=1_010.0)
    first = contents()

    merge(ready, workspace, now=1_010.0)

    assert contents() == first


def test_a_workspace_on_s3_is_merged_the_same_way(
    ready: Job, workspace: Workspace, storage: Any, s3_bucket: Any
) -> None:
    remote = Workspace("s3://bucket/out", storage.at("s3://bucket/out"))
    for number in range(3):
        remote.store.replace(remote.part(number), workspace.store.read(workspace.part(number), 10_000))

    merge(ready, workspace)
    merge(ready, remote)

    for name in ("results.jsonl", "errors.jsonl", "_SUCCESS"):
        assert remote.store.read(remote.path(name), 10_000) == workspace.store.read(
            workspace.path(name), 10_000
        )
