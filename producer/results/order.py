"""`results.order.bin`: the results of a job by confidence, and where the lines of each chunk begin.

A page of results in the order of their confidence takes a ranged read per run instead of the whole file. An
entry is two 64-bit numbers: its key, and the position of its line in `results.jsonl`. A key is the confidence
and, in its lowest SHIFT bits, the number of the item, counted from the first one of its run. A run is sorted,
and of up to NUMBERS items; one more number for every STEP of its entries, a fence, says where in it to look.
Then come the fences, the positions at which each planned chunk's lines begin in `results.jsonl` and in
`errors.jsonl`, a JSON description, and its length in bytes. `producer.results.order_writer` writes it.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

import msgspec

from contract.errors import JobError
from contract.lines import UNREADABLE
from contract.storage import Store

SHIFT = 19
"""Bits of a key that are the number of an item in its run. With the 30 of a confidence they fit into a double
exactly, and Python sorts those fastest."""

NUMBERS = 1 << SHIFT
"""Items of a run at most."""

STEP = 512
"""Entries between two fences: 8 KiB are read of a run at least."""

ENTRY_BYTES = 16

MAX_TABLES = 1 << 28
"""Size limit in bytes of the fences and chunks: those of 10¹⁰ lines."""

AT_ONCE = 16
"""Ranged reads at once, to hide the latency of remote storage."""

LENGTH = struct.Struct("<Q")
_CONFIDENCE = struct.Struct("<f")
_BITS = struct.Struct("<I")

TINY = 2.0**-126
"""Stands for a confidence of 0, since 0 itself stands for none: what has no text comes first."""

VERSION = 1


class Run(msgspec.Struct, frozen=True):
    """One sorted run: the number of its first item, and of its entries."""

    first: int
    entries: int


class Description(msgspec.Struct, frozen=True):
    """What is in the file; `results` and `errors` are the lengths in bytes of the files that it describes."""

    version: int
    results: int
    errors: int
    chunk_size: int
    chunks: int
    runs: tuple[Run, ...] = ()

    @property
    def entries(self) -> int:
        """The number of results."""
        return sum(run.entries for run in self.runs)


class Place(NamedTuple):
    """One result in the order: the bits of its confidence, its item's number, the position of its line."""

    rank: int
    number: int
    offset: int


def rank_of(confidence: float | None) -> int:
    """Return the bits that sort as confidences do, those of none first."""
    stored = 0.0 if confidence is None else max(confidence, TINY)
    rank: int = _BITS.unpack(_CONFIDENCE.pack(stored))[0]
    return rank


def little(numbers: "array[int]") -> "array[int]":
    """Return numbers of this machine in the file's byte order, or the other way round; changes them."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class Order:
    """The file, opened: its description, fences and chunks are in memory, its entries are read as needed.

    Raises:
        StorageError: the file cannot be read
        JobError: it is damaged, or of a later version
    """

    def __init__(self, store: Store, uri: str) -> None:
        self._store, self._uri = store, uri
        size = store.size(uri)
        tail = store.read_range(uri, max(0, size - LENGTH.size), LENGTH.size)
        try:
            length = min(LENGTH.unpack(tail)[0], size - LENGTH.size, MAX_TABLES)
            text = store.read_range(uri, size - LENGTH.size - length, length)
            self.description = msgspec.json.decode(text, type=Description)
        except (*UNREADABLE, struct.error) as error:
            raise self._damaged(str(error)) from error
        if self.description.version != VERSION:
            raise self._damaged(f"version {self.description.version}")
        self._load_tables(size - LENGTH.size - length)

    def _load_tables(self, end: int) -> None:
        runs, chunks = self.description.runs, self.description.chunks
        fences = [-(-run.entries // STEP) for run in runs]
        begin = ENTRY_BYTES * self.description.entries
        length = 8 * (sum(fences) + 2 * chunks)
        if begin + length != end or length > MAX_TABLES:
            raise self._damaged("its length")
        table = self._numbers(begin, length)
        ends = list(accumulate(fences, initial=0))
        self._fences = [table[a:b] for a, b in pairwise(ends)]
        self._begins = list(accumulate((run.entries for run in runs), initial=0))
        self.results, self.errors = table[ends[-1] : ends[-1] + chunks], table[ends[-1] + chunks :]

    def page(self, count: int, after: tuple[int, int] = (0, -1), below: int | None = None) -> list[Place]:
        """Return the next results in the order of their ranks and numbers.

        Args:
            count: number of results at most
            after: rank and number of the result before the first one
            below: the rank at which to end
        """
        runs = range(len(self.description.runs))
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="order") as threads:
            parts = list(threads.map(lambda run: self._of_run(run, count, after), runs))
        found = islice(merge(*parts), count)
        return [one for one in found if below is None or one.rank < below]

    def _of_run(self, number: int, count: int, after: tuple[int, int]) -> list[Place]:
        run, fences = self.description.runs[number], self._fences[number]
        # The key of the first entry that may be next; items of later runs come after the one before.
        rank, item = after
        least = (rank << SHIFT) + min(max(item + 1 - run.first, 0), NUMBERS)
        block = max(0, bisect_left(fences, least) - 1)
        start = block * STEP
        length = min(STEP + count, run.entries - start)
        both = self._numbers(ENTRY_BYTES * (self._begins[number] + start), ENTRY_BYTES * length)
        keys, offsets = both[0::2], both[1::2]
        begin = bisect_left(keys, least)
        return [
            Place(key >> SHIFT, run.first + (key % NUMBERS), offset)
            for key, offset in islice(zip(keys, offsets, strict=True), begin, begin + count)
        ]

    def _numbers(self, start: int, length: int) -> "array[int]":
        data = self._store.read_range(self._uri, start, length) if length else b""
        if len(data) != length:
            raise self._damaged("its length")
        return little(array("Q", data))

    def _damaged(self, what: str) -> JobError:
        return JobError(f"{self._uri} is damaged or of another version ({what}): merge the job again")


def places_within(starts: Sequence[int], chunk: int, size: int) -> tuple[int, int]:
    """Return the first position of a chunk's lines, and the one after the last.

    Args:
        starts: where the lines of each chunk begin in a file of `size` bytes
    """
    return starts[chunk], starts[chunk + 1] if chunk + 1 < len(starts) else size
