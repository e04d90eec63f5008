"""One chunk: from its message to its part and its mark in the ledger. Plain functions, no Celery."""

import time
from collections.abc import Callable, Sequence

import structlog

from contract.broker.ledger import UNKNOWN
from contract.broker.restore import enter_job
from contract.errors import (
    JobError,
    MessageError,
    OutsideAllowedRootsError,
    StorageError,
)
from contract.job import Job, roots_of
from contract.kinds import KINDS
from contract.lines import Line
from contract.records import ChunkMessage, ChunkStatistics, Item
from contract.storage import any_remote
from contract.storage.roots import AllowedRoots
from contract.tracing import job_span
from contract.workspace import Workspace, open_workspace
from worker.images.fetching import ItemFiles
from worker.jobs.context import WorkerContext
from worker.jobs.heartbeat import Heartbeat
from worker.jobs.parts import Written, summarise, write_part
from worker.jobs.reuse import read_or_reused
from worker.kinds import make_pipeline
from worker.pipeline.run import ChunkRun, Pipeline

UNREAD_RUNS = 5
"""Runs of a chunk in a row whose process died before it had read an item, after which the job fails: not the
images are the cause, since none was read, and each further run would end like them."""


def read_chunk(message: ChunkMessage, context: WorkerContext, renew: Callable[[], None]) -> dict[str, object]:
    """Read one chunk, write its part and mark it; return what Flower shows of it.

    A chunk whose part exists is only marked. A chunk of a job that does not run now is skipped: its message
    is disposable, and is re-sent when the job runs.

    Args:
        renew: renews the message's lease

    Raises:
        MessageError: the workspace is outside the allowed roots or of another job, or it has no such chunk
        JobError: the job cannot run
        InterruptedChunkError: the worker is stopping
        StorageUnavailableError: storage cannot be reached; the chunk must be retried
        FileUnavailableError: storage fails on one file only; after STORAGE_ATTEMPTS runs its item fails
    """
    workspace, job = _open(message, context)
    begin = context.ledger.begin(job.id, message.chunk, context.name)
    if begin.status == UNKNOWN:
        enter_job(job, workspace, context.ledger, context.settings.retention_seconds)
        begin = context.ledger.begin(job.id, message.chunk, context.name)
    if begin.attempt < 0:
        return {"skipped": f"job is {begin.status}"}
    if begin.attempt == 0 or workspace.store.exists(workspace.part(message.chunk)):
        return _mark(workspace, job, message.chunk, context)
    if begin.unread >= UNREAD_RUNS:
        raise _never_read(message.chunk, begin.unread)
    log = structlog.get_logger().bind(job=job.id, chunk=message.chunk, worker=context.name)
    log.info("chunk_started", attempt=begin.attempt)
    started = time.perf_counter()
    beat = Heartbeat(
        renew,
        lambda items: context.ledger.progress(job.id, message.chunk, items, context.name),
        context.settings.lease_seconds,
    )
    with job_span("chunk", job, chunk=message.chunk, attempt=begin.attempt), beat as heartbeat:
        read = _read_and_write(workspace, job, message.chunk, begin.attempt, context, heartbeat.advance)
        outcome = _mark(workspace, job, message.chunk, context, read)
    seconds = time.perf_counter() - started
    outcome["per_second"] = round(sum(v for v in outcome.values() if isinstance(v, int)) / seconds, 1)
    log.info("chunk_done", seconds=round(seconds, 2), **outcome)
    return outcome


def _open(message: ChunkMessage, context: WorkerContext) -> tuple[Workspace, Job]:
    try:
        workspace = open_workspace(message.workspace, context.storage, context.roots)
    except StorageError as error:
        raise MessageError(f"the message's workspace is refused: {error}") from error
    try:
        job = workspace.load_job()
    except JobError as error:
        # The job is unknown, so write nothing there; control fails the job if it knows it.
        raise MessageError(str(error)) from error
    if job is None or job.id != message.job:
        owner = f"is {job.id}'s" if job else "is no job's"
        raise MessageError(f"the message is for job {message.job}, but {workspace.root} {owner}")
    if job.plan and message.chunk >= job.chunks:
        raise MessageError(f"job {job.id} has no chunk {message.chunk}")
    return workspace, job


