"""The Python client against scripted answers: what it asks, what it makes of them, what it never says."""

import gzip
import importlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.errors import TraceOcrError, UsageError
from contract.job_status import JobStatus
from trace_ocr import (
    ApiError,
    Client,
    ConflictError,
    ForbiddenError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    PandasMissingError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
    WaitTimeoutError,
)
from trace_ocr.connection import ATTEMPTS, LONGEST_PAUSE_SECONDS
from trace_ocr.handle import LOOK_SECONDS

URL = "http://ocr.test:8080"
KEY = "a-secret-key"
LINES = [{"id": f"{n}.png", "name": f"{n}.png", "value": "Grüße\u2028", "confidence": 0.5} for n in range(9)]
BODY = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in LINES)

Answers = Callable[[httpx.Request], httpx.Response]


class Server:
    """An API that gives scripted answers, the last one again and again, and keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception | Answers) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self, url: str = URL, key: str | None = KEY) -> Client:
        return Client(url, key, transport=httpx.MockTransport(self), sleep=self.pauses.append)

    def body(self, index: int = 0) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.requests[index].content)
        return decoded


class CutStream(httpx.SyncByteStream):
    """A body whose connection breaks after some bytes."""

    def __init__(self, data: bytes, cut: int) -> None:
        self.sent = data[:cut]

    def __iter__(self) -> Iterator[bytes]:
        yield self.sent
        raise httpx.ReadError("connection reset")


def job_object(status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    """A job as the API describes it."""
    return {
        "id": "night",
        "object": "job",
        "kind": "recognition",
        "status": status,
        "source": "/scans",
        "workspace": "/out",
        "request_counts": {"total": 9, "completed": 4, "failed": 1},
        "chunks": {"total": 3, "done": 1},
        "planning": False,
        "created_at": 1_000,
        "updated_at": 1_010.5,
        "in_progress_at": 1_001,
        "completed_at": None,
        "items_per_second": 2.5,
        "eta_seconds": None,
        "running": [{"chunk": 1, "items": 2, "seen_at": 1_010.0, "worker": "cpu@host"}],
        "workers": [{"name": "cpu@host", "items_per_second": 2.5}],
        "rate": [[1_005, 3], [1_010.5, 2]],
        "stage_seconds": {"forward": 1.5},
        "recent_errors": [{"id": "x", "uri": "/scans/x", "code": "truncated", "message": "cut short"}],
        "error": "",
        **fields,
    }


def job_answer(status: str = "in_progress", **fields: Any) -> httpx.Response:
    return httpx.Response(200, json=job_object(status, **fields))


def refusal(status: int, detail: object = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": detail}, headers=headers)


def cut(at: int, **headers: str) -> httpx.Response:
    return httpx.Response(200, stream=CutStream(BODY, at), headers=headers)


def from_range(**headers: str) -> Answers:
    """Answer as a server that knows ranges."""

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(BODY):
            return httpx.Response(416)
        return httpx.Response(206, content=BODY[start:], headers=headers)

    return answer


# submit


def test_submit_sends_what_was_given_leaves_the_rest_to_the_server_and_returns_the_job() -> None:
    server = Server(httpx.Response(202, json=job_object()))

    with server.client() as client:
        job = client.submit("/scans", Path("/out"), urgent=True, recognition_model="parseq")

    assert job.id == "night"
    assert str(server.requests[0].url) == f"{URL}/jobs"
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    expected = {"source": "/scans", "output": "/out", "urgent": True, "recognition_model": "parseq"}
    assert server.body() == expected


def test_submit_makes_one_idempotency_key_for_all_its_tries() -> None:
    server = Server(httpx.ReadTimeout("slow"), refusal(503), job_answer())

    server.client().submit("/scans", "/out")
    server.client().submit("/scans", "/out")

    first, second, third, other = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first == second == third != other


def test_submit_sends_the_idempotency_key_and_the_names_that_it_is_given() -> None:
    server = Server(job_answer())

    server.client().submit("/scans", "/out", idempotency_key="mine", job_id="night", chunk_size=7)

    assert server.requests[0].headers["Idempotency-Key"] == "mine"
    assert (server.body()["job_id"], server.body()["chunk_size"]) == ("night", 7)


def test_a_path_in_the_url_is_kept() -> None:
    server = Server(job_answer())

    server.client(URL + "/ocr/").job("night").status()

    assert server.requests[0].url.path == "/ocr/jobs/night"


# status and lists


def test_a_status_is_the_job_object_and_fields_of_newer_servers_are_passed_over() -> None:
    server = Server(
        job_answer(colour="red", request_counts={"total": 9, "completed": 8, "failed": 1, "x": 0})
    )

    status = server.client().job("night").status()

    assert isinstance(status, JobStatus)
    assert (status.id, status.status, status.request_counts.completed) == ("night", "in_progress", 8)
    assert (status.running[0].worker, status.rate[1].items) == ("cpu@host", 2)
    assert status.recent_errors[0].code == "truncated"
    assert (status.in_progress_at, status.completed_at) == (1_001, None)


@pytest.mark.parametrize("job", ["", "..", "a/b", "../night", "night\n", "a" * 65, "-x"])
def test_what_can_be_no_job_id_is_never_sent(job: str) -> None:
    server = Server(job_answer())

    with pytest.raises(UsageError, match="no job's id"):
        server.client().job(job)

    assert server.requests == []


def test_jobs_asks_for_page_after_page_also_past_an_empty_one() -> None:
    def page(ids: list[str], has_more: bool, last: str | None) -> httpx.Response:
        data = [{**job_object(), "id": identity} for identity in ids]
        return httpx.Response(
            200, json={"object": "list", "data": data, "has_more": has_more, "last_id": last}
        )

    server = Server(page(["c", "b"], True, "b"), page([], True, "x"), page(["a"], False, "a"))

    found = [job.id for job in server.client().jobs(status="in_progress")]

    assert found == ["c", "b", "a"]
    assert [request.url.params.get("after") for request in server.requests] == [None, "b", "x"]
    assert {request.url.params["status"] for request in server.requests} == {"in_progress"}


def test_jobs_asks_for_no_page_that_nobody_wants() -> None:
    server = Server(httpx.Response(200, json={"data": [job_object()], "has_more": True, "last_id": "night"}))

    assert next(server.client().jobs()).id == "night"

    assert len(server.requests) == 1


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry_errors"])
def test_steering_posts_and_returns_the_jobs_status(action: str) -> None:
    server = Server(job_answer("cancelling"))

    status = getattr(server.client().job("night"), action)()

    assert status.status == "cancelling"
    assert server.requests[0].method == "POST"
    assert server.requests[0].url.path == f"/jobs/night/{action.replace('_', '-')}"


# wait


def test_wait_looks_until_the_job_is_complete() -> None:
    server = Server(job_answer("validating"), job_answer("paused"), job_answer("completed"))

    assert server.client().job("night").wait().status == "completed"

    assert server.pauses == [LOOK_SECONDS, LOOK_SECONDS]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [("failed", JobFailedError, "no weights for parseq"), ("cancelled", JobCancelledError, "cancelled")],
)
def test_wait_raises_what_became_of_the_job(status: str, error: type[Exception], words: str) -> None:
    server = Server(job_answer(status, error="no weights for parseq"))

    with pytest.raises(error, match=words) as raised:
        server.client().job("night").wait()

    assert getattr(raised.value, "status").status == status  # noqa: B009


def test_wait_gives_up_after_its_time_and_says_that_the_job_goes_on() -> None:
    server = Server(job_answer("in_progress"))

    with pytest.raises(WaitTimeoutError, match="night is in_progress after 0 s and goes on"):
        server.client().job("night").wait(timeout=0)

    assert server.pauses == []


@pytest.mark.parametrize(
    ("terminal", "progress", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_wait_shows_a_bar_on_a_terminal_and_nothing_elsewhere(
    terminal: bool,
    progress: bool,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    server = Server(job_answer("completed"))

    server.client().job("night").wait(progress=progress)

    output = capsys.readouterr()
    assert ("night: completed" in output.err) is shown
    assert output.out == ""


# results


def test_results_and_errors_are_the_lines_of_the_files() -> None:
    server = Server(httpx.Response(200, content=BODY))
    job = server.client().job("night")

    assert list(job.results()) == LINES
    assert list(job.errors()) == LINES
    assert [request.url.path for request in server.requests] == ["/jobs/night/results", "/jobs/night/errors"]


def test_results_are_asked_for_compressed() -> None:
    packed = httpx.Response(200, content=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    server = Server(packed)

    assert list(server.client().job("night").results()) == LINES

    assert "gzip" in server.requests[0].headers["Accept-Encoding"]


def test_results_come_before_the_body_has_ended() -> None:
    def body() -> Iterator[bytes]:
        yield BODY[:200]
        raise AssertionError("nobody asked for more")

    server = Server(httpx.Response(200, content=body()))

    assert next(server.client().job("night").results()) == LINES[0]


@pytest.mark.parametrize("at", [0, 1, 100, len(BODY) // 2, len(BODY) - 1, len(BODY)])
@pytest.mark.parametrize("after", ["partial", "whole"])
def test_a_cut_connection_is_taken_up_after_the_last_whole_line(at: int, after: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if after == "whole" or "Range" not in request.headers:
            return httpx.Response(200, content=BODY)
        return from_range()(request)

    server = Server(cut(at), answer)

    assert list(server.client().job("night").results()) == LINES

    whole = BODY[:at].rfind(b"\n") + 1
    assert server.requests[1].headers.get("Range") == (f"bytes={whole}-" if whole else None)


def test_a_compressed_answer_that_was_cut_goes_on_uncompressed() -> None:
    packed = gzip.compress(BODY[: len(BODY) // 2])
    stream = CutStream(packed + b"..", len(packed))
    server = Server(httpx.Response(200, stream=stream, headers={"Content-Encoding": "gzip"}), from_range())

    assert list(server.client().job("night").results()) == LINES

    assert server.requests[1].headers["Accept-Encoding"] == "identity"


def test_a_connection_that_never_holds_is_given_up_but_one_that_gets_on_is_not() -> None:
    stuck = Server(lambda request: cut(0))

    with pytest.raises(UnreachableError, match="connection reset"):
        list(stuck.client().job("night").results())

    assert len(stuck.requests) == ATTEMPTS
    line = len(BODY) // len(LINES)

    def one_line_each(request: httpx.Request) -> httpx.Response:
        start = int(request.headers["Range"][6:-1])
        return httpx.Response(206, stream=CutStream(BODY[start:], line))

    # Every try brings one line; there are more lines than tries.
    slow = Server(cut(line), *[one_line_each] * (len(LINES) - 1), httpx.Response(416))
    assert len(LINES) > ATTEMPTS
    assert list(slow.client().job("night").results()) == LINES


def test_a_file_that_was_replaced_meanwhile_is_not_spliced() -> None:
    server = Server(cut(200, ETag='W/"1"'), from_range(ETag='"2"'))

    with pytest.raises(ConflictError, match="begin anew"):
        list(server.client().job("night").results())


def test_a_file_that_is_still_the_same_goes_on() -> None:
    server = Server(cut(200, ETag='W/"1"'), from_range(ETag='"1"'))

    assert list(server.client().job("night").results()) == LINES


def test_a_line_that_is_no_json_is_an_error_of_the_api() -> None:
    server = Server(httpx.Response(200, content=b"<html>\n"))

    with pytest.raises(ApiError, match="no JSON object"):
        list(server.client().job("night").results())


def test_results_of_a_job_that_runs_are_refused_with_the_servers_words() -> None:
    server = Server(refusal(409, "night is in_progress: wait until it is complete"))

    with pytest.raises(ConflictError, match="night is in_progress"):
        list(server.client().job("night").results())


def test_a_table_has_a_row_per_result_and_its_columns_also_without_any() -> None:
    table = Server(httpx.Response(200, content=BODY)).client().job("night").to_pandas()
    empty = Server(httpx.Response(200, content=b"")).client().job("night").to_pandas()

    assert table.to_dict("records") == LINES
    assert (list(empty.columns), len(empty)) == (["id", "name", "value", "confidence"], 0)


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)

    with pytest.raises(PandasMissingError, match="pip install pandas"):
        Server(httpx.Response(200, content=BODY)).client().job("night").to_pandas()


# recognition


def test_recognition_sends_files_with_names_and_media_types_and_returns_the_array(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(b"png bytes")
    read = [{"name": "a.PNG", "value": "2016", "confidence": 1.0}]
    server = Server(httpx.Response(200, json=read))
    files = [tmp_path / "a.PNG", ("b.jpg", b"jpg bytes"), ("c", b"pdf bytes", "application/pdf")]

    found = server.client().recognition(files, recognition_model="parseq", recognition_batch_size=8)

    assert found == read
    request = server.requests[0]
    assert str(request.url) == f"{URL}/recognition/?recognition_model=parseq&recognition_batch_size=8"
    assert request.content.count(b'name="files"') == 3
    for name, kind, data in (
        (b"a.PNG", b"image/png", b"png bytes"),
        (b"b.jpg", b"image/jpeg", b"jpg bytes"),
        (b"c", b"application/pdf", b"pdf bytes"),
    ):
        part = b'filename="' + name + b'"\r\nContent-Type: ' + kind + b"\r\n\r\n" + data
        assert part in request.content


# errors and retries


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (400, ApiError, "refused again"),
        (401, UnauthorizedError, "trace-ocr api-key"),
        (403, ForbiddenError, "scope"),
        (404, NotFoundError, "check the id"),
        (409, ConflictError, "status"),
        (422, ApiError, "refused again"),
        (500, ApiError, "log"),
    ],
)
def test_a_refusal_is_a_typed_error_with_the_servers_words_and_what_to_do(
    status: int, error: type[ApiError], advice: str
) -> None:
    server = Server(refusal(status, "the server's words."))

    with pytest.raises(error, match="the server's words") as raised:
        server.client().job("night").status()

    assert isinstance(raised.value, TraceOcrError)
    assert (raised.value.status, raised.value.detail) == (status, "the server's words.")
    assert advice in str(raised.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(422, [{"loc": ["query", "x"], "msg": "bad"}]), '"msg":"bad"'),
        (httpx.Response(404, text="<h1>nginx</h1>"), "nginx"),
        (httpx.Response(404, json=["detail"]), "detail"),
        (httpx.Response(400), "Bad Request"),
        (httpx.Response(307, headers={"Location": "https://u:p@b/"}), r"elsewhere, at https://\*\*\*@b/"),
        (httpx.Response(200, text="<html>"), "unexpected answer"),
        (httpx.Response(200, json={"id": 1}), "unexpected answer"),
    ],
)
def test_answers_of_any_shape_end_in_an_api_error(answer: httpx.Response, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        Server(answer).client().job("night").status()


@pytest.mark.parametrize(
    "passing",
    [
        refusal(429),
        refusal(502),
        refusal(503),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("closed"),
    ],
)
def test_what_passes_is_tried_again(passing: httpx.Response | Exception) -> None:
    server = Server(passing, job_answer())

    assert server.client().job("night").status().id == "night"

    assert len(server.pauses) == 1


@pytest.mark.parametrize("passing", [refusal(502), refusal(503), httpx.ReadError("reset")])
def test_steering_is_not_sent_twice_where_it_may_have_worked(passing: httpx.Response | Exception) -> None:
    server = Server(passing, job_answer())

    with pytest.raises(TraceOcrError):
        server.client().job("night").retry_errors()

    assert len(server.requests) == 1


@pytest.mark.parametrize("passing", [refusal(429), httpx.ConnectError("refused")])
def test_steering_is_sent_again_where_it_surely_did_nothing(passing: httpx.Response | Exception) -> None:
    server = Server(passing, job_answer())

    server.client().job("night").retry_errors()

    assert len(server.requests) == 2


def test_pauses_are_as_long_as_the_server_asks_but_not_longer_than_is_sensible() -> None:
    server = Server(
        refusal(429, **{"Retry-After": "7"}), refusal(503, **{"Retry-After": "86400"}), job_answer()
    )

    server.client().job("night").status()

    assert 7 <= server.pauses[0] < 10
    assert server.pauses[1] == LONGEST_PAUSE_SECONDS


def test_pauses_differ_so_that_clients_do_not_come_back_together() -> None:
    server = Server(refusal(503))

    for _ in range(3):
        with pytest.raises(ApiError):
            server.client().job("night").status()

    assert len(set(server.pauses)) == len(server.pauses) == 3 * (ATTEMPTS - 1)


def test_too_many_requests_says_when_to_come_back() -> None:
    server = Server(refusal(429, "too many files wait", **{"Retry-After": "3"}))

    with pytest.raises(TooManyRequestsError, match="too many files wait") as raised:
        server.client().recognition([("a.png", b"")])

    assert raised.value.retry_after == 3
    assert len(server.requests) == ATTEMPTS


def test_an_api_that_is_not_there_is_said_so_without_the_urls_password() -> None:
    server = Server(httpx.ConnectError("connection refused"))

    with pytest.raises(UnreachableError, match="connection refused; check the URL") as raised:
        server.client("http://me:hidden@ocr.test").job("night").status()

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("url", ["ocr.test:8080", "ftp://ocr.test", "", "http://", "http://ocr.test:x"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(UsageError):
        Client(url)


# the key


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel", "a b", "a\x00"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(UsageError) as raised:
        Client(URL, key)

    assert not key.strip() or key.strip() not in str(raised.value)


def test_a_key_read_from_a_file_may_end_in_a_newline() -> None:
    server = Server(job_answer())

    server.client(key=KEY + "\n").job("night").status()

    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent() -> None:
    server = Server(job_answer())

    server.client(key=None).job("night").status()

    assert "Authorization" not in server.requests[0].headers


def test_the_key_is_in_no_repr_log_or_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server(refusal(401, f"unknown key Bearer {KEY}"), httpx.ConnectError("refused"))
    client = server.client()
    job = client.job("night")

    with pytest.raises(UnauthorizedError) as refused:
        job.status()
    with pytest.raises(UnreachableError) as lost:
        job.status()

    said = [
        repr(client),
        repr(job),
        repr(vars(client)),
        repr(vars(job)),
        repr(vars(vars(client)["_connection"])),
    ]
    for error in (refused.value, lost.value):
        said += [str(error), repr(error), repr(vars(error))]
    assert KEY not in "".join(said) + caplog.text
    assert "***" in str(refused.value)
