"""The lists of jobs that wait for control: those to plan, and those to merge."""

from typing import cast

from contract.broker.queries import LedgerQueries

SUBMITTED, URGENT = "submitted", "submitted:urgent"


class WaitingJobs(LedgerQueries):
    """Adds to the lists and takes from them; `Ledger` says what its arguments are."""

    def next_finished(self, timeout: float) -> str | None:
        """Wait up to `timeout` seconds for a job whose last chunk was marked; return its id, or None."""
        return self._pop(("finished",), timeout)

    def submit(self, job: str, *, urgent: bool = False) -> None:
        """Ask control to plan a job, or to re-send its chunks that have no part."""
        self._redis.rpush(self._prefix + (URGENT if urgent else SUBMITTED), job)

    def next_submitted(self, timeout: float, *, urgent: bool = False) -> str | None:
        """Wait up to `timeout` seconds for a submitted job, urgent ones first; return its id, or None.

        Args:
            urgent: wait for urgent jobs only
        """
        return self._pop((URGENT,) if urgent else (URGENT, SUBMITTED), timeout)

    def _pop(self, names: tuple[str, ...], timeout: float) -> str | None:
        keys = [self._prefix + name for name in names]
        popped = cast("list[str] | None", self._redis.blpop(keys, timeout=timeout))
        return popped[1] if popped else None
