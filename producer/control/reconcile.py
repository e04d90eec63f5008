"""The reconciler: compares plan, parts, ledger and queue; corrects the ledger, re-sends what has no part.

Celery on Redis can lose a message (docs/decisions/0002); the reconciler makes messages disposable.
"""

from itertools import count

import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.restore import mark_parts
from contract.job import Job
from contract.states import CLAIMABLE
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

    def reconcile(self, job: Job, workspace: Workspace, progress: Progress) -> list[int]:
        """Bring one job's ledger and queue in line with its storage; return the re-sent chunks.

        Args:
            progress: the ledger's record, loaded before the job
        """
        planned = set(range(job.chunks)) if job.plan else workspace.chunk_numbers()
        parts = workspace.part_numbers() & planned
        if progress.chunks_done > len(parts) or (progress.chunks_total or 0) > job.chunks:
            # Storage only grows, and was read last: what the ledger has and storage has not is wrong.
            self._recount(job, progress, len(parts))
        mark_parts(job, workspace, self._ledger, parts)
        if job.plan:
            self._ledger.plan_done(job.id, job.chunks, job.plan.items)
        unread = planned - parts
        if not unread and job.plan and self._is_claimable(job):
            self._recount(job, progress, len(parts))
        # All that is done is marked, so that control sends none of it again.
        self._ledger.ready(job.id, next(number for number in count() if number not in planned))
        # Chunks from there on wait for their turn: they are not lost.
        missing = {chunk for chunk in unread if chunk < progress.chunks_sent}
        if missing:
            missing -= self._dispatcher.waiting(job.id)
        return self._send_again(job, workspace, missing)

    def mark(self, job: Job, workspace: Workspace) -> None:
        """Mark the parts of a job whose chunks are not to be sent."""
        mark_parts(job, workspace, self._ledger, workspace.part_numbers())

    def forget(self, job: str) -> None:
        """Drop the state of an ended job."""
        self._suspects.pop(job, None)

    def _is_claimable(self, job: Job) -> bool:
        now = self._ledger.load(job.id)
        return now is not None and now.status in CLAIMABLE

    def _recount(self, job: Job, progress: Progress, parts: int) -> None:
        if self._ledger.recount(job.id, progress.submissions):
            structlog.get_logger().warning(
                "ledger_recounted",
                job=job.id,
                chunks_done=progress.chunks_done,
                chunks_total=progress.chunks_total,
                parts=parts,
            )

    def _send_again(self, job: Job, workspace: Workspace, missing: set[int]) -> list[int]:
        again = sorted(missing & self._suspects.get(job.id, set()))
        self._suspects[job.id] = missing.difference(again)
        for chunk in again:
            self._dispatcher.send(job, workspace.root, chunk)
        if again:
            structlog.get_logger().warning("chunks_sent_again", job=job.id, chunks=len(again), first=again[0])
        return again
