"""A running chunk's heartbeat: its message's lease in the broker, its progress in the ledger."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import redis
import structlog

from contract.broker.depths import UNACKED_INDEX

if TYPE_CHECKING:
    from redis import Redis

PROGRESS_SECONDS = 1.0
"""Seconds between progress reports: often enough for a progress bar, negligible load for Redis."""


class Heartbeat:
    """A thread that renews the lease and reports progress while its `with` block runs.

    Args:
        renew: renews the lease
        report: reports the number of items read
        lease_seconds: seconds between renewals
    """

    def __init__(
        self, renew: Callable[[], None], report: Callable[[int], None], lease_seconds: float
    ) -> None:
        self.items = 0
        self._renew, self._report, self._lease_seconds = renew, report, lease_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def advance(self, items: int) -> None:
        """Set how many items are read so far."""
        self.items = items

    def _beat(self) -> None:
        reported, renewed = 0, time.monotonic()
        while not self._ended.wait(min(PROGRESS_SECONDS, self._lease_seconds)):
            items, due = self.items, time.monotonic() - renewed >= self._lease_seconds
            try:
                if due:
                    self._renew()
                    renewed = time.monotonic()
                if due or items != reported:
                    self._report(items)
                    reported = items
            except redis.RedisError as error:
                # The next beat retries; if Redis stays unreachable, the chunk is at worst read twice.
                structlog.get_logger().warning("heartbeat_failed", error=str(error))


def renew_lease(client: "Redis", delivery_tag: str) -> None:
    """Set a message's time of delivery to now, if it is still unacked."""
    client.zadd(UNACKED_INDEX, {delivery_tag: time.time()}, xx=True)
