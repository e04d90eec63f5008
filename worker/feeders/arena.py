"""Shared memory of the device process and one feeder: a fixed number of slots, and the feeder's progress."""

import os

import numpy as np
import numpy.typing as npt

from contract.shared_memory import anonymous_file, mapped

SLOT_BYTES = 8 << 20
"""Bytes of a slot: a group of 32 crops takes 0.4 MB as pieces, and 3 MB as they are. Only what a group has
written takes memory."""

HEADER_BYTES = 4096
"""Bytes before the first slot: one page, of which the progress takes two numbers."""

Bytes = npt.NDArray[np.uint8]


class Arena:
    """The shared memory of one feeder, as either process sees it.

    Args:
        descriptor: of the file; the arena owns it
        slots: number of slots
    """

    def __init__(self, descriptor: int, slots: int) -> None:
        self.descriptor, self.slots = descriptor, slots
        self._map: Bytes = np.frombuffer(mapped(descriptor, HEADER_BYTES + slots * SLOT_BYTES), np.uint8)
        self._progress: npt.NDArray[np.int64] = self._map[:16].view(np.int64)

    @classmethod
    def of(cls, slots: int) -> "Arena":
        """Return new shared memory with so many slots."""
        return cls(anonymous_file(HEADER_BYTES + slots * SLOT_BYTES), slots)

    def slot(self, number: int) -> Bytes:
        """Return a slot's bytes."""
        start = HEADER_BYTES + number * SLOT_BYTES
        return self._map[start : start + SLOT_BYTES]

    def note(self, place: int | None) -> None:
        """Note that the feeder decodes the item at a place of its request; None for anything else."""
        self._progress[1] = 0 if place is None else place + 1
        self._progress[0] += 1

    def progress(self) -> tuple[int, int | None]:
        """Return a number that changes with each step, and the place of the item being decoded, if one is."""
        steps, place = self._progress.tolist()
        return steps, place - 1 if place > 0 else None

    def close(self) -> None:
        """Close the file; the memory is freed once no array refers to it."""
        os.close(self.descriptor)
