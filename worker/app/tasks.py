"""The worker's Celery tasks, and the one place that turns an error into retry, drop or job failure."""

import contextlib
import getpass
import os
import signal
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Reject
from redis import Redis, RedisError

from contract.broker.app import UPLOADS_TASK, task_for
from contract.errors import (
    AccessDeniedError,
    CredentialsError,
    FileUnavailableError,
    InterruptedChunkError,
    JobError,
    MessageError,
    NotAFileError,
    StorageError,
    StorageUnavailableError,
    UnfitWorkerError,
)
from contract.kinds import KINDS
from contract.records import ChunkMessage, M, Nudge, parse_message
from contract.states import State
from contract.storage import is_remote
from contract.workspace import open_workspace
from worker.jobs.chunk import read_chunk
from worker.jobs.context import WorkerContext
from worker.jobs.heartbeat import renew_lease
from worker.jobs.uploads import read_uploads
from worker.monitoring.metrics import UPLOAD

MAX_ATTEMPTS = 5
"""Runs of one chunk that may end in an unexpected error before the job fails. An outage of storage or Redis
does not count: workers wait for it to end, however long it takes."""

NOT_THE_CHUNKS_DOING = (InterruptedChunkError, UnfitWorkerError, StorageUnavailableError, RedisError)
"""Errors after which the run does not count as an attempt."""


def register_tasks(app: Celery, context: WorkerContext, client: Redis) -> None:
    """Register the worker's tasks; they only translate between Celery and `read_chunk` or `read_uploads`."""

    def register(kind: str) -> None:
        @app.task(name=task_for(kind), bind=True, acks_late=True)
        def chunk(self: Task[Any, Any], *args: Any, **payload: Any) -> dict[str, object]:
            tag = str(self.request.properties["delivery_tag"])  # type: ignore[index]
            with context.share.taken("chunk"):
                return run_message(kind, args, payload, context, lambda: renew_lease(client, tag))

    for kind in KINDS:
        register(kind)

    @app.task(name=UPLOADS_TASK, bind=True, acks_late=True)
    def uploads(_: Task[Any, Any], *args: Any, **payload: Any) -> dict[str, object]:
        with context.share.taken("uploads"):
            return run_nudge(args, payload, context)


def run_message(
    kind: str,
    args: tuple[Any, ...],
    payload: dict[str, Any],
    context: WorkerContext,
    renew: Callable[[], None],
) -> dict[str, object]:
    """Run one message of a job of that kind, and decide what an error means for the message.

    - malformed or forbidden: dropped with a log line
    - the worker is stopping: back to the queue; the run does not count
    - the worker cannot run any chunk: back to the queue, and the process ends, so that it takes no more
    - the job cannot run, its folder may not be read or written, or a link is in the way of its files: the
      job fails with the message, and its other chunks are skipped
    - storage or Redis away: dropped for re-send by the reconciler; the run does not count
    - remote storage denies access: the same, but the run counts, since a role may be on its way
    - storage fails on one file: the same, but the run counts, until that file's item fails
    - any other error: dropped for re-send, up to MAX_ATTEMPTS runs; then the job fails

    Raises:
        Reject: the message is dropped for re-send (requeue=False) or put back (requeue=True)
    """
    try:
        message = _parse(args, payload, ChunkMessage)
        shown = read_chunk(message, context, renew)
        if "skipped" not in shown:
            context.troubles.clear(message.job)
        context.metrics.chunk(kind, "skipped" if "skipped" in shown else "done")
        return shown
    except MessageError as error:
        return _drop(kind, error, context)
    except CredentialsError as error:
        raise _rejected(kind, error, message, context) from error
    except AccessDeniedError as error:
        # The owner of a folder does not change by itself.
        if is_remote(message.workspace):
            raise _rejected(kind, error, message, context) from error
        return _job_failed(kind, error, message, context)
    except (JobError, NotAFileError) as error:
        return _job_failed(kind, error, message, context)
    except Exception as error:
        raise _rejected(kind, error, message, context) from error


