"""Whose turn it is: chunks have a share of a worker's time while uploads keep coming."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Work = Literal["chunk", "uploads"]

WINDOW_SECONDS = 60.0
"""Seconds over which the share is counted: a chunk should take less."""


@dataclass
class _Stretch:
    """A message's time in one of the worker's places; `end` is None while it runs."""

    work: Work
    start: float
    end: float | None = None


class ChunkShare:
    """Counts how long the places of a worker process were used for what; thread-safe.

    Args:
        share: what chunks get at least of the time that both use, 0..0.5
        chunks_wait: returns whether any chunk waits in a queue
        clock: seconds
    """

    def __init__(
        self, share: float, chunks_wait: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share, self._chunks_wait, self._clock = share, chunks_wait, clock
        self._stretches: list[_Stretch] = []
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, work: Work) -> Iterator[None]:
        """Count a block as time for this work."""
        stretch = _Stretch(work, self._clock())
        with self._lock:
            self._stretches.append(stretch)
        try:
            yield
        finally:
            stretch.end = self._clock()

    def uploads_must_end(self) -> bool:
        """Return whether uploads must give their place to a chunk that waits."""
        return self.chunks_are_due() and self._chunks_wait()

    def chunks_are_due(self) -> bool:
        """Return whether the next message should be a chunk, if one waits, although uploads wait.

        It is when chunks had less than their share of the last WINDOW_SECONDS, and none runs: uploads keep
        the other places, so that none waits for a chunk to end.
        """
        with self._lock:
            used = self._used()
        return used is not None and used["chunk"] < self._share * sum(used.values())

    def _used(self) -> dict[Work, float] | None:
        """Return the seconds of each work within the window; None while a chunk runs."""
        now = self._clock()
        since = now - WINDOW_SECONDS
        used: dict[Work, float] = {"chunk": 0.0, "uploads": 0.0}
        self._stretches = [one for one in self._stretches if one.end is None or one.end > since]
        for stretch in self._stretches:
            if stretch.end is None and stretch.work == "chunk":
                return None
            end = now if stretch.end is None else stretch.end
            used[stretch.work] += end - max(stretch.start, since)
        return used
