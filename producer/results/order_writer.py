"""Writes `results.order.bin`, as `producer.results.order` describes it, while the results are merged."""

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from operator import add
from typing import cast

import msgspec

from contract.storage.streams import TranslatedStream
from producer.results.order import ENTRY_BYTES, LENGTH, NUMBERS, STEP, TINY, VERSION, Description, Run, little

RUN = NUMBERS
"""Items whose results are sorted at once: some 60 MB while they are, and 20 runs for 10,000,000 lines."""


class OrderWriter:
    """Writes the file chunk by chunk; holds one run, and a few bytes for each chunk.

    Args:
        chunk_size: items of each planned chunk but the last
    """

    def __init__(self, target: TranslatedStream, chunk_size: int) -> None:
        self._target, self._chunk_size = target, chunk_size
        self._results = self._errors = self._items = 0
        self._starts: tuple[array[int], array[int]] = (array("Q"), array("Q"))
        self._runs: list[Run] = []
        self._fences = array("Q")
        self._first = 0
        self._ranks: array[float] = array("f")
        self._numbers: array[int] = array("I")
        self._offsets: array[int] = array("Q")

    def add(
        self, sizes: Sequence[int], confidences: Sequence[float | None], failed: Sequence[int], lost: int
    ) -> None:
        """Add the lines of the next planned chunk.

        Args:
            sizes: bytes of each result's line, its newline included
            confidences: of each result, in 0..1
            failed: indexes in the chunk of the items without a result, ascending
            lost: bytes of their lines
        """
        starts = self._starts
        starts[0].append(self._results)
        starts[1].append(self._errors)
        items = len(sizes) + len(failed)
        if self._items + items - self._first > RUN:
            self._end_run()
            self._first = self._items
        begin = self._items - self._first
        self._items += items
        if None in confidences or 0.0 in confidences:
            confidences = [0.0 if one is None else one or TINY for one in confidences]
        self._ranks.extend(cast("Sequence[float]", confidences))
        positions = islice(accumulate(sizes, initial=self._results), len(sizes))
        self._numbers.extend(_without(failed, begin, items))
        self._offsets.extend(_spread(positions, failed, items) if failed else positions)
        self._results += sum(sizes)
        self._errors += lost

    def close(self) -> None:
        """Write what is left."""
        self._end_run()
        description = msgspec.json.encode(
            Description(
                VERSION,
                self._results,
                self._errors,
                self._chunk_size,
                len(self._starts[0]),
                tuple(self._runs),
            )
        )
        for table in (self._fences, *self._starts):
            self._target.write(little(table).tobytes())
        self._target.write(description + LENGTH.pack(len(description)))

    def _end_run(self) -> None:
        entries = len(self._ranks)
        if entries:
            self._write_run(entries)
        for table in (self._ranks, self._numbers, self._offsets):
            del table[:]

    def _write_run(self, entries: int) -> None:
        ranks = array("I", self._ranks.tobytes())
        mixed = sorted(map(add, map(float(NUMBERS).__mul__, ranks), self._numbers))
        keys = array("Q", map(int, mixed))
        both = array("Q", bytes(ENTRY_BYTES * entries))
        both[0::2] = keys
        both[1::2] = array("Q", map(self._offsets.__getitem__, [key % NUMBERS for key in keys]))
        self._target.write(little(both).tobytes())
        self._fences.extend(keys[::STEP])
        self._runs.append(Run(self._first, entries))


def _spread(positions: Iterable[int], failed: Sequence[int], items: int) -> list[int]:
    """Return the positions of a chunk's results, with a 0 in the place of each failed item."""
    left_out, results = set(failed), iter(positions)
    return [0 if index in left_out else next(results) for index in range(items)]


def _without(failed: Sequence[int], first: int, items: int) -> Iterable[int]:
    if not failed:
        return range(first, first + items)
    left_out = set(failed)
    return [first + index for index in range(items) if index not in left_out]