def _never_read(chunk: int, runs: int) -> JobError:
    return JobError(
        f"the worker's process died {runs} times before it had read an item of chunk {chunk}: its log says "
        "with which status. If it was killed (status -9), its machine or container has too little memory for "
        "the job's models: give it more, or use smaller batches"
    )


def _read_and_write(
    workspace: Workspace,
    job: Job,
    chunk: int,
    attempt: int,
    context: WorkerContext,
    on_progress: Callable[[int], None],
) -> Written | None:
    started = time.perf_counter()
    pipeline = make_pipeline(job.kind, job.parameters, context.models)
    items = workspace.items(chunk)
    with (
        _files(job, context, attempt, items) as fetch,
        context.watchdog.watching() as alive,
        context.pace.reading(job.id, job.kind, chunk, _work(job, pipeline)) as advance,
    ):
        # Reading a local file takes less time than handing it to another thread.
        remote = any_remote(item.uri for item in items)
        run = context.make_run(
            pipeline,
            fetch,
            alive,
            roots=fetch.roots,
            attempt=attempt,
            remote=remote,
            on_progress=_each(on_progress, advance),
        )
        lines = read_or_reused(job, items, pipeline, run)
        if job.page_exports:
            lines = _exported(workspace, job, chunk, list(zip(items, lines, strict=True)), run, pipeline)
    statistics = summarise(lines, run.timings, time.perf_counter() - started, pipeline, context.name)
    written = _write(workspace, job, chunk, lines, statistics, context)
    context.metrics.read(job.kind, run.timings, pipeline.batch_size)
    return written


def _exported(
    workspace: Workspace,
    job: Job,
    chunk: int,
    lines: Sequence[tuple[Item, Line]],
    run: ChunkRun,
    pipeline: Pipeline,
) -> list[Line]:
    # docTR's, which recognition need not import.
    from worker.jobs.exports import write_exports

    started = time.perf_counter()
    exported = write_exports(workspace, chunk, job, lines, run, pipeline)
    run.timings.add("export", time.perf_counter() - started)
    return exported


def _write(
    workspace: Workspace,
    job: Job,
    chunk: int,
    lines: Sequence[Line],
    statistics: ChunkStatistics,
    context: WorkerContext,
) -> Written | None:
    started = time.perf_counter()
    written = write_part(workspace, chunk, lines, statistics)
    context.metrics.stages(job.kind, {"write": time.perf_counter() - started})
    if written:
        context.metrics.items(job.kind, statistics.completed, statistics.failed)
        context.metrics.readings(job.kind, lines)
    return written


def _work(job: Job, pipeline: Pipeline) -> str:
    """Return what a chunk's pace depends on besides the device: its kind and models."""
    return " ".join((job.kind, *(model.get("architecture", "") for model in pipeline.models)))


def _each(*observers: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that calls all the given ones."""

    def call(items: int) -> None:
        for observer in observers:
            observer(items)

    return call


def _files(job: Job, context: WorkerContext, attempt: int, items: Sequence[Item]) -> ItemFiles:
    """Return the files of a chunk's items."""
    settings = context.settings
    return ItemFiles(
        context.storage,
        _roots_of(job, context.roots),
        pages=KINDS[job.kind].unit == "page",
        attempt=attempt,
        max_bytes=settings.max_bytes,
        max_document_bytes=settings.max_document_bytes,
        items=items,
    )


def _roots_of(job: Job, allowed: AllowedRoots) -> AllowedRoots:
    """Return the roots of a job's items: for a confined source only its URI, so that no link leads out of it.

    Raises:
        JobError: the source is outside this worker's roots, so every item would fail
    """
    try:
        return roots_of(job, allowed).for_one_chunk()
    except OutsideAllowedRootsError as error:
        raise JobError(f"the source {error}") from error


def _mark(
    workspace: Workspace, job: Job, chunk: int, context: WorkerContext, written: Written | None = None
) -> dict[str, object]:
    """Mark the chunk with the part in storage: that of another run, unless this one has written it."""
    outcome, statistics = written or (workspace.outcome(chunk), workspace.load_statistics(chunk))
    context.ledger.mark(
        job.id,
        chunk,
        outcome,
        again=job.is_retry(chunk),
        worker=statistics.worker if statistics else "",
        seconds=statistics.wall_seconds if statistics else None,
        stage_seconds=statistics.stage_seconds if statistics else None,
    )
    return {"ok": outcome.completed, "failed": outcome.failed}
