"""The system in figures: cheap enough for several browsers that ask every two seconds."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import redis
import structlog

from contract.broker.depths import oldest_lease_age, queue_depths, unacked_messages
from contract.broker.ledger import Ledger
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.job_status import JobStatus
from contract.settings import Settings
from contract.system_status import QueueStatus, SystemStatus
from producer.api.monitoring.alerts import REDIS_AWAY, Situation, alerts_of
from producer.api.monitoring.storage_watch import StorageWatch
from producer.control.paces import slow_names

KEPT_SECONDS = 1.0
"""Seconds that an answer is kept: all browsers that look within one cost a single look."""


@dataclass
class SystemWatch:
    """Looks at Redis and storage at most once in KEPT_SECONDS, however many ask.

    Args:
        jobs: returns the jobs that have not ended, and those that failed
        clock: Unix seconds
    """

    client: redis.Redis
    settings: Settings
    ledger: Ledger
    reports: Reports
    uploads: Uploads
    storage: StorageWatch
    jobs: Callable[[], Sequence[JobStatus]] = tuple
    clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: SystemStatus | None = None

    def status(self, may_see: Callable[[str], bool]) -> SystemStatus:
        """Return the system's status, without the alerts of jobs that the caller may not see."""
        with self._lock:
            if self._last is None or not 0 <= self.clock() - self._last.at < KEPT_SECONDS:
                self._last = self._look()
            last = self._last
        shown = tuple(alert for alert in last.alerts if alert.job is None or may_see(alert.job))
        return replace(last, alerts=shown, alert=shown[0] if shown else None)

    def _look(self) -> SystemStatus:
        known = SystemStatus(
            at=self.clock(),
            redis=False,
            workers_expected=self.settings.expected_workers,
            flower_url=self.settings.flower_url,
        )
        try:
            return self._figures(known)
        except redis.RedisError as error:
            structlog.get_logger().warning("redis_away", error=str(error))
            return replace(known, alerts=(REDIS_AWAY,))

    def _figures(self, known: SystemStatus) -> SystemStatus:
        settings, now = self.settings, known.at
        depths = queue_depths(self.client, settings.namespace, now)
        reports = self.reports.live()
        workers = [report for report in reports if report.role == "worker"]
        situation = Situation(
            now=now,
            storage=self.storage.last(),
            reports=reports,
            expected_workers=settings.expected_workers,
            held=unacked_messages(self.client),
            oldest_message=max(depth.oldest_seconds for depth in depths),
            oldest_lease=oldest_lease_age(self.client, now),
            items_per_second=sum(worker.items_per_second or 0.0 for worker in workers),
            jobs=self.jobs(),
        )
        prefix = settings.namespace + "."
        return replace(
            known,
            redis=True,
            queues=tuple(
                QueueStatus(depth.name.removeprefix(prefix), depth.messages, depth.oldest_seconds)
                for depth in depths
            ),
            waiting=sum(depth.messages for depth in depths),
            held=situation.held,
            in_line=sum(standing.unsent for standing in self.ledger.line()),
            oldest_seconds=situation.oldest_message,
            uploads_waiting=self.uploads.waiting(),
            workers_alive=len(workers),
            workers_slow=len(slow_names(workers)),
            controls_alive=len(reports) - len(workers),
            items_per_second=situation.items_per_second,
            alerts=alerts_of(situation),
        )
