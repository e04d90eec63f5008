"""What belongs to a chunk's items, kept while a merge is at that chunk."""

from collections.abc import Callable
from typing import Generic, TypeVar

from contract.job import Job

V = TypeVar("V")


class ByChunk(Generic[V]):
    """Something of each item, by the item's id; keeps a few chunks in memory.

    Args:
        load: takes a chunk's number
    """

    def __init__(self, job: Job, load: Callable[[int], dict[str, V]]) -> None:
        self._load = load
        # An item is in the current planned chunk, or in the current chunk of a retry.
        self._kept = 1 + len(job.retries)
        self._chunks: dict[int, dict[str, V]] = {}

    def get(self, identity: str, chunk: int) -> V | None:
        """Return what belongs to an item, or None if its chunk has none for it."""
        if chunk not in self._chunks:
            if len(self._chunks) >= self._kept:
                self._chunks.pop(next(iter(self._chunks)))
            self._chunks[chunk] = self._load(chunk)
        return self._chunks[chunk].get(identity)
