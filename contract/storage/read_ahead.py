"""A seekable object that is read mostly from start to end, in requests that grow while that goes on."""

from typing import TYPE_CHECKING

from contract.storage import is_remote
from contract.storage.ranged import RangedFile

if TYPE_CHECKING:
    from contract.storage.base import Store

FIRST_BYTES = 1 << 16
"""Bytes of the first request, and of one after a long seek: the headers of a large member, or small ones."""

GROWTH = 4
"""How many times as large the next request is while reading goes on."""

MOST_BYTES, MOST_LOCAL_BYTES = 16 << 20, 1 << 18
"""Maximum bytes of one request. One to a local file costs next to nothing, so less is read in vain."""


class ReadAheadFile(RangedFile):
    """A `RangedFile` that holds what it has read ahead.

    Each request that goes on where the last one ended, or skips less than that one had, is GROWTH times as
    large. So a few requests read an archive of small members, and what large members contain is skipped.
    """

    def __init__(self, store: "Store", uri: str, size: int) -> None:
        super().__init__(store, uri, size)
        self._most = MOST_BYTES if is_remote(uri) else MOST_LOCAL_BYTES
        self._block = 0
        self._start, self._held = 0, b""

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes; all remaining ones by default."""
        left = max(self._size - self._position, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        if not self._start <= self._position <= self._position + wanted <= self._start + len(self._held):
            self._fill(wanted)
        offset = self._position - self._start
        data = self._held[offset : offset + wanted]
        self._position += len(data)
        return data

    def _fill(self, wanted: int) -> None:
        """Hold at least the next `wanted` bytes, or all that the object still has."""
        end = self._start + len(self._held)
        goes_on = self._start <= self._position <= end + self._block
        self._block = min(self._block * GROWTH, self._most) if goes_on and self._block else FIRST_BYTES
        rest = self._held[self._position - self._start :] if self._start <= self._position < end else b""
        first = self._position + len(rest)
        length = min(max(wanted - len(rest), self._block), self._size - first)
        more = self._store.read_range(self._uri, first, length) if length > 0 else b""
        self._start, self._held = self._position, rest + more
