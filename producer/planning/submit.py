"""Step 3: write a job to its workspace and its chunks to the queue. Repeating the call continues the job."""

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from contract.broker.ledger import Ledger
from contract.broker.restore import enter_job
from contract.errors import JobHaltedError, SourceError, WorkspaceConflictError
from contract.job import Job, Plan
from contract.states import State
from contract.tracing import job_span
from contract.workspace import Workspace
from producer.planning.claim import Ids, check_empty, claim, load_claimed
from producer.planning.plan import OnChunk, write_plan
from producer.results.sinks import check_exports
from producer.sources.base import Listing

FAILED_PLAN_SECONDS = 86_400.0
"""Seconds that Redis keeps a job whose source could not be listed: one day, to be seen the next morning."""

HALT_SECONDS = 2.0
"""Seconds between two looks for a halt while a job is planned: cancelling takes effect about as soon."""

T = TypeVar("T")


@dataclass(frozen=True)
class Dispatcher:
    """How chunks reach the queue.

    Args:
        send: publishes the pointer to a chunk; takes the job, the workspace's root and the chunk number
        waiting: returns the chunks of a job that are queued or held by a worker
        control_feeds: returns whether a control process sends the chunks that are ready; if not, the
            submission sends them
    """

    send: Callable[[Job, str, int], None]
    waiting: Callable[[str], set[int]]
    control_feeds: Callable[[], bool] = lambda: False


def settle_job(
    wanted: Job,
    workspace: Workspace,
    ids: Ids | None = None,
    roots: Iterable[str] = (),
    job_id: str | None = None,
) -> Job:
    """Return the workspace's job; store the wanted one if the workspace has none.

    An existing job takes the wanted one's tuning: chunks read from now on use its batch sizes.

    Args:
        ids: the ids that are taken; None if nobody else sees the job's id
        roots: the allowed roots
        job_id: the id that the caller has chosen

    Raises:
        UsageError: exports and parameters are incompatible
        WorkspaceConflictError: the workspace or the id belongs to another job, or the place cannot be used
    """
    check_exports(wanted)
    job = load_claimed(workspace)
    if job is None:
        job = _claimed(wanted, workspace, ids, roots, job_id)
    if job is wanted:
        return job
    _check_same(job, wanted, workspace, job_id)
    if job.plan is None:
        check_empty(workspace)
    if ids:
        ids.reserve(job.id, workspace, chosen=True)
    return workspace.update_job(lambda current: current.tuned_as(wanted))


def _claimed(
    wanted: Job, workspace: Workspace, ids: Ids | None, roots: Iterable[str], job_id: str | None
) -> Job:
    if ids is None:
        return claim(wanted, workspace, roots)
    ids.reserve(wanted.id, workspace, chosen=job_id is not None)
    job = None
    try:
        job = claim(wanted, workspace, roots)
    finally:
        if job is not wanted:
            ids.withdraw(wanted.id, workspace)
    return job


def _check_same(job: Job, wanted: Job, workspace: Workspace, job_id: str | None) -> None:
    if job_id and job.id != job_id:
        raise WorkspaceConflictError(
            f"{workspace.root} is job {job.id}'s: use another workspace for {job_id}"
        )
    ours, theirs = wanted.identity(), job.identity()
    differing = [
        f"{name} is {theirs[name]!r}, not {ours[name]!r}" for name in ours if ours[name] != theirs[name]
    ]
    if differing:
        raise WorkspaceConflictError(
            f"{workspace.root} belongs to job {job.id} with other parameters ({'; '.join(differing)}): "
            f"use another workspace, or the same parameters to continue it{_remedy(job, workspace)}"
        )


def _remedy(job: Job, workspace: Workspace) -> str:
    """Return how to remove a job that has nothing to lose, as after a mistyped source."""
    if job.plan or workspace.chunk_numbers():
        return ""
    root = workspace.root
    return f". None of its items is planned: `trace-ocr cancel {root}` and `trace-ocr gc {root}` remove it"


