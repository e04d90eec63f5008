"""Jobs of the HTTP API: found by id in Redis or, if Redis does not know the job, in storage."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import redis
import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.reports import Reports
from contract.errors import OutsideAllowedRootsError, TraceOcrError, UnknownJobError
from contract.job import STANDARD_INPUT, uris_in
from contract.job_status import JobFilter, JobStatus
from contract.states import Action
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tenants import Tenant
from contract.workspace import Workspace, open_workspace
from producer.control.line import with_live
from producer.results.index import JobIndex, Listed
from producer.results.status import status_from_workspace, status_of

T = TypeVar("T")

LOOKED_AT = 500
"""Jobs that one filtered listing examines; the next listing continues after them."""


@dataclass(frozen=True)
class Page:
    """Some jobs, newest first; if `has_more`, the next listing continues after `last_id`."""

    data: list[JobStatus]
    has_more: bool
    last_id: str | None


@dataclass(frozen=True)
class Jobs:
    """Every job that Redis or the index knows; nothing outside the allowed roots is opened.

    Args:
        bounds: roots of the caller's key, which a job's source and workspace must lie below: for the caller
            there are no other jobs; None for all jobs
    """

    ledger: Ledger
    storage: Storage
    roots: AllowedRoots
    index: JobIndex
    reports: Reports
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    bounds: AllowedRoots | None = None

    def below(self, bounds: AllowedRoots | None) -> "Jobs":
        """Return the jobs of a caller."""
        return replace(self, bounds=bounds)

    @property
    def readable(self) -> AllowedRoots:
        """The roots below which the caller may see files."""
        return self.roots if self.bounds is None else self.roots.within(self.bounds)

    def check(self, uri: str) -> None:
        """Raise OutsideAllowedRootsError if the caller may not use the URI."""
        if self.bounds is not None and not self.bounds.contain(uri):
            raise OutsideAllowedRootsError(f"{uri} is outside the allowed roots of the key")
        self.roots.check(uri)

    def status(self, job: str) -> JobStatus:
        """Return a job's status; raises UnknownJobError."""
        progress = self.progress(job)
        if progress:
            self._require(job, progress.source, progress.workspace)
            return over_http(with_live(status_of(progress), self.reports, self.ledger, self.tenants))
        workspace = self._indexed(job)
        return over_http(status_from_workspace(workspace.require_job(), workspace))

    def workspace(self, job: str) -> Workspace:
        """Return a job's workspace.

        Raises:
            UnknownJobError: neither Redis nor the index knows the job, or it is none of the caller's
            OutsideAllowedRootsError: the workspace is outside the allowed roots
        """
        progress = self.progress(job)
        if progress:
            self._require(job, progress.source, progress.workspace)
            return open_workspace(progress.workspace, self.storage, self.roots)
        return self._indexed(job)

    def _indexed(self, job: str) -> Workspace:
        found = self.index.find(job)
        if found is None:
            raise _unknown(job)
        if self.bounds is not None:
            self._require(job, found.require_job().source.uri, found.root)
        return found

    def _require(self, job: str, source: str, workspace: str) -> None:
        if not self._may_see(source, workspace):
            raise _unknown(job)

    def _may_see(self, source: str, workspace: str) -> bool:
        return self.bounds is None or all(map(self.bounds.contain, (*uris_in(source), workspace)))

    def sees(self, job: str) -> bool:
        """Return whether a job is the caller's."""
        if self.bounds is None:
            return True
        progress = self.progress(job)
        return progress is not None and self._may_see(progress.source, progress.workspace)

    def progress(self, job: str) -> Progress | None:
        """Return the ledger's record of a job; None while Redis is unavailable."""
        return self._or_nothing(lambda: self.ledger.load(job), None)

    def page(self, limit: int, after: str | None, wanted: JobFilter) -> Page:
        """Return up to `limit` of the wanted jobs that were created before the job `after`."""
        listed = self.index.listed()
        known: dict[str, float] | None = self._or_nothing(self.ledger.created, None)
        created = {**{job: entry.created_at for job, entry in listed.items()}, **(known or {})}
        ordered = sorted(created, key=lambda job: (created[job], job), reverse=True)
        if after is not None:
            hidden = self.bounds is not None and not self._listed(after, known, listed)
            if after not in created or hidden:
                raise UnknownJobError(f"there is no job {after} to continue after")
            ordered = ordered[ordered.index(after) + 1 :]
        ordered = [job for job in ordered if wanted.accepts_time(created[job])]
        data: list[JobStatus] = []
        looked_at, last = 0, None
        for job in ordered:
            if len(data) == limit or looked_at == LOOKED_AT:
                return Page(data, last is not None, last)
            status = self._listed(job, known, listed)
            # The jobs of others are passed over without a trace: `last_id` names none of them.
            if status or self.bounds is None:
                looked_at, last = looked_at + 1, job
            if status and wanted.accepts(status):
                data.append(over_http(status))
        return Page(data, False, last)

    def _listed(
        self, job: str, known: Container[str] | None, listed: Mapping[str, Listed]
    ) -> JobStatus | None:
        """Return a job's status for a listing; None if it cannot be read, or is none of the caller's."""
        # Ask Redis only for jobs it has: while it is unavailable, one request per job would take minutes.
        progress = self.progress(job) if known and job in known else None
        if progress:
            return status_of(progress) if self._may_see(progress.source, progress.workspace) else None
        return self._stored(listed.get(job))

    def _stored(self, entry: Listed | None) -> JobStatus | None:
        """Return a status for the list, or None if the job cannot be read, so that the others still show."""
        try:
            workspace = self.index.open(entry) if entry else None
            job = workspace.require_job() if workspace else None
            if job is None or workspace is None or not self._may_see(job.source.uri, workspace.root):
                return None
            return status_from_workspace(job, workspace)
        except TraceOcrError as error:
            structlog.get_logger().warning("job_not_listed", job=entry and entry.job, error=str(error))
            return None

    def _or_nothing(self, look: Callable[[], T], nothing: T) -> T:
        try:
            return look()
        except redis.RedisError as error:
            structlog.get_logger().warning("redis_away", error=str(error))
            return nothing


def _unknown(job: str) -> UnknownJobError:
    return UnknownJobError(f"there is no job {job}")


def over_http(status: JobStatus) -> JobStatus:
    """Return the status with only the actions that the HTTP API offers.

    Only the command removes files, and only the submitting command can resume a plan from standard input.
    """
    missing = {Action.REMOVE}
    if status.planning and status.source == STANDARD_INPUT:
        missing.add(Action.RESUME)
    return replace(status, actions=tuple(action for action in status.actions if action not in missing))
