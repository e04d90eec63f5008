"""The lines of a large file over HTTP: never held whole, taken up again where the connection was cut."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from contract.lines import UNREADABLE
from trace_ocr.connection import ATTEMPTS, Connection
from trace_ocr.errors import ConflictError, RefusedError, UnexpectedAnswerError

PARTIAL, OUT_OF_RANGE = 206, 416


def json_lines(connection: Connection, path: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a JSONL answer, decoded.

    A cut connection is taken up again after the last whole line, a few times without a new one.

    Raises:
        ApiError: the API refused or failed, or the file changed in between
        UnreachableError: the connection does not hold
    """
    place, cuts = _Place(), 0
    while True:
        try:
            for line in _rest(connection, path, place):
                cuts = 0
                yield line
            return
        except httpx.RequestError as error:
            cuts += 1
            if cuts >= ATTEMPTS:
                raise connection.unreachable(error) from error
            connection.pause(cuts)


class _Place:
    """How far a file is read, in bytes, and which version of it."""

    def __init__(self) -> None:
        self.read = 0
        self.version = ""


def _rest(connection: Connection, path: str, place: _Place) -> Iterator[dict[str, Any]]:
    # Compressed bytes cannot be counted in lines: what is asked for from its middle comes as it is.
    headers = {"Range": f"bytes={place.read}-", "Accept-Encoding": "identity"} if place.read else {}
    try:
        with connection.stream(path, headers) as response:
            skip = _skipped(response, place)
            for line in _whole_lines(response, skip):
                place.read += len(line)
                yield _decoded(line, response)
    except RefusedError as error:
        # Cut after the last line: nothing is left to ask for.
        if not (place.read and error.status == OUT_OF_RANGE):
            raise


def _skipped(response: httpx.Response, place: _Place) -> int:
    """Return how many bytes come again; notes the file's version, and that it is still the same."""
    version = response.headers.get("ETag", "").removeprefix("W/")
    if place.read and version != place.version:
        raise ConflictError(response.status_code, "the file was replaced while it was read; begin anew")
    place.version = version
    return place.read if response.status_code != PARTIAL else 0


def _whole_lines(response: httpx.Response, skip: int) -> Iterator[bytes]:
    rest = b""
    for data in response.iter_bytes():
        skipped, skip = data[skip:], max(0, skip - len(data))
        *lines, rest = (rest + skipped).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _decoded(line: bytes, response: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except UNREADABLE as error:
        raise UnexpectedAnswerError(response.status_code, f"a line is no JSON object: {error}") from error
