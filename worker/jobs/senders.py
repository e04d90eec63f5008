"""Which of the uploads that a worker has taken are still waited for."""

import threading
import time
from collections.abc import Callable, Sequence

import redis
import structlog

from contract.broker.uploads import Ticket, Uploads
from contract.errors import TraceOcrError

LOOK_SECONDS = 0.5
"""Seconds between two questions to Redis: a page takes about as long on a CPU, and a crop much less."""


class AbandonedUploadsError(TraceOcrError):
    """No sender waits any more for the uploads that are being read."""


class Senders:
    """The senders of some uploads; thread-safe, as decoding threads ask before each file.

    Args:
        uploads: the queue that knows who waits
        tickets: of the uploads
        clock: seconds
    """

    def __init__(
        self, uploads: Uploads, tickets: Sequence[Ticket], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._uploads, self._tickets, self._clock = uploads, tickets, clock
        self._lock = threading.Lock()
        self._waiting = {ticket.id for ticket in tickets}
        self._next_look = clock() + LOOK_SECONDS

    def wait_for(self, ticket: Ticket) -> bool:
        """Return whether the sender of an upload still waits for it."""
        return ticket.id in self._looked()

    def check(self) -> None:
        """Raise AbandonedUploadsError if no sender waits any more."""
        if not self._looked():
            raise AbandonedUploadsError("the senders of these uploads no longer wait")

    def _looked(self) -> set[str]:
        with self._lock:
            if self._clock() >= self._next_look:
                self._look()
                self._next_look = self._clock() + LOOK_SECONDS
            return self._waiting

    def _look(self) -> None:
        try:
            self._waiting &= self._uploads.waited_for(self._tickets)
        except redis.RedisError as error:
            structlog.get_logger().warning("senders_not_known", error=str(error))
