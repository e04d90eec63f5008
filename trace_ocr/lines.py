"""The lines of a large file over HTTP: never held whole, resumed after a cut. No input or output here."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import httpx
import msgspec

from contract.lines import UNREADABLE
from trace_ocr.errors import ConflictError, RefusedError, UnexpectedAnswerError
from trace_ocr.exchange import ATTEMPTS, Api, Flow, Request, pause_after

PARTIAL, OUT_OF_RANGE = 206, 416

T = TypeVar("T")


class LineFile(Generic[T]):
    """One JSONL answer on its way: how far it is read, in bytes, and which version of it.

    For each try: `open`, `begin`, `feed` with the bytes as they arrive, `finish`; or `cut` if the connection
    breaks. A cut connection is resumed after the last whole line, ATTEMPTS times without a new one.

    Args:
        path: below the API's URL
        type_: what each line is
    """

    def __init__(self, api: Api, path: str, type_: type[T]) -> None:
        self.ended = False
        self._api = api
        self._path = path
        self._decoder = msgspec.json.Decoder(type_)
        self._read = self._skip = self._cuts = self._status = 0
        self._version = ""
        self._rest = b""

    def open(self) -> Flow[httpx.Response | None]:
        """Ask for what is missing; return the answer with its body unread, None if nothing is missing.

        Raises:
            ApiError: the API refused or failed
            UnreachableError: there was no answer
        """
        # As it is: compressing it takes longer than all but slow networks take for it, and compressed bytes
        # cannot be counted in lines, to go on from its middle.
        headers = {"Accept-Encoding": "identity"}
        if self._read:
            headers["Range"] = f"bytes={self._read}-"
        try:
            request = Request("GET", self._path, {"headers": headers}, stream=True)
            response = yield from self._api.answer(request)
        except RefusedError as error:
            # Cut after the last line: nothing is left to ask for.
            if self._read and error.status == OUT_OF_RANGE:
                self.ended = True
                return None
            raise
        return response

    def begin(self, response: httpx.Response) -> None:
        """Note which version of the file comes, and from where.

        Raises:
            ConflictError: it is another one than before
        """
        version = response.headers.get("ETag", "").removeprefix("W/")
        if self._read and version != self._version:
            raise ConflictError(response.status_code, "the file was replaced while it was read; start again")
        self._version, self._status, self._rest = version, response.status_code, b""
        self._skip = self._read if response.status_code != PARTIAL else 0

    def feed(self, data: bytes) -> Iterator[T]:
        """Yield the lines that these bytes complete."""
        skipped, self._skip = data[self._skip :], max(0, self._skip - len(data))
        *lines, self._rest = (self._rest + skipped).split(b"\n")
        for line in lines:
            yield self._decoded(line, len(line) + 1)

    def finish(self) -> Iterator[T]:
        """Yield the last line, if no newline ends it."""
        self.ended = True
        if self._rest:
            yield self._decoded(self._rest, len(self._rest))

    def cut(self, error: httpx.RequestError) -> Flow[None]:
        """Pause before the next try; raises UnreachableError if the connection does not hold."""
        self._cuts += 1
        if self._cuts >= ATTEMPTS:
            raise self._api.unreachable(error) from error
        yield pause_after(self._cuts)

    def _decoded(self, line: bytes, size: int) -> T:
        try:
            decoded = self._decoder.decode(line)
        except UNREADABLE as error:
            message = f"a line is not as expected: {error}"
            raise UnexpectedAnswerError(self._status, message) from error
        self._read += size
        self._cuts = 0
        return decoded
