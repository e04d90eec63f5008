"""Streams that translate their own errors to storage errors, but not those of the caller's block."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO


class TranslatedStream:
    """The subset of a binary stream that this product uses; each call runs inside a translating context."""

    def __init__(self, stream: IO[bytes], translated: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream = stream
        self._translated = translated

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        with self._translated():
            return self._stream.write(data)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; all remaining ones by default."""
        with self._translated():
            return self._stream.read(size)

    def readline(self, limit: int = -1) -> bytes:
        """Return the next line, or its first `limit` bytes."""
        with self._translated():
            return self._stream.readline(limit)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")
