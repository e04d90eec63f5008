"""Register a job in the ledger from its workspace: at submission, and after Redis has lost it."""

from collections.abc import Set
from itertools import islice

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.states import State
from contract.workspace import Workspace

COUNTED = 1_024
"""Parts counted before they are marked: a job that Redis has lost shows how far its restoring is."""


def enter_job(job: Job, workspace: Workspace, ledger: Ledger, retention_seconds: float) -> None:
    """Register the job as its workspace describes it; a halted job stays halted.

    The parts of a job that runs or is paused are marked by control, which looks at it repeatedly.

    Raises:
        WorkspaceConflictError: a job with this id lives in another workspace
    """
    ledger.open(
        job.id,
        workspace.root,
        job.kind,
        job.source.uri,
        job.created_at,
        job.tags,
        job.metadata,
        job.order(),
    )
    if job.plan:
        ledger.plan_done(job.id, job.chunks, job.plan.items)
    halt = workspace.load_halt()
    if halt and halt.status is State.PAUSED:
        ledger.hold(job.id, State.PAUSED)
    elif halt:
        mark_parts(job, workspace, ledger, workspace.part_numbers())
        ledger.finish(job.id, halt.status, retention_seconds, halt.message)


def mark_parts(job: Job, workspace: Workspace, ledger: Ledger, parts: Set[int]) -> None:
    """Mark the chunks of these parts that the ledger does not have as done."""
    unmarked = iter(parts - ledger.done(job.id)) if parts else iter(())
    while some := list(islice(unmarked, COUNTED)):
        for chunk, outcome in workspace.outcomes(some).items():
            ledger.mark(job.id, chunk, outcome, again=job.is_retry(chunk))
