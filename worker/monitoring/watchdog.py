"""The watchdog: ends a process whose chunk makes no progress, since single threads cannot be ended."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from worker.monitoring.exits import STALLED_STATUS

LOOKS_PER_DEADLINE = 10
"""Checks per deadline, so that a stall is detected at most a tenth of it late."""


class Watchdog:
    """Watches the chunks of one process; on a stall, the whole process ends and its launcher restarts it.

    The chunk's message is then delivered again.

    Args:
        seconds: maximum time without progress
        on_stall: ends the process; replaced in tests
    """

    def __init__(self, seconds: float, on_stall: Callable[[], None] | None = None) -> None:
        self._seconds = seconds
        self._on_stall = on_stall or _end_process
        self._seen: dict[int, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        """Start watching, in a separate thread."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()

    @contextmanager
    def watching(self) -> Iterator[Callable[[], None]]:
        """Watch a block; yield the function to call, from any thread, when the block has made progress.

        Calls after the block has ended change nothing.
        """
        key = threading.get_ident()

        def progress() -> None:
            with self._lock:
                if key in self._seen:
                    self._seen[key] = time.monotonic()

        with self._lock:
            self._seen[key] = time.monotonic()
        try:
            yield progress
        finally:
            with self._lock:
                self._seen.pop(key, None)

    def progress_age(self) -> float:
        """Return the seconds since the slowest running chunk last made progress; 0 while none runs."""
        with self._lock:
            oldest = min(self._seen.values(), default=None)
        return time.monotonic() - oldest if oldest is not None else 0.0

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds / LOOKS_PER_DEADLINE):
            with self._lock:
                oldest = min(self._seen.values(), default=None)
            if oldest is not None and time.monotonic() - oldest > self._seconds:
                structlog.get_logger().error("worker_stalled", seconds=self._seconds)
                self._on_stall()
                return


def _end_process() -> None:
    """Exit at once, with every thread's stack on standard error: a hung thread would block a normal exit."""
    faulthandler.dump_traceback()
    os._exit(STALLED_STATUS)
