"""Step 9: a job's status, from the ledger, or from the workspace if Redis does not know the job."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from itertools import islice
from typing import Any

import msgspec

from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.progress import Progress
from contract.errors import UnknownJobError
from contract.job import Job
from contract.job_status import TIMESTAMPS, ChunkCounts, FailedItem, JobStatus, RequestCounts, WorkerRate
from contract.records import PartOutcome, part_outcome
from contract.states import ENDED, RUNNING, State, actions_of
from contract.storage import Storage
from contract.workspace import Halt, Workspace, intact, open_workspace
from producer.results.index import JobIndex
from producer.results.projection import with_projection

SHOWN_ERRORS = 20
"""Failed items in a status; as many as the ledger keeps."""

NO_WORKER = "a worker: none is alive"
"""What a job waits for if no worker reports."""


def status_of(progress: Progress, live: Collection[str] | None = None) -> JobStatus:
    """Return a job's status from the ledger.

    Args:
        live: names of the workers that are alive; None if unknown
    """
    now = time.time()
    total = progress.items_total if progress.items_total is not None else progress.items_planned
    left = total - progress.completed - progress.failed
    rate = progress.items_per_second if progress.status not in ENDED else None
    times: dict[str, Any] = {name: at for name, at in progress.timestamps.items() if name in TIMESTAMPS}
    status = JobStatus(
        id=progress.job,
        status=progress.status,
        actions=actions_of(progress.status, progress.failed),
        kind=progress.kind,
        source=progress.source,
        workspace=progress.workspace,
        request_counts=RequestCounts(total, progress.completed, progress.failed),
        chunks=ChunkCounts(progress.chunks_total or progress.chunks_planned, progress.chunks_done),
        planning=progress.items_total is None,
        created_at=progress.created_at,
        updated_at=progress.updated_at,
        items_per_second=rate,
        eta_seconds=left / rate if rate and progress.items_total is not None else None,
        running=progress.running,
        workers=_worker_rates(progress, now),
        rate=progress.marks,
        stage_seconds=progress.stage_seconds,
        recent_errors=progress.recent_errors,
        error=progress.error,
        error_codes=progress.error_codes,
        **_as_submitted(progress),
        **times,
    )
    return with_projection(status, live, now)


def with_wait(status: JobStatus, reports: list[ProcessReport], no_worker: str = NO_WORKER) -> JobStatus:
    """Return the status with what the job waits for before its first item is read.

    Args:
        reports: the reports of live workers
        no_worker: the text if there are none
    """
    if not waits(status):
        return status
    readers = {run.worker for run in status.running}
    activities = [one.activity for one in reports if one.activity and (not readers or one.name in readers)]
    if activities:
        return replace(status, waiting_for=f"a worker, which is {activities[0]}")
    return status if reports or readers else replace(status, waiting_for=no_worker)


def waits(status: JobStatus) -> bool:
    """Return whether a job is in progress without an item read."""
    return status.status is State.IN_PROGRESS and not status.items_read


def _worker_rates(progress: Progress, now: float) -> tuple[WorkerRate, ...]:
    """Return each worker's items per second, over the same marks as the job's rate."""
    if len(progress.marks) < 2 or progress.status in ENDED:
        return ()
    items: Counter[str] = Counter()
    for mark in progress.marks[1:]:
        items[mark.worker] += mark.items
    elapsed = max(now - progress.marks[0].at, 0.001)
    return tuple(WorkerRate(name, count / elapsed) for name, count in sorted(items.items()) if name)


def status_from_workspace(job: Job, workspace: Workspace) -> JobStatus:
    """Return a job's status from its files only; before the merge, counts are read from the parts."""
    halt, merged = workspace.load_halt(), workspace.is_complete(job.id)
    summary = workspace.load_summary() if workspace.was_merged(job.id) else None
    final = summary if merged else None
    status = _stored_state(job, merged, halt)
    outcomes = {} if merged else workspace.outcomes(workspace.part_numbers())
    held = merged_outcome(final, workspace) if final else _outcome_of_parts(job, outcomes)
    chunks = job.chunks or len(workspace.chunk_numbers())
    total = job.plan.items if job.plan else chunks * job.chunk_size
    found = JobStatus(
        id=job.id,
        status=status,
        actions=actions_of(status, held.failed, known=False),
        kind=job.kind,
        source=job.source.uri,
        workspace=workspace.root,
        request_counts=RequestCounts(total, held.completed, held.failed),
        chunks=ChunkCounts(chunks, chunks if merged else len(outcomes)),
        planning=job.plan is None,
        created_at=job.created_at,
        updated_at=final["completed_at"] if final else time.time(),
        items_per_second=None,
        eta_seconds=None,
        completed_at=final["completed_at"] if final else None,
        failed_at=halt.at if halt and status is State.FAILED else None,
        cancelled_at=halt.at if halt and status is State.CANCELLED else None,
        stage_seconds=summary["stage_seconds"] if summary else {},
        recent_errors=held.first_errors,
        error=halt.message if halt else "",
        error_codes=held.codes,
        **_as_submitted(job),
    )
    return with_projection(found, None, time.time()) if found.ended else found


