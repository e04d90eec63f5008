"""Tells of jobs that will miss their deadline."""

import time

import redis

from contract.broker.progress import Progress
from contract.broker.reports import Reports
from contract.job import Job
from contract.settings import Settings
from contract.workspace import Workspace
from producer.notify.events import EventType, data_of, receivers
from producer.notify.notifier import Notifier
from producer.notify.outbox import Outbox
from producer.results.status import status_of

LASTING_SECONDS = 60.0
"""Seconds that a job must be at risk before somebody is told: a measured pace may be low for a moment."""


class RiskWatch:
    """Notes `job.deadline_at_risk` once for each deadline of a job."""

    def __init__(self, client: redis.Redis, settings: Settings, notifier: Notifier) -> None:
        self._reports, self._settings = Reports(client, settings.namespace), settings
        self._notifier = notifier
        self._since: dict[str, float] = {}
        self._told: dict[str, int] = {}

    def look(self, job: Job, workspace: Workspace, progress: Progress) -> None:
        """Look at a job that runs; note the event if the job has been at risk for LASTING_SECONDS."""
        if job.deadline is None or not receivers(job, self._settings):
            return
        if self._told.get(job.id) == job.deadline:
            return
        now = time.time()
        status = status_of(progress, {one.name for one in self._reports.live("worker")})
        if not status.at_risk:
            self._since.pop(job.id, None)
            return
        if now - self._since.setdefault(job.id, now) < LASTING_SECONDS and now < job.deadline:
            return
        self._told[job.id] = job.deadline
        if self._was_told(job, workspace):
            return
        data = data_of(job, workspace, status.status, self._settings, status.request_counts)
        data |= {"deadline": job.deadline, "projected_end": status.projected_end}
        self._notifier.announce(EventType.DEADLINE_AT_RISK, job, workspace, now, data)

    def forget(self, job: str) -> None:
        """Drop the state of an ended job."""
        self._since.pop(job, None)
        self._told.pop(job, None)

    def _was_told(self, job: Job, workspace: Workspace) -> bool:
        """Return whether another control process, or this one before a restart, has noted the event."""
        return any(
            event.type is EventType.DEADLINE_AT_RISK and event.data.get("deadline") == job.deadline
            for _, event in Outbox(job, workspace).events()
        )
