"""Why this process's newest runs of chunks ended without a part, by job: its report tells it."""

import threading

from contract.broker.process_report import MAX_NAME, MAX_TROUBLES, Trouble
from contract.redaction import redacted


class Troubles:
    """The jobs whose newest run of a chunk wrote no part, the newest ones last. Used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_job: dict[str, Trouble] = {}

    def add(self, job: str, error: Exception) -> None:
        """Note a run that ended without a part."""
        with self._lock:
            before = self._by_job.pop(job, None)
            runs = before.runs + 1 if before else 1
            self._by_job[job] = Trouble(job, redacted(str(error))[:MAX_NAME], runs)
            if len(self._by_job) > MAX_TROUBLES:
                del self._by_job[next(iter(self._by_job))]

    def clear(self, job: str) -> None:
        """Note a run that wrote its part."""
        with self._lock:
            self._by_job.pop(job, None)

    def current(self) -> tuple[Trouble, ...]:
        """Return what a report names."""
        with self._lock:
            return tuple(self._by_job.values())
