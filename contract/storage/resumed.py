"""An object's bytes as a stream that goes on after the connection was cut."""

import io
from collections.abc import Callable, Iterator
from typing import Any

from contract.errors import StorageUnavailableError

ATTEMPTS = 6
"""Tries to get the next bytes; each may itself repeat its request."""

OpenAt = Callable[[int, str | None], tuple[Iterator[bytes], str | None]]
"""Returns an object's bytes from a position, and its etag; the etag that is given must be the object's."""


class ResumedBody(io.RawIOBase):
    """An object's bytes as they come; after a cut the rest is asked for, if it is still the same object.

    Args:
        open_at: asks for the bytes
        start: the first position
    """

    def __init__(self, open_at: OpenAt, start: int) -> None:
        self._open_at = open_at
        self._position = start
        self._blocks, self._tag = open_at(start, None)
        self._rest = memoryview(b"")

    def close(self) -> None:
        """Drop what has not come."""
        if close := getattr(getattr(self, "_blocks", None), "close", None):
            close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what has come; 0 at the end."""
        while not self._rest:
            block = self._next()
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes | None:
        for attempt in range(ATTEMPTS):
            try:
                block = next(self._blocks, None)
            except StorageUnavailableError:
                if attempt == ATTEMPTS - 1:
                    raise
                self._blocks, _ = self._open_at(self._position, self._tag)
                continue
            self._position += len(block or b"")
            return block
        raise AssertionError("the last attempt returns or raises")
