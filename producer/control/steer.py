"""Steering a job: pause, cancel, retry-errors. A halt is written to the workspace first, so that it holds
even if Redis is empty. Every action is idempotent."""

from collections.abc import Iterator

import msgspec
import redis

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.restore import enter_job
from contract.chunk_set import ChunkSet
from contract.errors import JobStateError, WorkspaceConflictError
from contract.job import Job, Retry
from contract.lines import ErrorLine
from contract.records import Item
from contract.states import ACTIONS, LEADS_TO, RUNNING, Action, State, actions_of
from contract.workspace import Workspace
from producer.planning.plan import chunks_of, write_chunk
from producer.planning.submit import FAILED_PLAN_SECONDS
from producer.results.merge import has_every_round
from producer.results.status import state_of


def check_action(action: Action, job: Job, workspace: Workspace, ledger: Ledger | None) -> State:
    """Return the job's state, if the state allows the action or the action has already led to it.

    Raises:
        JobStateError: the action is not allowed now; the message names the allowed ones
    """
    state = state_of(job, workspace, _known(job, ledger))
    if action in ACTIONS[state] or state in LEADS_TO[action]:
        return state
    raise JobStateError(_refusal(action, job, workspace, state))


def _refusal(action: Action, job: Job, workspace: Workspace, state: State) -> str:
    failed = _failed_count(workspace) if state is State.COMPLETED else 0
    allowed = " or ".join(one.done for one in actions_of(state, failed))
    possible = f"it can be {allowed}, not {action.done}" if allowed else f"it cannot be {action.done}"
    return f"job {job.id} is {state.words}: {possible}"


def _failed_count(workspace: Workspace) -> int:
    summary = workspace.load_summary()
    return int(summary["request_counts"]["failed"]) if summary else 0


def _known(job: Job, ledger: Ledger | None) -> Progress | None:
    """Return the ledger's record, or None while Redis is unavailable, so that the halt is still written. The
    caller's own call to the ledger then raises."""
    try:
        return ledger.load(job.id) if ledger else None
    except redis.RedisError:
        return None


def _is_here(job: Job, workspace: Workspace, ledger: Ledger) -> bool:
    """Return whether the ledger's job lives in this workspace, not in one that this is a copy of."""
    known = ledger.load(job.id)
    return known is None or known.workspace == workspace.root


def pause_job(job: Job, workspace: Workspace, ledger: Ledger | None) -> None:
    """Stop a job once its running chunks end; `resume` continues it.

    Raises:
        JobStateError: as `check_action`
    """
    check_action(Action.PAUSE, job, workspace, ledger)
    workspace.halt(State.PAUSED)
    if ledger and _is_here(job, workspace, ledger):
        ledger.hold(job.id, State.PAUSED)


def cancel_job(job: Job, workspace: Workspace, ledger: Ledger | None) -> None:
    """Cancel a job once its running chunks end; its results stay until `gc`.

    Raises:
        JobStateError: as `check_action`
    """
    state = check_action(Action.CANCEL, job, workspace, ledger)
    workspace.halt(State.CANCELLED)
    if not ledger or not _is_here(job, workspace, ledger):
        return
    if not ledger.hold(job.id, State.CANCELLING) and state is State.FAILED and _known(job, ledger):
        # Only entering an ended job again changes its state.
        enter_job(job, workspace, ledger, FAILED_PLAN_SECONDS)


def add_retry(job: Job, workspace: Workspace, ledger: Ledger | None) -> Job:
    """Return the job with another round of chunks that hold the failed items; the caller submits it again.
    A round that has begun and is not merged yet is continued; no second one is added.

    Raises:
        JobStateError: as `check_action`, or nothing failed, or another call has added a round meanwhile
    """
    state = check_action(Action.RETRY_ERRORS, job, workspace, ledger)
    if state is not State.COMPLETED:
        if job.retries:
            return job
        raise JobStateError(_refusal(Action.RETRY_ERRORS, job, workspace, state))
    if ledger:
        ledger.reserve(job.id, workspace.root)
    if job.retries and not (
        has_every_round(job, workspace) and workspace.part_numbers() >= ChunkSet.below(job.chunks)
    ):
        workspace.store.delete(workspace.success)
        return job
    retry = _write_round(job, workspace)

    def with_round(current: Job) -> Job:
        # Another call may have added the same round.
        added = current.chunks > retry.first_chunk
        # The round may be read after the deadline of the job.
        round_added = {"retries": (*current.retries, retry), "deadline": None}
        return current if added else current.model_copy(update=round_added)

    # Delete the marker last: until then the job is complete, and a repeated call finds the round begun.
    job = workspace.update_job(with_round)
    workspace.store.delete(workspace.success)
    return job


def _write_round(job: Job, workspace: Workspace) -> Retry:
    """Write the chunks of another round; raises JobStateError as `add_retry`."""
    items = 0
    number = job.chunks
    failed = chunks_of(_failed_items(job, workspace), job.chunk_size)
    for number, chunk in enumerate(failed, start=job.chunks):
        try:
            write_chunk(workspace, number, chunk)
        except WorkspaceConflictError as error:
            if workspace.require_job().chunks <= number:
                raise
            # That round was merged meanwhile, so that other items have failed now.
            raise JobStateError(
                f"job {job.id} was retried by another call meanwhile: retry what still fails with a new call"
            ) from error
        items += len(chunk)
    if not items:
        raise JobStateError(f"job {job.id} has no failed items: there is nothing to retry")
    return Retry(first_chunk=job.chunks, chunks=number + 1 - job.chunks, items=items)


def merge_again(job: Job, workspace: Workspace, ledger: Ledger | None) -> Job:
    """Have a complete job merged again, with the corrections since; the caller submits it again.

    Raises:
        JobStateError: it is not complete, and no merge is under way
    """
    state = state_of(job, workspace, _known(job, ledger))
    if state is not State.COMPLETED:
        if state in RUNNING:
            return job
        raise JobStateError(f"job {job.id} is {state.words}: its results are merged once it is complete")
    if ledger:
        ledger.reserve(job.id, workspace.root)
    workspace.store.delete(workspace.success)
    return job


def _failed_items(job: Job, workspace: Workspace) -> Iterator[Item]:
    """Yield the planned items that `errors.jsonl` names; both are in source order, so one pass suffices."""
    assert job.plan is not None
    with workspace.store.reader(workspace.errors) as stream:
        wanted = (msgspec.json.decode(line, type=ErrorLine).id for line in stream)
        identity = next(wanted, None)
        for chunk in range(job.plan.chunks):
            for item in workspace.items(chunk):
                if identity is None:
                    return
                if item.id == identity:
                    yield item
                    identity = next(wanted, None)
