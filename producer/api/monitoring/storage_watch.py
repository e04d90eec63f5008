"""Whether storage answers: asked in its own thread, so that storage that hangs holds up nobody who asks."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

STORAGE_SECONDS = 3.0
"""Seconds after which storage counts as down; Prometheus, which waits for the answer, times out after ten."""

OLD_SECONDS = 15.0
"""Seconds after which an answer is old: each check is a request for each allowed root."""


class StorageWatch:
    """Checks whether storage answers, one check at a time.

    Args:
        check: returns whether it does; may be slow, and may raise
    """

    def __init__(self, check: Callable[[], bool]) -> None:
        self._check = check
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="storage-watch")
        self._lock = threading.Lock()
        self._asked: Future[bool] | None = None
        self._asked_at = 0.0
        self._said = True

    def up(self) -> bool:
        """Return whether storage answered in time; wait for a check that still runs, do not start another."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._ask()
            asked = self._asked
        return asked is not None and _answered(asked, STORAGE_SECONDS)

    def last(self) -> bool:
        """Return what the last check said, without waiting; begin another one if that is old.

        True before the first one has ended. False while one hangs.
        """
        with self._lock:
            asked, age = self._asked, time.monotonic() - self._asked_at
            if asked is not None and (asked.done() or age > STORAGE_SECONDS):
                self._said = asked.done() and _answered(asked, 0)
            if asked is None or (asked.done() and age >= OLD_SECONDS):
                self._ask()
            return self._said

    def _ask(self) -> None:
        self._asked, self._asked_at = self._threads.submit(self._check), time.monotonic()


def _answered(asked: Future[bool], seconds: float) -> bool:
    try:
        return asked.result(seconds)
    except TimeoutError:
        return False
    # Any exception: every error means that storage is down.
    except Exception as error:
        structlog.get_logger().warning("storage_away", error=str(error))
        return False
