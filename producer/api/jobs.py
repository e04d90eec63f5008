"""Jobs of the HTTP API: found by id in Redis or, if Redis does not know the job, in storage."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TypeVar

import redis
import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.reports import Reports
from contract.chunk_map import ChunkMap
from contract.chunk_set import ChunkSet
from contract.errors import OutsideAllowedRootsError, UnknownJobError
from contract.job_filter import JobFilter
from contract.job_status import JobStatus
from contract.source import STANDARD_INPUT, uris_in
from contract.states import Action
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tenants import Tenant
from contract.workspace import Workspace, open_workspace
from producer.api.job_table import JobTable
from producer.api.listing import Listing, Page
from producer.api.stored_jobs import StoredJobs
from producer.api.visibility import Visibility
from producer.control.line import judged, with_words
from producer.control.surroundings import Surroundings, look_around
from producer.results.chunk_map import chunk_map
from producer.results.index import JobIndex
from producer.results.status import status_from_workspace, status_of, with_wait

T = TypeVar("T")


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
    table: JobTable
    stored: StoredJobs
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    bounds: AllowedRoots | None = None
    visibility: Visibility = field(default_factory=Visibility)

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

    def status(self, job: str, zone: tzinfo | None = None) -> JobStatus:
        """Return a job's status; raises UnknownJobError.

        Args:
            zone: of the clock times in words; None for this machine's
        """
        progress = self.progress(job)
        if progress:
            self._require(job, progress.source, progress.workspace)
            around = self.around()
            status = with_words(status_of(progress), around, zone)
            return over_http(with_wait(status, list(around.workers.values())))
        workspace = self._indexed(job)
        status = status_from_workspace(workspace.require_job(), workspace)
        around = self._or_nothing(self.around, Surroundings(time.time()))
        return over_http(with_words(status, around, zone))

    def chunks(self, job: str, run_seconds: float) -> ChunkMap:
        """Return the map of a job's chunks; raises UnknownJobError.

        Args:
            run_seconds: a run that has not reported for so long is over
        """
        progress = self.progress(job)
        if progress is None:
            workspace = self._indexed(job)
            total = status_from_workspace(workspace.require_job(), workspace).chunks.total
            done = ChunkSet.below(total) if workspace.is_complete(job) else workspace.part_numbers()
            return chunk_map(total, done, (), ())
        self._require(job, progress.source, progress.workspace)
        oldest = time.time() - run_seconds
        running = [run for run in progress.running if run.seen_at >= oldest]
        # Before what is done: a chunk that ends in between is done, and has not failed.
        begun = self.ledger.begun(job) - {run.chunk for run in running}
        done = self.ledger.done(job)
        total = progress.chunks_total or progress.chunks_planned
        return chunk_map(total, done, running, [chunk for chunk in begun if chunk not in done])

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

    def page(self, limit: int, after: str | None, wanted: JobFilter, before: str | None = None) -> Page:
        """Return up to `limit` wanted jobs that are older than the job `after`, or newer than `before`.

        Raises:
            UnknownJobError: there is no such job to continue at
        """
        known = self._or_nothing(self.table.known, None)
        around = self._or_nothing(self.around, Surroundings(time.time()))
        listing = Listing(known, self.stored, around, self._presumably_sees, self.bounds is None)
        page = listing.page(limit, after, before, wanted)
        return replace(page, data=self._whole(page.data, around))

    def unended(self) -> list[JobStatus]:
        """Return the jobs that have not ended, and those that failed, of those that Redis knows, judged.

        Raises:
            RedisError: Redis does not answer
        """
        around = self.around()
        statuses = self.table.known().statuses.values()
        return [judged(status, around) for status in statuses if not status.ended or status.failed_at]

    def around(self) -> Surroundings:
        """Return what surrounds the jobs now; raises RedisError."""
        return look_around(self.reports, self.ledger, self.tenants)

    def _whole(self, statuses: list[JobStatus], around: Surroundings) -> list[JobStatus]:
        """Return the statuses with what a listing does not read of each job, and in words."""
        asked = [status.id for status in statuses]
        nothing: dict[str, Progress] = {}
        fresh = self._or_nothing(lambda: self.ledger.load_all(asked), nothing)
        whole = [status_of(fresh[one.id]) if one.id in fresh else one for one in statuses]
        # Again: its id may be another job's by now, and a link may lead elsewhere.
        seen = [status for status in whole if self._sees_status(status)]
        return [over_http(with_words(status, around)) for status in seen]

    def _presumably_sees(self, status: JobStatus) -> bool:
        roots = () if self.bounds is None else self.bounds.canonical
        return self.visibility.presumed(roots, self._sees_status, status)

    def _sees_status(self, status: JobStatus) -> bool:
        return self._may_see(status.source, status.workspace)

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
