"""Stage 9: what a person sees of a job, from the ledger, or from the workspace when Redis knows nothing."""

import time
from itertools import islice
from typing import Any

import msgspec

from contract.errors import UnknownJobError
from contract.job import Job
from contract.ledger import ENDED_STATUSES, Ledger, Progress, Running
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace


class RequestCounts(msgspec.Struct, frozen=True):
    """Items of a job; `total` counts what is planned so far until the plan has ended."""

    total: int
    completed: int
    failed: int


class ChunkCounts(msgspec.Struct, frozen=True):
    """Chunks of a job; `total` likewise."""

    total: int
    done: int


class JobStatus(msgspec.Struct, frozen=True):
    """One job after the OpenAI Batch object; times in Unix seconds, `eta_seconds` None while unknown."""

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
    running: tuple[Running, ...] = ()
    error: str = ""

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
    return JobStatus(
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
        error=progress.error,
    )


def status_from_workspace(job: Job, workspace: Workspace) -> JobStatus:
    """Return a job's status from its files alone; counts before the merge are read from the parts."""
    summary, halt = workspace.load_summary(), workspace.load_halt()
    ended = summary is not None and workspace.store.exists(workspace.success)
    counts = {} if ended else workspace.counts(workspace.part_numbers())
    completed = sum(ok for ok, _ in counts.values())
    # What a retry reads was counted as failed by an earlier chunk; what it fails to read, stays so.
    failed = sum(-ok if job.is_retry(chunk) else bad for chunk, (ok, bad) in counts.items())
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
        chunks=ChunkCounts(chunks, chunks if ended else len(counts)),
        planning=job.plan is None,
        created_at=job.created_at,
        updated_at=summary["completed_at"] if ended and summary else time.time(),
        items_per_second=None,
        eta_seconds=None,
        error=halt.message if halt else "",
    )


def find_workspace(name: str, ledger: Ledger | None, storage: Storage) -> Workspace:
    """Return the workspace that JOB or WORKSPACE names.

    Raises:
        UnknownJobError: no workspace is there and no job goes by that id
    """
    progress = ledger.load(name) if ledger and "/" not in name else None
    workspace = open_workspace(progress.workspace if progress else name, storage)
    if workspace.load_job() is None:
        hint = "" if ledger else " (to name a job by its id, set TRACE_OCR_REDIS_URL)"
        raise UnknownJobError(f"{name} is neither a job that Redis knows nor a workspace{hint}")
    return workspace


def find_status(name: str, ledger: Ledger | None, storage: Storage) -> JobStatus:
    """Return the status of the job that JOB or WORKSPACE names; the ledger's, if it knows the job.

    Raises:
        UnknownJobError: as `find_workspace`
    """
    progress = ledger.load(name) if ledger and "/" not in name else None
    if progress:
        return status_of(progress)
    workspace = find_workspace(name, ledger, storage)
    job = workspace.require_job()
    progress = ledger.load(job.id) if ledger else None
    if progress and progress.workspace == workspace.root:
        return status_of(progress)
    return status_from_workspace(job, workspace)


def first_lines(workspace: Workspace, uri: str, count: int) -> list[dict[str, Any]]:
    """Return the first lines of a JSONL file of the workspace, decoded."""
    with workspace.store.reader(uri) as stream:
        return [msgspec.json.decode(line) for line in islice(stream, count)]
