"""Stage 3: a job into its workspace and its chunks into the queue; continuing is the same call again."""

from collections.abc import Callable
from dataclasses import dataclass

from contract.broker.ledger import Ledger
from contract.broker.restore import enter_job
from contract.errors import SourceError, WorkspaceConflictError
from contract.job import Job, Plan
from contract.states import State
from contract.workspace import Workspace
from producer.planning.plan import OnChunk, write_plan
from producer.results.sinks import check_exports
from producer.sources.base import Listing

FAILED_PLAN_SECONDS = 86_400.0
"""Seconds that Redis remembers a job whose source could not be listed: a day, for the morning's look."""


@dataclass(frozen=True)
class Dispatcher:
    """How chunks reach the queue.

    Args:
        send: publishes the pointer to a chunk; its arguments are the job, the workspace's root, the chunk
        waiting: returns the chunks of a job that are in the queue or in a worker's hands
    """

    send: Callable[[Job, str, int], None]
    waiting: Callable[[str], set[int]]


def settle_job(wanted: Job, workspace: Workspace) -> Job:
    """Return the job that lives in the workspace: the wanted one if there was none.

    A job that is there takes the wanted one's tuning: chunks from now on are read in batches of its size.

    Raises:
        UsageError: exports and parameters do not go together
        WorkspaceConflictError: another job lives there
    """
    check_exports(wanted)
    if workspace.store.create(workspace.job_json, wanted.to_json()):
        return wanted
    job = workspace.require_job()
    ours, theirs = wanted.identity(), job.identity()
    differing = [
        f"{name} is {theirs[name]!r}, not {ours[name]!r}" for name in ours if ours[name] != theirs[name]
    ]
    if differing:
        raise WorkspaceConflictError(
            f"{workspace.root} belongs to job {job.id} with other parameters ({'; '.join(differing)}): "
            "use another workspace, or the same parameters to continue it"
        )
    if job.parameters != wanted.parameters:
        job = job.tuned_as(wanted)
        workspace.save_job(job)
    return job


def request_job(job: Job, workspace: Workspace, ledger: Ledger) -> None:
    """Ask control to plan a job, or to send anew what of it has no part; returns at once.

    Raises:
        WorkspaceConflictError: as `Ledger.open`
    """
    workspace.release()
    enter_job(job, workspace, ledger, FAILED_PLAN_SECONDS)
    ledger.submit(job.id)


def submit_job(
    job: Job, workspace: Workspace, listing: Listing, ledger: Ledger, dispatcher: Dispatcher
) -> Job:
    """Plan what is not planned, send what has no part and is not in the queue; return the planned job.

    Raises:
        SourceError, WorkspaceConflictError: as `write_plan` and `Ledger.open`
    """
    workspace.release()
    enter_job(job, workspace, ledger, FAILED_PLAN_SECONDS)
    # In the order of a chunk's life, so that one that another submission is sending is seen somewhere.
    planned, waiting = workspace.chunk_numbers(), dispatcher.waiting(job.id)
    done = workspace.outcomes(workspace.part_numbers())

    def dispatch(chunk: int, items: int, written: bool) -> None:
        ledger.planned(job.id, chunk + 1, items)
        if chunk in done:
            ledger.mark(job.id, chunk, done[chunk], again=job.is_retry(chunk))
        elif (written or chunk in planned) and chunk not in waiting:
            # A chunk that another submission has written since this one began is that one's to send; should
            # it die in between, the reconciler sends it.
            dispatcher.send(job, workspace.root, chunk)

    plan = job.plan
    if plan:
        for chunk in range(job.chunks):
            dispatch(chunk, min((chunk + 1) * job.chunk_size, plan.items), True)
    else:
        plan = _plan(job, workspace, listing, ledger, dispatch)
        job = job.model_copy(update={"plan": plan})
        workspace.save_job(job)
    ledger.plan_done(job.id, job.chunks, plan.items)
    return job


def _plan(job: Job, workspace: Workspace, listing: Listing, ledger: Ledger, dispatch: OnChunk) -> Plan:
    try:
        return write_plan(job, workspace, listing, dispatch)
    except SourceError as error:
        workspace.halt(State.FAILED, str(error))
        ledger.finish(job.id, State.FAILED, FAILED_PLAN_SECONDS, str(error))
        raise
