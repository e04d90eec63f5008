"""How fast a worker process reads: what it has in hand, and its items per second over the last minute."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from contract.broker.process_report import MAX_IN_HAND, MAX_NAME, InHand

WINDOW_SECONDS = 60.0
"""Seconds over which a pace is measured: some batches of a slow device, and a change shows in a minute."""

MARK_SECONDS = 1.0
"""Seconds whose amounts are added up: a minute has at most so many marks, however small the batches are."""


class Window:
    """A sum over the last WINDOW_SECONDS of a clock, which may stand still."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._begun = clock, clock()
        self._marks: deque[tuple[float, float]] = deque()

    def add(self, amount: float) -> None:
        """Add an amount now."""
        now = self._clock()
        if self._marks and now - self._marks[-1][0] < MARK_SECONDS:
            at, before = self._marks.pop()
            self._marks.append((at, before + amount))
        else:
            self._marks.append((now, amount))

    def per_second(self) -> float | None:
        """Return the sum per second; None within the first second, which says nothing."""
        now = self._clock()
        while self._marks and self._marks[0][0] <= now - WINDOW_SECONDS:
            self._marks.popleft()
        seconds = min(now - self._begun, WINDOW_SECONDS)
        return sum(amount for _, amount in self._marks) / seconds if seconds >= MARK_SECONDS else None


@dataclass
class _Hold:
    """A chunk in hand."""

    job: str
    kind: str
    chunk: int
    since: float
    items: int = 0


class Pace:
    """What one process reads, and how fast; thread-safe.

    Args:
        clock: seconds that never go back
        wall: Unix seconds
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._holds: list[_Hold] = []
        self._busy, self._held_since = 0.0, 0.0
        self._noted = 0.0
        self._read = Window(clock)
        self._held = Window(clock)
        self._work, self._of_work = "", Window(self._busy_clock)

    @contextmanager
    def reading(self, job: str, kind: str, chunk: int, work: str) -> Iterator[Callable[[int], None]]:
        """Hold a chunk during a block; yield the function to call with its number of items read so far.

        Args:
            work: the kind and the models, whose pace begins again when they change
        """
        hold = _Hold(job, kind, chunk, self._wall())

        def advance(items: int) -> None:
            with self._lock:
                more, hold.items = max(0, items - hold.items), max(items, hold.items)
                self._read.add(more)
                self._of_work.add(more)

        self._take(hold, work[:MAX_NAME])
        try:
            yield advance
        finally:
            self._release(hold)

    def count(self, items: int) -> None:
        """Count items that belong to no chunk."""
        with self._lock:
            self._read.add(items)

    def figures(self) -> dict[str, Any]:
        """Return the fields of a report."""
        with self._lock:
            self._note_busy()
            busy = self._held.per_second()
            return {
                "in_hand": tuple(
                    InHand(hold.job, hold.kind, hold.chunk, hold.items, hold.since)
                    for hold in self._holds[:MAX_IN_HAND]
                ),
                "work": self._work if self._holds else "",
                "pace": self._of_work.per_second() if self._holds else None,
                "items_per_second": self._read.per_second(),
                "busy": None if busy is None else min(busy, 1.0),
            }

    def _take(self, hold: _Hold, work: str) -> None:
        with self._lock:
            if not self._holds:
                self._held_since = self._clock()
            self._holds.append(hold)
            if work != self._work:
                self._work, self._of_work = work, Window(self._busy_clock)

    def _release(self, hold: _Hold) -> None:
        with self._lock:
            self._note_busy()
            self._holds.remove(hold)
            if not self._holds:
                self._busy = self._noted

    def _busy_clock(self) -> float:
        """Return the seconds so far in which a chunk was in hand."""
        return self._busy + (self._clock() - self._held_since if self._holds else 0.0)

    def _note_busy(self) -> None:
        """Add the seconds with a chunk in hand since this was last called to those of the last minute."""
        busy = self._busy_clock()
        self._held.add(busy - self._noted)
        self._noted = busy
