"""Register a job in the ledger from its workspace: at submission, and after Redis has lost it."""

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.states import State
from contract.workspace import Workspace


def enter_job(job: Job, workspace: Workspace, ledger: Ledger, retention_seconds: float) -> None:
    """Register the job as its workspace describes it; a halted job stays halted.

    Raises:
        WorkspaceConflictError: a job with this id lives in another workspace
    """
    ledger.open(job.id, workspace.root, job.kind, job.source.uri, job.created_at)
    if job.plan:
        ledger.plan_done(job.id, job.chunks, job.plan.items)
    halt = workspace.load_halt()
    if halt and halt.status is State.PAUSED:
        ledger.hold(job.id, State.PAUSED)
    elif halt:
        ledger.finish(job.id, halt.status, retention_seconds, halt.message)