def request_job(job: Job, workspace: Workspace, ledger: Ledger) -> None:
    """Ask control to plan a job, or to re-send its chunks that have no part; returns immediately.

    Raises:
        WorkspaceConflictError: as `Ledger.open`
    """
    ledger.reserve(job.id, workspace.root)
    if job.plan is None and job.planned_by != "control":
        # From now on control also resumes the plan if it is interrupted.
        job = workspace.update_job(lambda current: current.model_copy(update={"planned_by": "control"}))
    workspace.release()
    enter_job(job, workspace, ledger, FAILED_PLAN_SECONDS)
    ledger.submit(job.id, urgent=job.urgent)


def submit_job(
    job: Job, workspace: Workspace, listing: Listing, ledger: Ledger, dispatcher: Dispatcher
) -> Job:
    """Plan the job if needed, send the chunks that have no part and are not queued; return the planned job.

    Raises:
        JobHaltedError: the job was paused, cancelled or removed meanwhile
        SourceError, WorkspaceConflictError: as `write_plan` and `Ledger.open`
    """
    ledger.reserve(job.id, workspace.root)
    workspace.release()
    enter_job(job, workspace, ledger, FAILED_PLAN_SECONDS)
    with job_span("plan", job):
        return finished(plan_and_send(job, workspace, listing, ledger, dispatcher))


def finished(steps: Generator[None, None, T]) -> T:
    """Take all steps; return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(T, end.value)


def plan_and_send(
    job: Job, workspace: Workspace, listing: Listing, ledger: Ledger, dispatcher: Dispatcher
) -> Generator[None, None, Job]:
    """Do the work of `submit_job` for a job that the ledger knows; yields after each chunk."""
    fed = dispatcher.control_feeds()
    # Read in the order of a chunk's life (planned, queued, done), so that a chunk that another submission is
    # sending shows up in at least one of the three.
    planned, waiting = workspace.chunk_numbers(), dispatcher.waiting(job.id)
    done = workspace.outcomes(workspace.part_numbers())
    check = _halt_check(job, workspace)

    def dispatch(chunk: int, items: int, written: bool) -> None:
        ledger.planned(job.id, chunk + 1, items, sent=not fed)
        if chunk in done:
            ledger.mark(job.id, chunk, done[chunk], again=job.is_retry(chunk))
        if fed:
            ledger.ready(job.id, chunk + 1)
        elif chunk not in done and (written or chunk in planned) and chunk not in waiting:
            # If another submission has written this chunk since this one began, that submission sends it. If
            # it dies first, the reconciler sends the chunk.
            dispatcher.send(job, workspace.root, chunk)

    plan = job.plan
    if plan:
        for chunk in range(job.chunks):
            check()
            dispatch(chunk, min((chunk + 1) * job.chunk_size, plan.items), True)
            yield
    else:
        plan = yield from _plan(job, workspace, listing.checked(check), ledger, dispatch)
        job = workspace.update_job(partial(_with_plan, plan))
    ledger.plan_done(job.id, job.chunks, plan.items)
    return job


def _with_plan(plan: Plan, job: Job) -> Job:
    """Return the current job with its plan; another submission may have added that, and retries, before."""
    return job if job.plan else job.model_copy(update={"plan": plan})


def _plan(
    job: Job, workspace: Workspace, listing: Listing, ledger: Ledger, dispatch: OnChunk
) -> Generator[None, None, Plan]:
    try:
        return (yield from write_plan(job, workspace, listing, dispatch))
    except SourceError as error:
        fail_plan(job, workspace, ledger, str(error))
        raise


def fail_plan(job: Job, workspace: Workspace, ledger: Ledger, reason: str) -> None:
    """Mark a job as failed whose plan cannot be made, unless another submission has planned it since."""
    if workspace.require_job().plan is None:
        workspace.halt(State.FAILED, reason)
        ledger.finish(job.id, State.FAILED, FAILED_PLAN_SECONDS, reason)


def _halt_check(job: Job, workspace: Workspace) -> Callable[[], None]:
    """Return a function that raises JobHaltedError once the job must not be planned any further.

    It asks storage every HALT_SECONDS at most.
    """
    next_look = time.monotonic() + HALT_SECONDS

    def check() -> None:
        nonlocal next_look
        if time.monotonic() < next_look:
            return
        halt = workspace.load_halt()
        if halt or not workspace.store.exists(workspace.job_json):
            what = halt.status.words if halt else "removed"
            raise JobHaltedError(
                f"job {job.id} was {what} while it was planned; resuming it continues its plan"
            )
        next_look = time.monotonic() + HALT_SECONDS

    return check