def _as_submitted(job: Job | Progress) -> dict[str, Any]:
    """Return what the status repeats of the job as it was submitted."""
    names = ("tags", "metadata", "tenant", "priority", "deadline", "at_deadline")
    return {name: getattr(job, name) for name in names}


def state_of(job: Job, workspace: Workspace, progress: Progress | None) -> State:
    """Return a job's state from its files, and from the ledger where the files do not decide it.

    Args:
        progress: the ledger's record of the job, if there is one
    """
    stored = _stored_state(job, workspace.is_complete(job.id), workspace.load_halt())
    known = progress.status if progress and progress.workspace == workspace.root else None
    if stored is State.CANCELLED and known is State.CANCELLING:
        return known
    # Completed without a marker: a round of retries has begun, and the ledger has not recorded it yet.
    if known is None or known is State.COMPLETED or stored not in RUNNING:
        return stored
    return known


def _stored_state(job: Job, completed: bool, halt: Halt | None) -> State:
    if completed:
        return State.COMPLETED
    if halt:
        return halt.status
    return State.IN_PROGRESS if job.plan else State.VALIDATING


def _outcome_of_parts(job: Job, outcomes: dict[int, PartOutcome]) -> PartOutcome:
    """Return what the parts hold together, with the newest errors."""
    codes: Counter[str] = Counter()
    failed = 0
    newest: dict[str, FailedItem] = {}
    for chunk, outcome in sorted(outcomes.items()):
        codes.update(outcome.codes)
        # An earlier chunk counted a retry's items as failed: subtract those that the retry has read.
        failed += -outcome.completed if job.is_retry(chunk) else outcome.failed
        # By item: a retry's error replaces the earlier one.
        newest.update((error.id, error) for error in outcome.first_errors)
    errors = tuple(reversed(newest.values()))[:SHOWN_ERRORS]
    completed = sum(outcome.completed for outcome in outcomes.values())
    return PartOutcome(completed, failed, errors, dict(sorted(codes.items())))


def merged_outcome(summary: dict[str, Any], workspace: Workspace) -> PartOutcome:
    """Return what a merged job holds."""
    counts = summary["request_counts"]
    codes = summary.get("error_codes", {})
    return PartOutcome(counts["completed"], counts["failed"], _merged_errors(workspace), codes)


def _merged_errors(workspace: Workspace) -> tuple[FailedItem, ...]:
    with workspace.store.reader(workspace.errors) as stream, intact(workspace.errors):
        return part_outcome(islice(stream, SHOWN_ERRORS), SHOWN_ERRORS).first_errors


def find_workspace(
    name: str, ledger: Ledger | None, storage: Storage, index: JobIndex | None = None
) -> Workspace:
    """Return the workspace that JOB or WORKSPACE names; look up ids that Redis does not know in the index.

    Raises:
        UnknownJobError: there is no such workspace and no job with that id
    """
    progress = ledger.load(name) if ledger and "/" not in name else None
    workspace = open_workspace(progress.workspace if progress else name, storage)
    if workspace.load_job() is None:
        listed = index.find(name) if index and "/" not in name else None
        if listed:
            return listed
        hint = "" if ledger else " (to name a job by its id, set TRACE_OCR_REDIS_URL)"
        raise UnknownJobError(f"{name} is neither a job that Redis knows nor a workspace{hint}")
    return workspace


def find_status(
    name: str, ledger: Ledger | None, storage: Storage, index: JobIndex | None = None
) -> JobStatus:
    """Return the status of the job that JOB or WORKSPACE names; from the ledger, if it knows the job.

    Raises:
        UnknownJobError: as `find_workspace`
    """
    progress = ledger.load(name) if ledger and "/" not in name else None
    if progress:
        return status_of(progress)
    workspace = find_workspace(name, ledger, storage, index)
    job = workspace.require_job()
    progress = ledger.load(job.id) if ledger else None
    if progress and progress.workspace == workspace.root:
        return status_of(progress)
    return status_from_workspace(job, workspace)


def first_lines(workspace: Workspace, uri: str, count: int) -> list[dict[str, Any]]:
    """Return the first lines of a JSONL file of the workspace, decoded."""
    with workspace.store.reader(uri) as stream:
        return [msgspec.json.decode(line) for line in islice(stream, count)]
