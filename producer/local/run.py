"""`trace-ocr run`: broker, worker, control and planner on one machine, for one job."""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

import redis
import structlog
from pydantic import SecretStr

from contract.child_processes import die_with_parent, python_module
from contract.errors import TraceOcrError, WorkerLostError
from contract.job import Job
from contract.job_status import JobStatus
from contract.settings import Settings, environment_of, variable_of
from contract.workspace import Workspace
from producer.local.embedded import embedded_broker
from producer.notify.notifier import Notifier
from producer.planning.submit import submit_job
from producer.results.status import status_of
from producer.session import Session
from producer.sources.listing import all_roots_of

LOOK_SECONDS = 0.1
"""Seconds between two checks of the job's progress, and longest wait for its control loop to end."""

GRACE_SECONDS = 2.0
"""Seconds that running chunks have to end when a run is stopped; then they are dropped for re-send."""

STANDARD_ERROR = 2
"""File descriptor for the worker's output: standard output is reserved for the summary."""

NOTIFY_SECONDS = 20.0
"""Seconds that a run goes on trying to tell of its end."""

OnStatus = Callable[[JobStatus], None]


def run_job(
    job: Job,
    workspace: Workspace,
    settings: Settings,
    environment: dict[str, str],
    stdin: IO[bytes],
    on_status: OnStatus,
) -> JobStatus:
    """Run one job to its end on this machine; return its last status.

    Call from the main thread: the processes started here end with it, even if it is killed.

    Args:
        environment: the environment of the worker processes, in addition to the settings
        on_status: called with the job's status several times a second

    Raises:
        WorkerLostError: the worker processes ended before the job
        TraceOcrError: planning failed
    """
    with _settings_for(job, workspace, settings) as ours, _worker(ours, environment) as worker:
        session = Session(ours)
        stop = threading.Event()
        with ThreadPoolExecutor(3, thread_name_prefix="run") as threads, _setting(stop):
            control = session.control(LOOK_SECONDS)
            threads.submit(control.run, stop)
            threads.submit(session.feeder(control.notice).run, stop)
            plan = threads.submit(_plan, job, workspace, session, stdin, stop)
            with _told(job, workspace, control.notifier):
                return _follow(job, session, plan, worker, on_status)


def namespace_of(settings: Settings, job: str) -> str:
    """Return the namespace of a run's job in Redis."""
    return f"{settings.namespace}.{job}"[:100]


@contextlib.contextmanager
def _settings_for(job: Job, workspace: Workspace, settings: Settings) -> Iterator[Settings]:
    """Yield settings with a broker, a namespace for this job, and the job's roots allowed.

    The namespace isolates a run on a shared Redis: its worker may read only this job's roots, and must not
    receive chunks of other jobs.
    """
    described = (job.source.regions.uri,) if job.source.regions else ()
    reused = (job.reuse.workspace,) if job.reuse else ()
    inputs = (*all_roots_of(job.source), *described, *reused, *job.parameters.inputs())
    roots = (*inputs, workspace.root, *settings.allowed_roots)
    update = {
        "namespace": namespace_of(settings, job.id),
        "allowed_roots": roots,
        "shutdown_grace_seconds": GRACE_SECONDS,
        # The worker loads this job's models while the job is being planned.
        **dict(job.parameters),
        "preload": (job.kind,),
    }
    if settings.redis_url:
        yield settings.model_copy(update=update)
        return
    with embedded_broker() as url:
        yield settings.model_copy(update={**update, "redis_url": SecretStr(url)})


@contextlib.contextmanager
def _worker(settings: Settings, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        python_module("worker.app.launcher"),
        env={**environment, **environment_of(settings), variable_of("devices"): settings.devices},
        stdin=subprocess.DEVNULL,
        stdout=STANDARD_ERROR,
        process_group=0,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
        # The job has ended, so chunks that workers still hold are not worth waiting for: the second signal
        # makes the launcher stop immediately.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _setting(stop: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        stop.set()


@contextlib.contextmanager
def _told(job: Job, workspace: Workspace, notifier: Notifier) -> Iterator[None]:
    """Send at the end of the block, or at an error of it, what there is to tell of the job's end."""
    try:
        yield
    except TraceOcrError:
        _tell(job, workspace, notifier)
        raise
    _tell(job, workspace, notifier)


def _tell(job: Job, workspace: Workspace, notifier: Notifier) -> None:
    try:
        notifier.announce_end(workspace.load_job() or job, workspace)
        told = notifier.settle(workspace.root, NOTIFY_SECONDS)
    except TraceOcrError as error:
        structlog.get_logger().warning("end_not_announced", job=job.id, error=str(error))
    else:
        if not told:
            structlog.get_logger().warning(
                "notifications_left", job=job.id, hint="trace-ocr control sends them, or the same command"
            )


def _plan(job: Job, workspace: Workspace, session: Session, stdin: IO[bytes], stop: threading.Event) -> Job:
    listing = session.listing(job, stdin)
    return submit_job(job, workspace, listing.until(stop), session.ledger, session.dispatcher)


def _follow(
    job: Job,
    session: Session,
    plan: "Future[Job]",
    worker: "subprocess.Popen[bytes]",
    on_status: OnStatus,
) -> JobStatus:
    """Follow the job until it has ended; raise the error of a failed plan or of a lost worker."""
    while True:
        if plan.done():
            plan.result()
        with contextlib.suppress(redis.RedisError):
            progress = session.ledger.load(job.id)
            if progress:
                status = session.explained(status_of(progress), "the worker to start")
                on_status(status)
                if status.ended and plan.done():
                    return status
        if worker.poll() is not None:
            raise WorkerLostError(f"the worker ended with status {worker.returncode}: its log says why")
        time.sleep(LOOK_SECONDS)
