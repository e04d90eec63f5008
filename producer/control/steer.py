"""Steering a job: pause, cancel, retry-errors, gc. What stops a job is written in its workspace first, so
that it holds with Redis empty; each may be said twice."""

from collections.abc import Iterator

import msgspec

from contract.broker.ledger import Ledger
from contract.errors import JobStateError
from contract.job import Job, Retry
from contract.lines import ErrorLine
from contract.records import Item
from contract.workspace import FOLDERS, Workspace
from producer.planning.plan import chunks_of, write_chunk
from producer.results.sinks.documents import remove_exports


def pause_job(job: Job, workspace: Workspace, ledger: Ledger | None) -> None:
    """Stop a job after the chunks that are running; `resume` continues it.

    Raises:
        JobStateError: the job has ended
    """
    check_not_completed(job, workspace)
    halt = workspace.load_halt()
    if halt and halt.status != "paused":
        raise JobStateError(f"job {job.id} is {halt.status}: submit it again to continue it")
    workspace.halt("paused")
    if ledger:
        ledger.hold(job.id, "paused")


def cancel_job(job: Job, workspace: Workspace, ledger: Ledger | None) -> None:
    """Stop a job for good, after the chunks that are running; what is read stays until `gc`.

    Raises:
        JobStateError: the job is complete
    """
    check_not_completed(job, workspace)
    workspace.halt("cancelled")
    if ledger:
        ledger.hold(job.id, "cancelling")


def add_retry(job: Job, workspace: Workspace) -> Job:
    """Return the job with a further round of chunks that hold the items that failed; it is then to be
    submitted again. A round that was begun and has not been merged is continued, not doubled.

    Raises:
        JobStateError: the job is not complete, or nothing failed
    """
    if not workspace.store.exists(workspace.success):
        if job.retries:
            return job
        raise JobStateError(f"job {job.id} is not complete: its failed items can be read again once it is")
    if job.retries and workspace.part_numbers() < set(range(job.chunks)):
        workspace.store.delete(workspace.success)
        return job
    items = 0
    number = job.chunks
    for number, chunk in enumerate(
        chunks_of(_failed_items(job, workspace), job.chunk_size), start=job.chunks
    ):
        write_chunk(workspace, number, chunk)
        items += len(chunk)
    if not items:
        raise JobStateError(f"job {job.id} has no failed items")
    retry = Retry(first_chunk=job.chunks, chunks=number + 1 - job.chunks, items=items)
    job = job.model_copy(update={"retries": (*job.retries, retry)})
    # The marker goes last: until then the job is complete, and saying it again finds the round begun.
    workspace.save_job(job)
    workspace.store.delete(workspace.success)
    return job


def remove_job(job: Job, workspace: Workspace) -> int:
    """Remove everything that a cancelled job wrote; return the number of objects.

    Raises:
        JobStateError: the job is not cancelled
    """
    halt = workspace.load_halt()
    # An earlier removal that was cut off has taken the halt, and all chunks before it.
    cut_off = halt is None and job.plan is not None and not workspace.chunk_numbers()
    if not cut_off and (halt is None or halt.status != "cancelled"):
        raise JobStateError(f"job {job.id} is not cancelled: `trace-ocr cancel` it first")
    store, removed = workspace.store, remove_exports(job, workspace)
    for folder in FOLDERS:
        for name in store.names(workspace.path(folder)):
            store.delete(workspace.path(folder, name))
            removed += 1
    removed += workspace.sweep()
    # job.json goes last, so that a removal that is cut off can be said again.
    for uri in (
        workspace.results,
        workspace.errors,
        workspace.summary,
        workspace.halt_json,
        workspace.job_json,
    ):
        removed += store.exists(uri)
        store.delete(uri)
    return removed


def _failed_items(job: Job, workspace: Workspace) -> Iterator[Item]:
    """Yield the planned items that `errors.jsonl` names; both are in source order, so one pass does."""
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


def check_not_completed(job: Job, workspace: Workspace) -> None:
    """Raise JobStateError if the job is complete."""
    if workspace.store.exists(workspace.success):
        raise JobStateError(f"job {job.id} is complete")
