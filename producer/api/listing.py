"""Listings of jobs: filtered, newest first, page by page."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from contract.errors import UnknownJobError
from contract.job_filter import Group, JobFilter, groups_of
from contract.job_status import JobStatus
from producer.api.job_table import Known
from producer.api.stored_jobs import StoredJobs
from producer.control.line import judged
from producer.control.surroundings import Surroundings
from producer.results.index import Listed

LOOKED_AT = 500
"""Jobs whose workspaces one listing reads; the next one continues after them."""

NewestFirst = tuple[float, str]
"""What jobs are ordered by: their creation in Unix seconds, and their id."""


@dataclass(frozen=True)
class Page:
    """Some jobs, newest first; if `has_more`, the next listing continues after `last_id`.

    `counts` are the jobs in each group that Redis knows and the other conditions let through.
    """

    data: list[JobStatus]
    has_more: bool
    last_id: str | None
    counts: Mapping[Group, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """One look at all jobs.

    Args:
        known: what Redis knows; None while it is away
        visible: whether the caller may see a job, by its status
        all_visible: the caller may see every job
    """

    known: Known | None
    stored: StoredJobs
    around: Surroundings
    visible: Callable[[JobStatus], bool]
    all_visible: bool

    def page(self, limit: int, after: str | None, before: str | None, wanted: JobFilter) -> Page:
        """Return up to `limit` wanted jobs that are older than the job `after`, or newer than `before`.

        Raises:
            UnknownJobError: there is no such job to continue at
        """
        entries = self.stored.listed(self.known.lost if self.known else None)
        created = {job: entry.created_at for job, entry in entries.items()}
        created |= self.known.created if self.known else {}
        # Both parts are sorted already, or nearly.
        ordered = sorted(zip(created.values(), created.keys(), strict=True))
        if before is not None:
            place = bisect_right(ordered, self._place(before, created, entries))
            data, more, _ = self._collect((job for _, job in ordered[place:]), entries, wanted, limit)
            data.reverse()
            last = data[-1].id if data else None
        else:
            place = bisect_left(ordered, self._place(after, created, entries)) if after else len(ordered)
            older = (job for _, job in reversed(ordered[:place]))
            data, more, last = self._collect(older, entries, wanted, limit)
        return Page(data, more, last, self.counts(wanted))

    def counts(self, wanted: JobFilter) -> dict[Group, int]:
        """Return how many jobs that Redis knows are in each group."""
        counts: Counter[Group] = Counter({"attention": 0, "running": 0, "ended": 0})
        for status in self.known.statuses.values() if self.known else ():
            if wanted.accepts_any_group(status) and self._shown(status):
                counts.update(groups_of(self._judged(status)))
        return dict(counts)

    def _place(self, job: str, created: Mapping[str, float], entries: Mapping[str, Listed]) -> NewestFirst:
        status = self._status(job, entries)
        if status is None and job in entries:
            status = self.stored.read(entries[job])
        if job not in created or not (self.all_visible or (status and self.visible(status))):
            raise UnknownJobError(f"there is no job {job} to continue after")
        return created[job], job

    def _status(self, job: str, entries: Mapping[str, Listed]) -> JobStatus | None:
        """Return what is known of a job without reading its workspace."""
        status = self.known.statuses.get(job) if self.known else None
        return self.stored.kept(entries[job]) if status is None and job in entries else status

    def _collect(
        self, jobs: Iterable[str], entries: Mapping[str, Listed], wanted: JobFilter, limit: int
    ) -> tuple[list[JobStatus], bool, str | None]:
        """Return the first wanted jobs, whether there are more, and the job to continue after."""
        data: list[JobStatus] = []
        read, last = 0, None
        for job in jobs:
            status = self._status(job, entries)
            if status is None:
                entry = entries.get(job)
                if entry is None or not wanted.accepts_time(entry.created_at):
                    continue
                if read == LOOKED_AT:
                    return data, True, last
                read += 1
                status = self.stored.read(entry)
            shown = status is not None and self._shown(status)
            # The jobs of others are passed over without a trace: no page continues after one.
            if len(data) < limit and (shown or self.all_visible):
                last = job
            if status is None or not shown or not self._accepts(status, wanted):
                continue
            if len(data) == limit:
                return data, True, last
            data.append(status)
        return data, False, last

    def _accepts(self, status: JobStatus, wanted: JobFilter) -> bool:
        return wanted.accepts_any_group(status) and wanted.accepts(self._judged(status))

    def _judged(self, status: JobStatus) -> JobStatus:
        return status if status.ended else judged(status, self.around)

    def _shown(self, status: JobStatus) -> bool:
        return self.all_visible or self.visible(status)
