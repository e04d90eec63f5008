"""The reconciler: compares plan, parts and queue, and re-sends chunks that have no part.

Celery on Redis can lose a message (docs/decisions/0002); the reconciler makes messages disposable.
"""

import structlog

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.workspace import Workspace
from producer.planning.submit import Dispatcher


class Reconciler:
    """Checks one job at a time; remembers which chunks the previous check found missing.

    A chunk is re-sent when two consecutive checks find neither part nor message: between a worker taking a
    message and kombu recording it as unacked, a message is briefly in neither place.
    """

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._suspects: dict[str, set[int]] = {}

    def reconcile(self, job: Job, workspace: Workspace) -> list[int]:
        """Bring one job's ledger and queue in line with its storage; return the re-sent chunks."""
        planned = set(range(job.chunks)) if job.plan else workspace.chunk_numbers()
        parts = workspace.part_numbers() & planned
        self._mark(job, workspace, parts)
        if job.plan:
            self._ledger.plan_done(job.id, job.chunks, job.plan.items)
        missing = planned - parts
        if missing:
            missing -= self._dispatcher.waiting(job.id)
        again = sorted(missing & self._suspects.get(job.id, set()))
        self._suspects[job.id] = missing.difference(again)
        for chunk in again:
            self._dispatcher.send(job, workspace.root, chunk)
        if again:
            structlog.get_logger().warning("chunks_sent_again", job=job.id, chunks=len(again), first=again[0])
        return again

    def forget(self, job: str) -> None:
        """Drop the state of an ended job."""
        self._suspects.pop(job, None)

    def _mark(self, job: Job, workspace: Workspace, parts: set[int]) -> None:
        unmarked = parts - self._ledger.done_among(job.id, parts)
        for chunk, outcome in workspace.outcomes(unmarked).items():
            self._ledger.mark(job.id, chunk, outcome, again=job.is_retry(chunk))
