"""Stage 9: what a person sees of a job, from the ledger, or from the workspace when Redis knows nothing."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import msgspec

from contract.broker.ledger import Ledger
from contract.broker.progress import ENDED_STATUSES, Mark, Progress, Running
from contract.errors import UnknownJobError
from contract.job import Job
from contract.records import FailedItem, PartOutcome, part_outcome
from contract.storage import Storage
from contract.workspace import Workspace, intact, open_workspace
from producer.results.index import JobIndex

SHOWN_ERRORS = 20
"""Failed items that a status shows; as many as the ledger keeps."""

TIMESTAMPS = frozenset(
    f"{status}_at"
    for status in ("in_progress", "finalizing", "completed", "failed", "paused", "cancelling", "cancelled")
)
"""When a job entered each status, as the ledger names it and the status shows it."""


@dataclass(frozen=True)
class RequestCounts:
    """Items of a job; `total` counts what is planned so far until the plan has ended."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True)
class ChunkCounts:
    """Chunks of a job; `total` likewise."""

    total: int
    done: int


@dataclass(frozen=True)
class WorkerRate:
    """What one worker has done for a job lately."""

    name: str
    items_per_second: float


@dataclass(frozen=True)
class JobStatus:
    """One job after the OpenAI Batch object; times in Unix seconds, `eta_seconds` None while unknown.

    `rate` holds the newest chunks as (time, items, worker), oldest first; `recent_errors` is a first look.
    """

    id: str
    status: str
    kind: str
    source: str
    workspace: str
    request_counts: RequestCounts
    chunks: ChunkCounts
    planning: bool
    created_at: float
    updated_at: float
    items_per_second: float | None
    eta_seconds: float | None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    paused_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    running: tuple[Running, ...] = ()
    workers: tuple[WorkerRate, ...] = ()
    rate: tuple[Mark, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)
    recent_errors: tuple[FailedItem, ...] = ()
    error: str = ""
    object: Literal["job"] = "job"

    @property
    def items_read(self) -> int:
        """Items with a line, plus those of running chunks that the model has read."""
        ended = self.request_counts.completed + self.request_counts.failed
        return ended + sum(run.items for run in self.running)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self.status in ENDED_STATUSES


def status_of(progress: Progress) -> JobStatus:
    """Return a job's status from the ledger."""
    total = progress.items_total if progress.items_total is not None else progress.items_planned
    left = total - progress.completed - progress.failed
    rate = progress.items_per_second if progress.status not in ENDED_STATUSES else None
    status = JobStatus(
        id=progress.job,
        status=progress.status,
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
        workers=_worker_rates(progress, time.time()),
        rate=progress.marks,
        stage_seconds=progress.stage_seconds,
        recent_errors=progress.recent_errors,
        error=progress.error,
    )
    times: dict[str, Any] = {name: at for name, at in progress.timestamps.items() if name in TIMESTAMPS}
    return replace(status, **times)


def _worker_rates(progress: Progress, now: float) -> tuple[WorkerRate, ...]:
    """Items per second of each worker, over the same marks as the job's own rate."""
    if len(progress.marks) < 2 or progress.status in ENDED_STATUSES:
        return ()
    items: Counter[str] = Counter()
    for mark in progress.marks[1:]:
        items[mark.worker] += mark.items
    elapsed = max(now - progress.marks[0].at, 0.001)
    return tuple(WorkerRate(name, count / elapsed) for name, count in sorted(items.items()) if name)


def status_from_workspace(job: Job, workspace: Workspace) -> JobStatus:
    """Return a job's status from its files alone; counts before the merge are read from the parts."""
    summary, halt = workspace.load_summary(), workspace.load_halt()
    ended = summary is not None and workspace.store.exists(workspace.success)
    outcomes = {} if ended else workspace.outcomes(workspace.part_numbers())
    completed, failed = _counts(job, outcomes)
    if ended and summary:
        completed, failed = summary["request_counts"]["completed"], summary["request_counts"]["failed"]
    chunks = job.chunks or len(workspace.chunk_numbers())
    status = "completed" if ended else halt.status if halt else "in_progress" if job.plan else "validating"
    return JobStatus(
        id=job.id,
        status=status,
        kind=job.kind,
        source=job.source.uri,
        workspace=workspace.root,
        request_counts=RequestCounts(
            job.plan.items if job.plan else chunks * job.chunk_size, completed, failed
        ),
        chunks=ChunkCounts(chunks, chunks if ended else len(outcomes)),
        planning=job.plan is None,
        created_at=job.created_at,
        updated_at=summary["completed_at"] if ended and summary else time.time(),
        items_per_second=None,
        eta_seconds=None,
        completed_at=summary["completed_at"] if ended and summary else None,
        stage_seconds=summary["stage_seconds"] if summary else {},
        recent_errors=_merged_errors(workspace) if ended else _newest_errors(outcomes),
        error=halt.message if halt else "",
    )


def _counts(job: Job, outcomes: dict[int, PartOutcome]) -> tuple[int, int]:
    completed = sum(outcome.completed for outcome in outcomes.values())
    # What a retry reads was counted as failed by an earlier chunk; what it fails to read, stays so.
    failed = sum(
        -outcome.completed if job.is_retry(chunk) else outcome.failed for chunk, outcome in outcomes.items()
    )
    return completed, failed


def _newest_errors(outcomes: dict[int, PartOutcome]) -> tuple[FailedItem, ...]:
    errors = [error for _, outcome in sorted(outcomes.items()) for error in outcome.first_errors]
    return tuple(reversed(errors))[:SHOWN_ERRORS]


def _merged_errors(workspace: Workspace) -> tuple[FailedItem, ...]:
    with workspace.store.reader(workspace.errors) as stream, intact(workspace.errors):
        return part_outcome(islice(stream, SHOWN_ERRORS), SHOWN_ERRORS).first_errors


def find_workspace(
    name: str, ledger: Ledger | None, storage: Storage, index: JobIndex | None = None
) -> Workspace:
    """Return the workspace that JOB or WORKSPACE names; an id that Redis does not know is asked of the index.

    Raises:
        UnknownJobError: no workspace is there and no job goes by that id
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
    """Return the status of the job that JOB or WORKSPACE names; the ledger's, if it knows the job.

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
