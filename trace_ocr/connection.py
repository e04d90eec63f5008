"""Requests to the HTTP API: the key, errors as exceptions, retries with jitter."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import msgspec
import tenacity

from contract.errors import UsageError
from contract.lines import UNREADABLE
from contract.redaction import redacted
from trace_ocr.errors import ApiError, UnexpectedAnswerError, UnreachableError, api_error

ATTEMPTS = 6
"""Tries of one call: with the backoff, half a minute, in which a server restarts."""

BACKOFF_SECONDS = 0.5
"""First pause at most; doubled each time, and shortened at random so that clients do not come together."""

LONGEST_PAUSE_SECONDS = 30.0
"""Seconds between two tries at most, also where the server asks for more."""

SHOWN = 500
"""Characters of an answer that an error repeats where the answer has no `detail`."""

T = TypeVar("T")
Sleep = Callable[[float], None]


class BearerKey(httpx.Auth):
    """Adds the key to each request; its text is in no repr."""

    def __init__(self, key: str) -> None:
        # httpx would repeat a value it cannot send in its error.
        self._key = key.strip()
        if not self._key or not self._key.isascii() or not self._key.isprintable() or " " in self._key:
            raise UsageError("the key is empty or holds characters that no key has; copy it anew")

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Send the request with the key."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request

    def struck_from(self, text: str) -> str:
        """Return the text without the key: a proxy may repeat what it was sent."""
        return text.replace(self._key, "***")


class Connection:
    """One API, reached over kept-alive connections.

    Args:
        url: where the API is, http:// or https://
        key: None where the API asks for none
        timeout: seconds without a byte after which a request counts as lost
        transport: another way than the network
        sleep: how to wait between tries

    Raises:
        UsageError: the URL or the key cannot be one
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        timeout: float,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.url = redacted(url)
        self._key = None if key is None else BearerKey(key)
        self.sleep = sleep
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url} is no URL: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UsageError(f"{self.url!r} is no URL: give http://host:port or https://host")
        self._http = httpx.Client(base_url=url, auth=self._key, timeout=timeout, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, type_: type[T], *, idempotent: bool = True, **request: Any) -> T:
        """Send a request and return its answer as `type_`; fields unknown to that are passed over.

        Args:
            idempotent: whether sending it twice does no more than once; else it is sent again only where it
                surely was not carried out

        Raises:
            ApiError: the API refused or failed
            UnreachableError: there was no answer
        """
        response = self._send(method, path, idempotent, request)
        try:
            return msgspec.json.decode(response.content, type=type_)
        except UNREADABLE as error:
            raise UnexpectedAnswerError(response.status_code, f"unexpected answer: {error}") from error

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Yield the answer to a GET with its body unread; raises as `call` until the body begins."""
        response = self._send("GET", path, True, {"headers": headers}, stream=True)
        try:
            yield response
        finally:
            response.close()

    def pause(self, attempt: int) -> None:
        """Wait before try `attempt` + 1, counted from 1."""
        self.sleep(_pause_seconds(attempt, None))

    def _send(
        self, method: str, path: str, idempotent: bool, request: dict[str, Any], stream: bool = False
    ) -> httpx.Response:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            retry=tenacity.retry_if_exception(lambda error: _worth_another(error, idempotent)),
            wait=_wait,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            return retrying(self._send_once, method, path, request, stream)
        except httpx.RequestError as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: httpx.RequestError) -> UnreachableError:
        """Return the error that says that the API does not answer."""
        reason = redacted(str(error)) or type(error).__name__
        return UnreachableError(f"no answer from {self.url}: {reason}; check the URL and that the API runs")

    def _send_once(self, method: str, path: str, request: dict[str, Any], stream: bool) -> httpx.Response:
        response = self._http.send(self._http.build_request(method, path, **request), stream=True)
        if response.is_success and stream:
            return response
        try:
            response.read()
        finally:
            response.close()
        if response.is_success:
            return response
        raise api_error(response.status_code, self._detail(response), _retry_after(response))

    def _detail(self, response: httpx.Response) -> str:
        try:
            detail = msgspec.json.decode(response.content)["detail"]
            text = detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()
        except (*UNREADABLE, LookupError, TypeError):
            text = response.text[:SHOWN] or response.reason_phrase
        if response.is_redirect:
            text = (
                f"the API is elsewhere, at {redacted(response.headers.get('Location', 'an unnamed place'))}"
            )
        return self._key.struck_from(text) if self._key else text


def _worth_another(error: BaseException, idempotent: bool) -> bool:
    if isinstance(error, ApiError):
        return error.status == 429 or (idempotent and error.status in (502, 503))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return True
    lost = isinstance(error, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)
    return idempotent and lost


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return _pause_seconds(state.attempt_number, error.retry_after if isinstance(error, ApiError) else None)


def _pause_seconds(attempt: int, asked: float | None) -> float:
    jitter = random.uniform(0, BACKOFF_SECONDS * 2 ** (attempt - 1))  # noqa: S311
    return min((asked or 0.0) + jitter, LONGEST_PAUSE_SECONDS)


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that the answer asks to wait; a date is not understood."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
