"""Jobs that only storage knows: Redis forgets a job after its retention, and everything if it is lost."""

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from contract.errors import TraceOcrError
from contract.job_status import JobStatus
from producer.control.line import judged
from producer.control.surroundings import Surroundings
from producer.results.index import JobIndex, Listed
from producer.results.status import status_from_workspace

LISTED_SECONDS = 10.0
"""Seconds that a listing of the index is kept while Redis knows the new jobs: a large one takes a second."""

READ_SECONDS = 60.0
"""Seconds that the status of an ended job is kept: reading it takes some requests to storage."""

MAX_KEPT = 10_000
"""Most statuses that are kept, about 30 MB; beyond that, they are read again."""


class StoredJobs:
    """Reads the index and the workspaces, and keeps what seldom changes; thread-safe.

    Args:
        clock: seconds that never go back
    """

    def __init__(self, index: JobIndex, clock: Callable[[], float] = time.monotonic) -> None:
        self._index, self._clock = index, clock
        self._lock = threading.Lock()
        self._listed: Mapping[str, Listed] = {}
        self._listed_until, self._lost = -1.0, 0
        self._read: dict[str, tuple[float, JobStatus]] = {}

    def listed(self, lost: int | None) -> Mapping[str, Listed]:
        """Return the entry of each job in the index.

        Args:
            lost: how many jobs Redis has forgotten, None if it is away: then the index must be new
        """
        with self._lock:
            now = self._clock()
            if lost is None or lost != self._lost or now >= self._listed_until:
                self._listed = self._index.listed()
                self._listed_until, self._lost = now + LISTED_SECONDS, lost or 0
            return self._listed

    def kept(self, entry: Listed) -> JobStatus | None:
        """Return the status of an ended job if it was read lately."""
        until, status = self._read.get(entry.uri, (-1.0, None))
        return status if self._clock() < until else None

    def read(self, entry: Listed) -> JobStatus | None:
        """Return a job's status from its workspace; None if it cannot be read: the others still show."""
        try:
            workspace = self._index.open(entry)
            if workspace is None:
                return None
            status = status_from_workspace(workspace.require_job(), workspace)
        except TraceOcrError as error:
            structlog.get_logger().warning("job_not_listed", job=entry.job, error=str(error))
            return None
        if not status.ended:
            return status
        status = judged(status, Surroundings(0.0))
        with self._lock:
            if len(self._read) >= MAX_KEPT:
                self._read.clear()
            self._read[entry.uri] = self._clock() + READ_SECONDS, status
        return status
