"""Jobs as the HTTP API finds them: by id, in Redis or, where that knows nothing, in storage."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import redis
import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.reports import Reports
from contract.errors import TraceOcrError, UnknownJobError
from contract.job import STANDARD_INPUT
from contract.job_status import JobStatus
from contract.states import Action
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, open_workspace
from producer.results.index import JobIndex, Listed
from producer.results.status import status_from_workspace, status_of, waits, with_wait

T = TypeVar("T")

LOOKED_AT = 500
"""Jobs that one filtered page looks at; the next page goes on from there."""


@dataclass(frozen=True)
class Page:
    """Some jobs, newest first; `last_id` is where the next page begins, if `has_more`."""

    data: list[JobStatus]
    has_more: bool
    last_id: str | None


@dataclass(frozen=True)
class Jobs:
    """Every job that Redis remembers or the index lists; nothing outside the allowed roots is opened."""

    ledger: Ledger
    storage: Storage
    roots: AllowedRoots
    index: JobIndex
    reports: Reports

    def status(self, job: str) -> JobStatus:
        """Return a job's status; raises UnknownJobError."""
        progress = self.progress(job)
        if progress:
            status = status_of(progress)
            return over_http(with_wait(status, self.reports.live("worker")) if waits(status) else status)
        workspace = self._indexed(job)
        return over_http(status_from_workspace(workspace.require_job(), workspace))

    def workspace(self, job: str) -> Workspace:
        """Return a job's workspace.

        Raises:
            UnknownJobError: neither Redis nor the index knows the job
            OutsideAllowedRootsError: the workspace lies where this process may not look
        """
        progress = self.progress(job)
        if progress:
            self.roots.check(progress.workspace)
            return open_workspace(progress.workspace, self.storage)
        return self._indexed(job)

    def _indexed(self, job: str) -> Workspace:
        found = self.index.find(job)
        if found is None:
            raise UnknownJobError(f"there is no job {job}")
        return found

    def progress(self, job: str) -> Progress | None:
        """Return what Redis knows of a job; nothing while it is away."""
        return self._or_nothing(lambda: self.ledger.load(job), None)

    def page(self, limit: int, after: str | None, accept: Callable[[JobStatus], bool]) -> Page:
        """Return up to `limit` jobs that are accepted, those created before `after`."""
        listed = self.index.listed()
        known: dict[str, float] | None = self._or_nothing(self.ledger.created, None)
        created = {**{job: entry.created_at for job, entry in listed.items()}, **(known or {})}
        ordered = sorted(created, key=lambda job: (created[job], job), reverse=True)
        if after is not None:
            if after not in created:
                raise UnknownJobError(f"there is no job {after} to go on after")
            ordered = ordered[ordered.index(after) + 1 :]
        data: list[JobStatus] = []
        last = None
        for job in ordered[:LOOKED_AT]:
            if len(data) == limit:
                break
            last = job
            # Redis is asked only for what it has: while it is away, asking for each job would take minutes.
            progress = self.progress(job) if known and job in known else None
            status = status_of(progress) if progress else self._stored(listed.get(job))
            if status and accept(status):
                data.append(over_http(status))
        return Page(data, last is not None and last != ordered[-1], last)

    def _stored(self, entry: Listed | None) -> JobStatus | None:
        """Return a status for the list, None for a job that cannot be read: the others must still show."""
        try:
            workspace = self.index.open(entry) if entry else None
            return status_from_workspace(workspace.require_job(), workspace) if workspace else None
        except TraceOcrError as error:
            structlog.get_logger().warning("job_not_listed", job=entry and entry.job, error=str(error))
            return None

    def _or_nothing(self, look: Callable[[], T], nothing: T) -> T:
        try:
            return look()
        except redis.RedisError as error:
            structlog.get_logger().warning("redis_away", error=str(error))
            return nothing


def over_http(status: JobStatus) -> JobStatus:
    """Return the status with the actions alone that the HTTP API has.

    Removing files is left to the command; what is left of a plan from standard input, to where that is.
    """
    missing = {Action.REMOVE}
    if status.planning and status.source == STANDARD_INPUT:
        missing.add(Action.RESUME)
    return replace(status, actions=tuple(action for action in status.actions if action not in missing))
