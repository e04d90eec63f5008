"""What can go wrong between client and API: typed errors, tries and pauses, and a key that is never shown."""

import logging
from collections.abc import Callable

import httpx
import pytest

from contract.errors import UsageError
from tests.unit.trace_ocr.server import KEY, URL, Serve, job_answer, refusal
from trace_ocr import (
    ApiError,
    AsyncClient,
    Client,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    TooManyRequestsError,
    TraceOcrError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
)
from trace_ocr.exchange import ATTEMPTS, LONGEST_PAUSE_SECONDS

MakeClient = Callable[..., object]

# errors and retries


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (400, RefusedError, "refused again"),
        (401, UnauthorizedError, "trace-ocr api-key"),
        (403, ForbiddenError, "scope"),
        (404, NotFoundError, "check the id"),
        (409, ConflictError, "status"),
        (422, RefusedError, "refused again"),
        (500, ApiError, "log"),
        (504, UnavailableError, "/health"),
    ],
)
def test_a_refusal_is_a_typed_error_with_the_servers_words_and_what_to_do(
    serve: Serve, status: int, error: type[ApiError], advice: str
) -> None:
    server = serve(refusal(status, "the server's words."))

    with pytest.raises(error, match="the server's words") as raised:
        server.client().job("night").status()

    assert isinstance(raised.value, TraceOcrError)
    assert (raised.value.status, raised.value.detail) == (status, "the server's words.")
    assert advice in str(raised.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            refusal(
                422,
                [
                    {"type": "missing", "loc": ["body", "source"], "msg": "Field required"},
                    {"type": "value_error", "loc": ["body", "exports", 0], "msg": "Value error, no format"},
                ],
            ),
            r"source: Field required; exports\.0: no format \(HTTP 422\)",
        ),
        (refusal(422, [{"loc": "query"}]), '"loc":"query"'),
        (httpx.Response(404, text="<h1>nginx</h1>"), "nginx"),
        (httpx.Response(404, json=["detail"]), "detail"),
        (httpx.Response(400), "Bad Request"),
        (httpx.Response(307, headers={"Location": "https://u:p@b/"}), r"elsewhere, at https://\*\*\*@b/"),
        (httpx.Response(200, text="<html>"), "unexpected answer"),
        (httpx.Response(200, json={"id": 1}), "unexpected answer"),
    ],
)
def test_answers_of_any_shape_end_in_an_api_error(serve: Serve, answer: httpx.Response, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        serve(answer).client().job("night").status()


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
def test_what_passes_is_tried_again(serve: Serve, passing: httpx.Response | Exception) -> None:
    server = serve(passing, job_answer())

    assert server.client().job("night").status().id == "night"

    assert len(server.pauses) == 1


@pytest.mark.parametrize("passing", [refusal(502), refusal(503), httpx.ReadError("reset")])
def test_steering_is_not_sent_twice_where_it_may_have_worked(
    serve: Serve, passing: httpx.Response | Exception
) -> None:
    server = serve(passing, job_answer())

    with pytest.raises(TraceOcrError):
        server.client().job("night").retry_errors()

    assert len(server.requests) == 1


@pytest.mark.parametrize("passing", [refusal(429), httpx.ConnectError("refused")])
def test_steering_is_sent_again_where_it_surely_did_nothing(
    serve: Serve, passing: httpx.Response | Exception
) -> None:
    server = serve(passing, job_answer())

    server.client().job("night").retry_errors()

    assert len(server.requests) == 2


def test_pauses_are_as_long_as_the_server_asks_but_not_longer_than_is_sensible(serve: Serve) -> None:
    server = serve(
        refusal(429, **{"Retry-After": "7"}), refusal(503, **{"Retry-After": "86400"}), job_answer()
    )

    server.client().job("night").status()

    assert 7 <= server.pauses[0] < 10
    assert server.pauses[1] == LONGEST_PAUSE_SECONDS


def test_pauses_differ_so_that_clients_do_not_come_back_together(serve: Serve) -> None:
    server = serve(refusal(503))

    for _ in range(3):
        with pytest.raises(ApiError):
            server.client().job("night").status()

    assert len(set(server.pauses)) == len(server.pauses) == 3 * (ATTEMPTS - 1)


def test_too_many_requests_says_when_to_come_back(serve: Serve) -> None:
    server = serve(refusal(429, "too many files wait", **{"Retry-After": "3"}))

    with pytest.raises(TooManyRequestsError, match="too many files wait") as raised:
        server.client().recognition([("a.png", b"")])

    assert raised.value.retry_after == 3
    assert len(server.requests) == ATTEMPTS


def test_an_api_that_is_not_there_is_said_so_without_the_urls_password(serve: Serve) -> None:
    server = serve(httpx.ConnectError("connection refused"))

    with pytest.raises(UnreachableError, match="connection refused; check the URL") as raised:
        server.client("http://me:hidden@ocr.test").job("night").status()

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("url", ["ocr.test:8080", "ftp://ocr.test", "", "http://", "http://ocr.test:x"])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_is_no_url_is_refused_at_once(client: MakeClient, url: str) -> None:
    with pytest.raises(UsageError):
        client(url)


# the key


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel", "a b", "a\x00"])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_key_that_cannot_be_sent_is_refused_without_being_repeated(client: MakeClient, key: str) -> None:
    with pytest.raises(UsageError) as raised:
        client(URL, key)

    assert not key.strip() or key.strip() not in str(raised.value)


def test_a_key_read_from_a_file_may_end_in_a_newline(serve: Serve) -> None:
    server = serve(job_answer())

    server.client(key=KEY + "\n").job("night").status()

    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(serve: Serve) -> None:
    server = serve(job_answer())

    server.client(key=None).job("night").status()

    assert "Authorization" not in server.requests[0].headers


def test_the_key_is_in_no_repr_log_or_message(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(refusal(401, f"unknown key Bearer {KEY}"), httpx.ConnectError("refused"))
    client = server.client()
    job = client.job("night")

    with pytest.raises(UnauthorizedError) as refused:
        job.status()
    with pytest.raises(UnreachableError) as lost:
        job.status()

    said = []
    for one in (getattr(client, "wrapped", client), getattr(job, "wrapped", job)):
        connection = vars(one)["_connection"]
        said += [repr(one), repr(vars(one)), repr(vars(connection)), repr(vars(connection.api))]
    for error in (refused.value, lost.value):
        said += [str(error), repr(error), repr(vars(error))]
    assert KEY not in "".join(said) + caplog.text
    assert "***" in str(refused.value)
