"""What is asked of the HTTP API and what its answers mean, without any input or output.

A flow is a generator: it yields a Request or a Pause, is sent the response to the request (or thrown httpx's
error), and returns what its caller wants. The sync and the async connection both drive the same flows.
"""

import random
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import httpx
import msgspec

from contract.errors import UsageError
from contract.lines import UNREADABLE
from contract.redaction import redacted
from trace_ocr.errors import ApiError, UnexpectedAnswerError, UnreachableError, api_error

TIMEOUT_SECONDS = 75.0
"""Longer than the minute that a server gives an upload by default, so that its answer is received."""

ATTEMPTS = 6
"""Tries of one request: with the backoff, half a minute, in which a server restarts."""

BACKOFF_SECONDS = 0.5
"""First pause at most; doubled each time, and shortened at random so that clients do not come together."""

LONGEST_PAUSE_SECONDS = 30.0
"""Seconds between two tries at most, even if the server asks for more."""

SHOWN = 500
"""Characters of an answer that an error repeats if the answer has no `detail`."""

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One request, sent as often as needed.

    Args:
        path: below the API's URL
        content: what `httpx.Client.build_request` takes besides method and URL
        idempotent: sending it twice does no more than sending it once; if not, it is sent again only if it
            certainly was not carried out
        stream: leave the body of a successful answer unread
    """

    method: str
    path: str
    content: Mapping[str, Any] = field(default_factory=dict)
    idempotent: bool = True
    stream: bool = False


@dataclass(frozen=True)
class Pause:
    """Wait so long."""

    seconds: float


Flow: TypeAlias = Generator[Request | Pause, Any, T]


class _Problem(msgspec.Struct):
    """One problem of a request that does not have the expected form."""

    loc: list[str | int]
    msg: str


class BearerKey(httpx.Auth):
    """Adds the key to each request; its text is in no repr."""

    def __init__(self, key: str) -> None:
        # httpx would repeat a value it cannot send in its error.
        self._key = key.strip()
        if not self._key or not self._key.isascii() or not self._key.isprintable() or " " in self._key:
            raise UsageError("the key is empty or holds characters that no key has; copy it again")

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Send the request with the key."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request

    def removed_from(self, text: str) -> str:
        """Return the text without the key: a proxy may repeat what it was sent."""
        return text.replace(self._key, "***")


class Api:
    """One API: its address, its key, and the flows of single requests to it.

    Args:
        url: where the API is, http:// or https://
        key: None if the API asks for none

    Raises:
        UsageError: the URL or the key cannot be one
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.shown_url = redacted(url)
        self.auth = None if key is None else BearerKey(key)
        try:
            self.url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.shown_url} is no URL: {error}") from None
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise UsageError(f"{self.shown_url!r} is no URL: give http://host:port or https://host")

    def call(self, request: Request, type_: type[T]) -> Flow[T]:
        """Send a request and return its answer as `type_`; fields that it does not know are ignored.

        Raises:
            ApiError: the API refused or failed
            UnreachableError: there was no answer
        """
        response = yield from self.answer(request)
        try:
            return msgspec.json.decode(response.content, type=type_)
        except UNREADABLE as error:
            raise UnexpectedAnswerError(response.status_code, f"unexpected answer: {error}") from error

    def answer(self, request: Request) -> Flow[httpx.Response]:
        """Send a request until it succeeds, within ATTEMPTS; raises as `call`."""
        attempt = 0
        while True:
            attempt += 1
            failure: ApiError | httpx.RequestError
            try:
                response: httpx.Response = yield request
            except httpx.RequestError as error:
                failure = error
            else:
                if response.is_success:
                    return response
                failure = api_error(response.status_code, self._detail(response), _retry_after(response))
            if attempt == ATTEMPTS or not _worth_another(failure, request.idempotent):
                if isinstance(failure, ApiError):
                    raise failure
                raise self.unreachable(failure) from failure
            yield pause_after(attempt, failure.retry_after if isinstance(failure, ApiError) else None)

    def unreachable(self, error: httpx.RequestError) -> UnreachableError:
        """Return the error that says that the API does not answer."""
        reason = redacted(str(error)) or type(error).__name__
        return UnreachableError(
            f"no answer from {self.shown_url}: {reason}; check the URL and that the API runs"
        )

    def _detail(self, response: httpx.Response) -> str:
        try:
            text = _sentence(msgspec.json.decode(response.content)["detail"])
        except (*UNREADABLE, LookupError, TypeError):
            text = response.text[:SHOWN] or response.reason_phrase
        if response.is_redirect:
            place = redacted(response.headers.get("Location", "an unnamed place"))
            text = f"the API is elsewhere, at {place}"
        return self.auth.removed_from(text) if self.auth else text


def _sentence(detail: Any) -> str:
    """Return an answer's detail as text; a list of problems names each field and what is wrong with it."""
    if isinstance(detail, str):
        return detail
    try:
        problems = msgspec.convert(detail, list[_Problem])
    except msgspec.ValidationError:
        return msgspec.json.encode(detail).decode()
    # The first place is body, query or path, which the caller of this client did not choose.
    named = ((".".join(map(str, one.loc[1:] or one.loc)), one.msg) for one in problems)
    return "; ".join(f"{name}: {msg.removeprefix('Value error, ')}" for name, msg in named)


def pause_after(attempt: int, asked: float | None = None) -> Pause:
    """Return the pause before the next try.

    Args:
        attempt: tries so far
        asked: seconds that the server asks to wait
    """
    jitter = random.uniform(0, BACKOFF_SECONDS * 2 ** (attempt - 1))  # noqa: S311
    return Pause(min((asked or 0.0) + jitter, LONGEST_PAUSE_SECONDS))


def _worth_another(error: ApiError | httpx.RequestError, idempotent: bool) -> bool:
    if isinstance(error, ApiError):
        return error.status == 429 or (idempotent and error.status in (502, 503))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return True
    lost = isinstance(error, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)
    return idempotent and lost


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that the answer asks to wait; a date is not understood."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
