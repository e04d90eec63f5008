"""Requests to web servers: to allowed hosts, in bounded time, without redirects, and their errors as ours."""

import contextlib
import http
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpcore
import httpx

from contract.errors import (
    AccessDeniedError,
    AddressRefusedError,
    ObjectMissingError,
    OutsideAllowedRootsError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
)
from contract.storage.asking import CONNECT_SECONDS, READ_SECONDS, TRANSFER_SECONDS, USER_AGENT

TIMEOUT = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": READ_SECONDS}

BEYOND = http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

_MISSING = {http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE}
_DENIED = {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}
_FOR_GOOD = {http.HTTPStatus.NOT_IMPLEMENTED, http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Args:
        status: 200, 206, or one that the request accepts
        headers: by their names in lower case
        blocks: the body, as it comes; raises StorageUnavailableError if it is cut off or takes too long
    """

    status: int
    headers: dict[str, str]
    blocks: Iterator[bytes]

    @property
    def length(self) -> int | None:
        """Length of the body in bytes; None if the server does not tell."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isdecimal() else None

    @property
    def etag(self) -> str | None:
        """The server's tag of the content."""
        return self.headers.get("etag")


class Requests:
    """Makes requests; thread-safe.

    Args:
        pool: the connections
        hosts: the hosts, with their ports, that requests may go to
    """

    def __init__(self, pool: httpcore.ConnectionPool, hosts: frozenset[str]) -> None:
        self._pool = pool
        self._hosts = hosts

    @contextlib.contextmanager
    def answer(
        self, uri: str, method: str = "GET", asked: str | None = None, accept: Iterable[int] = ()
    ) -> Iterator[Answer]:
        """Make a request; yield its answer, whose body is dropped at the end of the block.

        Args:
            asked: a Range header
            accept: statuses besides 200 and 206 that are no error

        Raises:
            StorageError: the answer has another status, or there is none
        """
        headers = {
            "host": self._host(uri),
            "user-agent": USER_AGENT,
            "accept": "*/*",
            "accept-encoding": "identity",
            **({"range": asked} if asked else {}),
        }
        with _translated(uri):
            parsed = httpx.URL(uri)
            url = httpcore.URL(
                scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
            )
            fields = [(name.encode(), value.encode()) for name, value in headers.items()]
            with self._pool.stream(method, url, headers=fields, extensions={"timeout": TIMEOUT}) as response:
                found = {
                    name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers
                }
                if response.status not in accept:
                    _check(uri, response.status, found)
                yield Answer(response.status, found, _until(uri, response.iter_stream()))

    def _host(self, uri: str) -> str:
        host = uri.split("/")[2].lower()
        if host not in self._hosts:
            raise OutsideAllowedRootsError(
                f"{uri} is on a host that may not be read: add https://{host}/ to TRACE_OCR_ALLOWED_ROOTS if "
                "that is meant"
            )
        return host


def _until(uri: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a body until it has taken too long."""
    deadline = time.monotonic() + TRANSFER_SECONDS
    with _translated(uri):
        for block in blocks:
            if time.monotonic() > deadline:
                raise StorageUnavailableError(f"{uri} took more than {TRANSFER_SECONDS:,} s")
            yield block


def _check(uri: str, status: int, headers: dict[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity")
    if status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        raise _error(uri, status)
    if encoding != "identity":
        raise StorageRefusedError(f"{uri} comes packed as {encoding[:20]}, although that was declined")


def _error(uri: str, status: int) -> StorageError:
    if status in _MISSING:
        return ObjectMissingError(f"there is no object {uri} ({status})")
    if status in _DENIED:
        return AccessDeniedError(f"the server denies access to {uri} ({status}): no credentials are sent")
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return StorageBusyError(f"{uri}: the server asks for fewer requests")
    if status == http.HTTPStatus.REQUEST_TIMEOUT or (status >= 500 and status not in _FOR_GOOD):
        return StorageUnavailableError(f"{uri}: the server answered {status}")
    redirected = (
        ", a redirect, which is not followed: name the URL it leads to" if 300 <= status < 400 else ""
    )
    return StorageRefusedError(f"{uri}: the server answered {status}{redirected}")


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except AddressRefusedError as error:
        raise StorageRefusedError(f"{uri}: {error}") from error
    except httpx.InvalidURL as error:
        raise StorageRefusedError(f"{uri} cannot be requested: {error}") from error
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise StorageUnavailableError(
            f"{uri}: the server cannot be reached ({type(error).__name__})"
        ) from error