def run_nudge(args: tuple[Any, ...], payload: dict[str, Any], context: WorkerContext) -> dict[str, object]:
    """Read the uploads that wait, and decide what an error means for the nudge.

    - malformed: dropped with a log line
    - the worker is stopping, or cannot read any: back to the queue
    - any other error: dropped; its uploads are answered already, or time out

    Raises:
        Reject: the nudge is dropped (requeue=False) or put back (requeue=True)
    """
    log = structlog.get_logger().bind(worker=context.name)
    try:
        shown = read_uploads(_parse(args, payload, Nudge), context)
        context.metrics.chunk(UPLOAD, "done")
        return shown
    except MessageError as error:
        return _drop(UPLOAD, error, context)
    except Exception as error:
        requeue = isinstance(error, InterruptedChunkError | UnfitWorkerError)
        context.metrics.chunk(UPLOAD, "handed_back" if requeue else "dropped_for_resend")
        if isinstance(error, UnfitWorkerError):
            _retire(error, context, log)
        elif not requeue:
            log.error("nudge_failed", exc_info=error)
        raise Reject(str(error), requeue=requeue) from error


def _parse(args: tuple[Any, ...], payload: dict[str, Any], kind: type[M]) -> M:
    if args:
        raise MessageError("the message has positional arguments and was dropped")
    return parse_message(payload, kind)


def _drop(kind: str, error: MessageError, context: WorkerContext) -> dict[str, object]:
    context.metrics.chunk(kind, "dropped")
    structlog.get_logger().error("message_dropped", worker=context.name, error=str(error))
    return {"dropped": str(error)}


def _job_failed(
    kind: str, error: Exception, message: ChunkMessage, context: WorkerContext
) -> dict[str, object]:
    reason = str(error)
    if isinstance(error, AccessDeniedError):
        # Of an item it would be the item's error.
        reason += f": the workspace must be readable and writable for the workers, which run as {_user()}"
    context.metrics.chunk(kind, "job_failed")
    _fail_job(message, context, reason)
    structlog.get_logger().error(
        "job_failed", worker=context.name, job=message.job, chunk=message.chunk, error=reason
    )
    return {"job_failed": reason}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _rejected(kind: str, error: Exception, message: ChunkMessage, context: WorkerContext) -> Reject:
    log = structlog.get_logger().bind(worker=context.name, job=message.job, chunk=message.chunk)
    requeue = _requeue_after(error, message, context, log)
    if not requeue:
        context.troubles.add(message.job, error)
    context.metrics.chunk(kind, "handed_back" if requeue else "dropped_for_resend")
    return Reject(str(error), requeue=requeue)


def _retire(error: Exception, context: WorkerContext, log: structlog.stdlib.BoundLogger) -> None:
    """End this process, which cannot run anything, so that it takes no more messages."""
    log.error("worker_unfit", error=str(error))
    context.unfit.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _requeue_after(
    error: Exception, message: ChunkMessage, context: WorkerContext, log: structlog.stdlib.BoundLogger
) -> bool:
    """Handle an error that rejects the message; return whether the message goes back to the queue."""
    if isinstance(error, FileUnavailableError):
        log.warning("chunk_dropped_for_resend", error=str(error))
        return False
    if isinstance(error, NOT_THE_CHUNKS_DOING):
        _uncount(message, context)
    if isinstance(error, InterruptedChunkError):
        log.info("chunk_handed_back")
        return True
    if isinstance(error, UnfitWorkerError):
        _retire(error, context, log)
        return True
    if isinstance(error, NOT_THE_CHUNKS_DOING):
        log.warning("chunk_dropped_for_resend", error=str(error))
        return False
    attempts = context.ledger.attempts(message.job, message.chunk)
    # What storage refuses is said by the message; a traceback would bury it.
    trace = None if isinstance(error, StorageError) else error
    log.error("chunk_failed", error=str(error), attempt=attempts, of=MAX_ATTEMPTS, exc_info=trace)
    if attempts >= MAX_ATTEMPTS:
        reason = f"chunk {message.chunk} failed {MAX_ATTEMPTS} times ({type(error).__name__}: {error})"
        _fail_job(message, context, f"{reason}: see the worker's log")
    return False


def _uncount(message: ChunkMessage, context: WorkerContext) -> None:
    """Take the run out of the chunk's count. If Redis is away the count stays."""
    with contextlib.suppress(RedisError):
        context.ledger.hand_back(message.job, message.chunk)


def _fail_job(message: ChunkMessage, context: WorkerContext, reason: str) -> None:
    try:
        workspace = open_workspace(message.workspace, context.storage, context.roots)
        if workspace.is_of(message.job):
            workspace.halt(State.FAILED, reason)
    except StorageError as error:
        structlog.get_logger().error("failure_not_recorded", job=message.job, error=str(error))
    context.ledger.finish(message.job, State.FAILED, context.settings.retention_seconds, reason)
