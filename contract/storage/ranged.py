"""An object of storage as a seekable file: each read is one ranged request, so few bytes need few."""

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from contract.storage.base import Store


class RangedFile(io.RawIOBase):
    """A read-only file for libraries that seek, like zipfile and pyarrow; holds nothing but its position.

    Wrap it in `io.BufferedReader` for a library that reads a few bytes at a time.

    Args:
        store: the store that holds the object
        uri: its URI
        size: its length in bytes; nothing beyond is read

    Raises (while reading):
        StorageError: as `Store.read_range`
    """

    def __init__(self, store: "Store", uri: str, size: int) -> None:
        super().__init__()
        self._store, self._uri, self._size = store, uri, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end; raises OSError before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(f"{self._uri} has no byte {base + offset:,}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes; all remaining ones by default."""
        left = max(self._size - self._position, 0)
        length = left if size is None or size < 0 else min(size, left)
        data = self._store.read_range(self._uri, self._position, length) if length else b""
        self._position += len(data)
        return data

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read into a buffer; return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
