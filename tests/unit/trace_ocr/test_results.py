"""The lines of a job over the client: as they arrive, through cuts, never spliced of two versions."""

import gzip
import importlib
import io
import json
import sys
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.trace_ocr.server import Answers, Serve, Stream, cut_stream, job_answer, refusal
from trace_ocr import (
    ApiError,
    ConflictError,
    ErrorLine,
    PandasMissingError,
    PyarrowMissingError,
    RecognitionLine,
    UnexpectedAnswerError,
    UnreachableError,
)
from trace_ocr.columns import PARQUET
from trace_ocr.exchange import ATTEMPTS

LINES = [{"id": f"{n}.png", "name": f"{n}.png", "value": "Grüße\u2028", "confidence": 0.5} for n in range(9)]
BODY = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in LINES)


def cut(at: int, **headers: str) -> httpx.Response:
    """Return an answer whose connection breaks after some bytes."""
    return httpx.Response(200, stream=cut_stream(BODY, at), headers=headers)


def from_range(**headers: str) -> Answers:
    """Answer as a server that knows ranges."""

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(BODY):
            return httpx.Response(416)
        return httpx.Response(206, content=BODY[start:], headers=headers)

    return answer


def test_results_and_errors_are_the_lines_of_the_files(serve: Serve) -> None:
    server = serve(httpx.Response(200, content=BODY))
    job = server.client().job("night")

    assert list(job.results()) == LINES
    assert list(job.errors()) == LINES
    assert [request.url.path for request in server.requests] == ["/jobs/night/results", "/jobs/night/errors"]


def test_results_and_errors_are_typed_if_their_line_is_given(serve: Serve) -> None:
    failed = {"id": "x", "uri": "/x", "error": {"code": "truncated", "message": "cut"}, "attempts": 1}
    server = serve(httpx.Response(200, content=BODY), httpx.Response(200, json=failed))
    job = server.client().job("night")

    first, *_ = job.results(RecognitionLine)
    (error,) = job.errors(ErrorLine)

    assert first == RecognitionLine("0.png", "0.png", "Grüße\u2028", 0.5)
    assert (error.error.code, error.attempts) == ("truncated", 1)


def test_a_line_of_another_type_is_an_error_of_the_api(serve: Serve) -> None:
    server = serve(httpx.Response(200, content=b'{"id": "a", "name": "a"}\n'))

    with pytest.raises(UnexpectedAnswerError, match="value"):
        list(server.client().job("night").results(RecognitionLine))


def test_the_connection_is_freed_once_a_file_is_read_or_turns_out_to_be_another(serve: Serve) -> None:
    whole, other = Stream(BODY), Stream(BODY)
    done = serve(httpx.Response(200, stream=whole))
    replaced = serve(cut(200, ETag='"1"'), httpx.Response(206, stream=other, headers={"ETag": '"2"'}))

    list(done.client().job("night").results())
    with pytest.raises(ConflictError):
        list(replaced.client().job("night").results())

    assert (whole.closed, other.closed) == (True, True)


