"""The reconciler: compares plan, parts, ledger and queue; corrects the ledger, re-sends what has no part.

Celery on Redis can lose a message (docs/decisions/0002); the reconciler makes messages disposable. Most looks
at a job compare the ledger and the queue alone, at a cost that its number of chunks does not change. A full
look also lists the parts (docs/decisions/0024).
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.restore import mark_parts
from contract.chunk_set import ChunkSet
from contract.job import Job
from contract.states import CLAIMABLE, State
from contract.workspace import Workspace
from producer.planning.submit import Dispatcher

IN_FLIGHT = 16_384
"""Chunks that were sent and are not done, at most, for a look without a listing; more than the feeder sends.
Only a submission that sends its chunks itself, since no control process was there, has more."""

FULL_LOOKS = 6
"""Looks between two full ones of a small job: a minute, by default."""

CHUNKS_PER_LOOK = 1_000
"""Chunks of a large job for each look between two full ones: S3 lists so many names per request, so that full
looks cost a request per look at most."""

QUIET_LOOKS = 6
"""Looks in a row without a sign of life of the job, until a full one looks for parts that nobody marks: those
of a worker that died, if no other worker is there to take its message."""


@dataclass
class _Watch:
    """What is known of a job from the looks before."""

    count_id: str = ""
    suspects: Set[int] = frozenset()
    looks: int = 0
    """Looks since the last full one."""
    life: tuple[object, ...] = field(default_factory=tuple)
    quiet: int = 0

    def sees(self, progress: Progress) -> None:
        """Count a look that begins with this record."""
        life = progress.updated_at, progress.chunks_done, progress.chunks_sent, progress.status
        self.quiet = self.quiet + 1 if life == self.life else 0
        self.life = life
        self.looks += 1

    def is_due(self, job: Job, progress: Progress) -> bool:
        """Return whether the look is to be a full one."""
        chunks = job.chunks or progress.chunks_planned
        return (
            self.count_id != progress.count_id
            or self.looks >= max(FULL_LOOKS, chunks // CHUNKS_PER_LOOK)
            or self.quiet == QUIET_LOOKS
        )


class Reconciler:
    """Checks one job at a time; remembers which chunks the previous check found missing.

    A chunk is re-sent when two consecutive checks find it in no queue and with no worker, and it has no part.
    One check is not enough: between a worker taking a message and kombu recording it as unacked, it is in
    neither place.
    """

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._watches: dict[str, _Watch] = {}

    def reconcile(
        self, job: Job, workspace: Workspace, progress: Progress, *, full: bool = False
    ) -> list[int]:
        """Bring one job's ledger and queue in line with its storage; return the re-sent chunks.

        Args:
            progress: the ledger's record, loaded before the job
            full: compare with storage in any case
        """
        watch = self._watch(job, progress)
        full = full or watch is None or watch.is_due(job, progress) or self._contradicts(job, progress, watch)
        return self._look_fully(job, workspace, progress) if full else self._look(job, workspace, progress)

    def mark(self, job: Job, workspace: Workspace, progress: Progress) -> None:
        """Mark the parts of a job whose chunks are not to be sent."""
        watch = self._watch(job, progress)
        if watch is None or watch.is_due(job, progress):
            mark_parts(job, workspace, self._ledger, workspace.part_numbers())
            self._has_looked_fully(job, progress, ())

    def forget(self, job: str) -> None:
        """Drop the state of an ended job."""
        self._watches.pop(job, None)

    def _watch(self, job: Job, progress: Progress) -> _Watch | None:
        watch = self._watches.get(job.id)
        if watch:
            watch.sees(progress)
        return watch

    def _contradicts(self, job: Job, progress: Progress, watch: _Watch) -> bool:
        """Return whether the ledger's record must be compared with storage: before the job is merged, and if
        its counts contradict each other."""
        if progress.status is State.FINALIZING or len(watch.suspects) > IN_FLIGHT:
            return True
        if job.plan is None:
            return False
        if progress.chunks_total != job.chunks:
            return True
        all_sent = progress.chunks_sent >= job.chunks
        return all_sent and not self._ledger.in_flight(job.id, 1) and self._is_claimable(job)

    def _look(self, job: Job, workspace: Workspace, progress: Progress) -> list[int]:
        """Compare the ledger and the queue; ask storage for the parts of suspects only."""
        self._ledger.ready(job.id, job.chunks)
        watch = self._watches[job.id]
        in_flight = self._ledger.in_flight(job.id, IN_FLIGHT + 1)
        if len(in_flight) > IN_FLIGHT:
            return []
        # Chunks that were sent since the record was loaded are not in the queue yet.
        missing = {chunk for chunk in in_flight if chunk < progress.chunks_sent}
        if missing:
            missing -= self._dispatcher.waiting(job.id)
        again = missing & watch.suspects
        there = workspace.with_part(again) if again else set()
        mark_parts(job, workspace, self._ledger, there)
        watch.suspects = missing - again
        return self._send(job, workspace, again - there)

    def _look_fully(self, job: Job, workspace: Workspace, progress: Progress) -> list[int]:
        """Compare all parts with the ledger and the queue."""
        planned = ChunkSet.below(job.chunks) if job.plan else workspace.chunk_numbers()
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
        self._ledger.ready(job.id, planned.first_missing())
        # Chunks from there on wait for their turn: they are not lost.
        missing = unread & ChunkSet.below(progress.chunks_sent)
        if missing:
            missing -= self._dispatcher.waiting(job.id)
        again = missing & self._suspects(job)
        self._has_looked_fully(job, progress, missing - again)
        return self._send(job, workspace, again)

    def _suspects(self, job: Job) -> Set[int]:
        watch = self._watches.get(job.id)
        return watch.suspects if watch else frozenset()

    def _has_looked_fully(self, job: Job, progress: Progress, suspects: Iterable[int]) -> None:
        watch = self._watches.setdefault(job.id, _Watch())
        watch.count_id, watch.looks, watch.suspects = progress.count_id, 0, ChunkSet.of(suspects)

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

    def _send(self, job: Job, workspace: Workspace, chunks: Iterable[int]) -> list[int]:
        again = sorted(chunks)
        for chunk in again:
            self._dispatcher.send(job, workspace.root, chunk)
        if again:
            structlog.get_logger().warning("chunks_sent_again", job=job.id, chunks=len(again), first=again[0])
        return again
