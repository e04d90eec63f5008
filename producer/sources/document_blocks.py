"""Some blocks of a large document on S3, as a local file: its pages are counted without the rest."""

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.errors import StorageUnavailableError
from contract.scratch import scratch_folder

if TYPE_CHECKING:
    from contract.storage import Store

BLOCK_BYTES = 256 << 10
"""Bytes that are fetched at once: a request costs more than their transfer."""


class MissingBlocksError(Exception):
    """Blocks that have to be fetched."""


class BlockFile(io.FileIO):
    """A document of which only some blocks are there; `missing` are those that a read has asked for in vain.

    Args:
        blocks: numbers of the blocks that are there
    """

    def __init__(self, path: str, blocks: Iterable[int]) -> None:
        super().__init__(path)
        self._size = os.fstat(self.fileno()).st_size
        self._there = frozenset(blocks)
        self.missing: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does; raises MissingBlocksError if a block is missing."""
        self._need(self._size if size is None or size < 0 else size)
        return super().read(-1 if size is None else size)

    def readinto(self, buffer: Any, /) -> int:
        """Read as any file does, but nothing if a block is missing: pdfium's callback must not raise."""
        try:
            self._need(memoryview(buffer).nbytes)
        except MissingBlocksError:
            return 0
        return super().readinto(buffer)

    def _need(self, size: int) -> None:
        start = self.tell()
        asked = range(start // BLOCK_BYTES, _count(min(start + size, self._size)))
        missing = [block for block in asked if block not in self._there]
        if missing:
            self.missing = missing
            raise MissingBlocksError


class BlockCopy:
    """Fetches blocks of an object into a file that has holes for the others.

    Args:
        size: the object's, in bytes
    """

    def __init__(self, store: "Store", uri: str, size: int, path: Path) -> None:
        self.path, self.blocks = path, set[int]()
        self._store, self._uri = store, uri
        self._all = frozenset(range(_count(size)))

    @property
    def ends(self) -> frozenset[int]:
        """The first and the last block, which say where the others are."""
        return frozenset({0, len(self._all) - 1})

    def lacks(self, asked: Iterable[int]) -> frozenset[int]:
        """Return which of some blocks exist and were not fetched."""
        return (self._all & frozenset(asked)) - self.blocks

    def fetch(self, blocks: Iterable[int]) -> None:
        """Fetch some blocks."""
        with self.path.open("r+b") as file:
            for block in blocks:
                file.seek(block * BLOCK_BYTES)
                file.write(self._store.read_range(self._uri, block * BLOCK_BYTES, BLOCK_BYTES))
                self.blocks.add(block)


@contextlib.contextmanager
def block_copy(store: "Store", uri: str, size: int) -> Iterator[BlockCopy]:
    """Provide a copy without any block yet; it is removed at the end.

    Raises:
        StorageUnavailableError: the folder for temporary files is full
    """
    try:
        with scratch_folder() as folder:
            path = folder / "blocks"
            path.touch()
            os.truncate(path, size)
            yield BlockCopy(store, uri, size, path)
    except OSError as error:
        raise StorageUnavailableError(
            f"the folder for temporary files cannot hold parts of {uri} ({error}): free some space, "
            "or set TMPDIR to another folder"
        ) from error


def _count(size: int) -> int:
    return -(-size // BLOCK_BYTES)