def test_results_are_asked_for_as_they_are_and_read_if_they_come_compressed(serve: Serve) -> None:
    packed = httpx.Response(200, content=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    server = serve(packed)

    assert list(server.client().job("night").results()) == LINES

    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_results_come_before_the_body_has_ended(serve: Serve) -> None:
    body = Stream(BODY[:200], AssertionError("nobody asked for more"))
    server = serve(httpx.Response(200, stream=body))

    assert next(server.client().job("night").results()) == LINES[0]


@pytest.mark.parametrize("at", [0, 1, 100, len(BODY) // 2, len(BODY) - 1, len(BODY)])
@pytest.mark.parametrize("after", ["partial", "whole"])
def test_a_cut_connection_is_taken_up_after_the_last_whole_line(serve: Serve, at: int, after: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if after == "whole" or "Range" not in request.headers:
            return httpx.Response(200, content=BODY)
        return from_range()(request)

    server = serve(cut(at), answer)

    assert list(server.client().job("night").results()) == LINES

    whole = BODY[:at].rfind(b"\n") + 1
    assert server.requests[1].headers.get("Range") == (f"bytes={whole}-" if whole else None)


def test_a_compressed_answer_that_was_cut_goes_on_uncompressed(serve: Serve) -> None:
    packed = gzip.compress(BODY[: len(BODY) // 2])
    stream = cut_stream(packed + b"..", len(packed))
    server = serve(httpx.Response(200, stream=stream, headers={"Content-Encoding": "gzip"}), from_range())

    assert list(server.client().job("night").results()) == LINES

    assert server.requests[1].headers["Accept-Encoding"] == "identity"


def test_a_connection_that_never_holds_is_given_up_but_one_that_gets_on_is_not(serve: Serve) -> None:
    stuck = serve(lambda request: cut(0))

    with pytest.raises(UnreachableError, match="connection reset"):
        list(stuck.client().job("night").results())

    assert len(stuck.requests) == ATTEMPTS
    line = len(BODY) // len(LINES)

    def one_line_each(request: httpx.Request) -> httpx.Response:
        start = int(request.headers["Range"][6:-1])
        return httpx.Response(206, stream=cut_stream(BODY[start:], line))

    # Every try brings one line; there are more lines than tries.
    slow = serve(cut(line), *[one_line_each] * (len(LINES) - 1), httpx.Response(416))
    assert len(LINES) > ATTEMPTS
    assert list(slow.client().job("night").results()) == LINES


def test_a_file_that_was_replaced_meanwhile_is_not_spliced(serve: Serve) -> None:
    server = serve(cut(200, ETag='W/"1"'), from_range(ETag='"2"'))

    with pytest.raises(ConflictError, match="start again"):
        list(server.client().job("night").results())


def test_a_file_that_is_still_the_same_goes_on(serve: Serve) -> None:
    server = serve(cut(200, ETag='W/"1"'), from_range(ETag='"1"'))

    assert list(server.client().job("night").results()) == LINES


def test_a_line_that_is_no_json_is_an_error_of_the_api(serve: Serve) -> None:
    server = serve(httpx.Response(200, content=b"<html>\n"))

    with pytest.raises(ApiError, match="not as expected"):
        list(server.client().job("night").results())


def test_results_of_a_job_that_runs_are_refused_with_the_servers_words(serve: Serve) -> None:
    server = serve(refusal(409, "night is in_progress: wait until it is complete"))

    with pytest.raises(ConflictError, match="night is in_progress"):
        list(server.client().job("night").results())


NOT_WRITTEN = refusal(406, "job night wrote its results as jsonl, not as parquet")


@pytest.fixture
def table() -> pa.Table:
    return pa.Table.from_pylist(LINES).replace_schema_metadata({"trace_ocr.job": '{"id": "night"}'})


def parquet(table: pa.Table, **headers: str) -> httpx.Response:
    target = io.BytesIO()
    pq.write_table(table, target)
    return httpx.Response(200, content=target.getvalue(), headers={"content-type": PARQUET, **headers})


@pytest.mark.parametrize("method", ["to_pandas", "to_arrow"])
@pytest.mark.parametrize("refused", [NOT_WRITTEN, httpx.Response(200, content=BODY)])
def test_without_parquet_a_table_has_a_row_per_line(
    method: str, refused: httpx.Response, serve: Serve
) -> None:
    server = serve(job_answer("completed"), refused, httpx.Response(200, content=BODY))
    none = serve(job_answer("completed"), NOT_WRITTEN, httpx.Response(200, content=b""))

    table, empty = (getattr(one.client().job("night"), method)() for one in (server, none))

    assert (table.to_dict("records") if method == "to_pandas" else table.to_pylist()) == LINES
    names = empty.columns if method == "to_pandas" else empty.column_names
    assert (list(names), len(empty)) == (["id", "name", "value", "confidence"], 0)


def test_a_table_is_read_from_all_files_of_parquet(serve: Serve, table: pa.Table) -> None:
    server = serve(
        job_answer("completed"),
        parquet(table[:5], link='<?format=parquet&file=1>; rel="next"'),
        parquet(table[5:]),
    )

    assert server.client().job("night").to_arrow().to_pylist() == LINES
    assert [request.url.params.get("file") for request in server.requests] == [None, "0", "1"]
    assert server.requests[1].headers["accept"] == PARQUET


@pytest.mark.parametrize("names", [["results.parquet"], ["results-00000.parquet", "results-00001.parquet"]])
def test_a_table_is_read_from_the_jobs_folder_if_this_machine_has_it(
    names: list[str], serve: Serve, table: pa.Table, tmp_path: Path
) -> None:
    for number, name in enumerate(names):
        pq.write_table(table[number * 5 : number * 5 + (5 if len(names) > 1 else 9)], tmp_path / name)
    server = serve(job_answer("completed", workspace=str(tmp_path)))

    assert server.client().job("night").to_arrow().to_pylist() == LINES
    assert len(server.requests) == 1


def test_a_folder_of_the_same_name_that_is_of_another_job_is_not_read(
    serve: Serve, table: pa.Table, tmp_path: Path
) -> None:
    other = table.replace_schema_metadata({"trace_ocr.job": '{"id": "another"}'})
    pq.write_table(other[:1], tmp_path / "results.parquet")
    server = serve(job_answer("completed", workspace=str(tmp_path)), parquet(table))

    assert len(server.client().job("night").to_arrow()) == len(LINES)


def test_without_pyarrow_pandas_reads_lines_and_to_arrow_says_what_to_install(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    job = serve(httpx.Response(200, content=BODY)).client().job("night")

    assert job.to_pandas().to_dict("records") == LINES
    with pytest.raises(PyarrowMissingError, match="pip install pyarrow"):
        job.to_arrow()


def test_without_pandas_the_error_says_what_to_install(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)

    with pytest.raises(PandasMissingError, match="pip install pandas"):
        serve(httpx.Response(200, content=BODY)).client().job("night").to_pandas()
