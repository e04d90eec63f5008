"""Every job that Redis knows, in memory: thousands of jobs are filtered without asking Redis for each."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.job_status import JobStatus
from producer.control.line import judged
from producer.control.surroundings import Surroundings
from producer.results.status import status_of

COSTLY_SECONDS = 0.1
"""A look that takes longer is kept: thousands of jobs that have not ended cost some commands each."""

KEPT_TIMES = 4
"""How many times its own duration a costly look is kept: looking takes at most a fifth of the time."""


@dataclass(frozen=True)
class Known:
    """The jobs that Redis knows: their creation times in Unix seconds, oldest first, and their statuses.

    The statuses of ended jobs lack rates, stages and errors. `lost` counts the jobs that Redis has forgotten
    since this process looked first.
    """

    created: Mapping[str, float] = field(default_factory=dict)
    statuses: Mapping[str, JobStatus] = field(default_factory=dict)
    lost: int = 0


class JobTable:
    """Keeps what does not change, and reads again only jobs that have not ended; thread-safe.

    Args:
        clock: seconds that never go back
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock = ledger, clock
        self._lock = threading.Lock()
        self._statuses: dict[str, JobStatus] = {}
        self._running: set[str] = set()
        self._absent: set[str] = set()
        self._lost = 0
        self._last = Known()
        self._kept_until = -1.0

    def known(self) -> Known:
        """Return the jobs as they are now, or were a moment ago if looking takes long.

        Raises:
            RedisError: Redis does not answer
        """
        with self._lock:
            begun = self._clock()
            if begun >= self._kept_until:
                self._last = self._look()
                took = self._clock() - begun
                self._kept_until = begun + took + KEPT_TIMES * took if took > COSTLY_SECONDS else -1.0
            return self._last

    def _look(self) -> Known:
        created, unended = self._ledger.watched()
        self._forget(created)
        running = {job for job in self._running | unended if job in created}
        new = [job for job in created if job not in self._statuses and job not in self._absent]
        self._read([job for job in new if job not in running], whole=False)
        # Jobs of older versions run without being noted as such.
        self._read(running | self._running, whole=True)
        there = {job: at for job, at in created.items() if job in self._statuses}
        return Known(there, dict(self._statuses), self._lost)

    def _forget(self, created: Mapping[str, float]) -> None:
        for job in self._statuses.keys() - created.keys():
            del self._statuses[job]
            self._lost += 1
        self._running &= created.keys()
        self._absent &= created.keys()

    def _read(self, jobs: Iterable[str], *, whole: bool) -> None:
        asked = list(jobs)
        found = self._ledger.load_all(asked, whole=whole)
        for job in asked:
            if job in found:
                self._keep(found[job])
            else:
                # Expired, or damaged: it stays listed until control looks at it.
                self._statuses.pop(job, None)
                self._running.discard(job)
                self._absent.add(job)

    def _keep(self, progress: Progress) -> None:
        status = status_of(progress)
        self._absent.discard(progress.job)
        if status.ended:
            self._running.discard(progress.job)
            status = judged(status, Surroundings(0.0))
        else:
            self._running.add(progress.job)
        self._statuses[progress.job] = status
