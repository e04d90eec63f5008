"""One worker process on one device; the launcher starts it."""

import dataclasses
import os
import socket
import sys
import threading
import warnings
from typing import Any

import structlog
from celery import Celery, signals
from celery.apps import worker as celery_worker
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from contract.broker.app import make_app, make_redis, queue_names
from contract.broker.reports import Reporter, make_reporter
from contract.broker.server import look_at
from contract.errors import TraceOcrError, UnfitWorkerError
from contract.logs import configure_logging
from contract.settings import Settings, load_settings
from contract.tracing import configure_tracing
from worker.app.making import make_context
from worker.app.preloading import get_ready
from worker.app.tasks import register_tasks
from worker.app.transport import use_transport
from worker.jobs.context import WorkerContext
from worker.monitoring.ready import ReadyFile

CHUNKS_IN_FLIGHT = 2
"""While one chunk is on the device, the next is fetched and decoded."""


def serve(settings: Settings) -> None:
    """Consume chunks until a signal ends the process.

    On SIGTERM Celery stops consuming. Running chunks have `shutdown_grace_seconds` to finish; after that they
    are handed back at their next batch. Then the pool ends and the connection closes.

    Raises:
        SettingsError: as `make_context`
        BrokerError: the broker is a Redis Cluster
        UnfitWorkerError: the process cannot run any chunk
    """
    name = f"{_device_name(settings.devices)}@{socket.gethostname()}"
    client = make_redis(settings)
    look_at(client)
    context = make_context(settings, name, client)
    app = make_app(settings)
    use_transport(app, context.share, queue_names(settings.namespace)[0])
    register_tasks(app, context, client)
    device = context.metrics.device.label()
    ready = ReadyFile(settings.ready_folder)
    reporter = make_reporter(settings, "worker", name, device, lambda: _figures(context, ready))
    context.metrics.on_loading = reporter.wake
    _connect_signals(context, reporter)
    _start(context, ready, reporter)
    structlog.get_logger().info("worker_started", worker=name, pid=os.getpid())
    try:
        _consume(app, settings, name)
    finally:
        structlog.get_logger().info("worker_stopped", worker=name)
        ready.remove()
        reporter.close()
        if context.feeders:
            context.feeders.close()
        if context.unfit.is_set():
            # Not Celery's clean exit: the launcher must count this as a failure.
            raise UnfitWorkerError("the worker ended because it cannot run any chunk: its log says why")


def _start(context: WorkerContext, ready: ReadyFile, reporter: Reporter) -> None:
    context.watchdog.start()
    if context.settings.feeders and context.feeders:
        # While the models are loaded: the first chunk finds them ready.
        context.feeders.start()
    preloading = (context, ready, reporter.wake)
    threading.Thread(target=get_ready, args=preloading, name="preload", daemon=True).start()


def _consume(app: Celery, settings: Settings, name: str) -> None:
    app.worker_main(
        [
            "--quiet",
            "worker",
            "--pool=threads",
            f"--concurrency={CHUNKS_IN_FLIGHT}",
            f"--hostname={name}",
            f"--queues={','.join(queue_names(settings.namespace))}",
            "--without-gossip",
            "--without-mingle",
            "--task-events",
        ]
    )


def main() -> None:
    """Run the process; exit status 3 with one log line if it cannot start."""
    # Celery warns about running as root because a pickled message could run code; ours are only JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        settings = load_settings()
        configure_logging(settings)
        configure_tracing("worker")
        serve(settings)
    except TraceOcrError as error:
        structlog.get_logger().error("worker_failed", error=str(error))
        sys.exit(error.exit_code)


def _connect_signals(context: WorkerContext, reporter: Reporter) -> None:
    def keep_our_logging(**_: Any) -> None:
        """Keep our logging: Celery does not configure its own if a receiver is connected."""

    def start_grace(**_: Any) -> None:
        timer = threading.Timer(context.settings.shutdown_grace_seconds, context.stop.set)
        timer.daemon = True
        timer.start()

    def say_ready(**_: Any) -> None:
        reporter.start()
        structlog.get_logger().info("worker_ready", worker=context.name)

    # After Celery's own filters, which show every warning of its kind.
    signals.celeryd_after_setup.connect(ignore_known_warnings, weak=False)
    # Celery writes its banner of a shutdown around the log, from within the signal's handler.
    celery_worker.safe_say = lambda *_: None  # type: ignore[attr-defined]
    signals.worker_ready.connect(say_ready, weak=False)
    signals.setup_logging.connect(keep_our_logging, weak=False)
    signals.worker_shutting_down.connect(start_grace, weak=False)


def ignore_known_warnings(**_: Any) -> None:
    """Do not log what Celery says at each loss of Redis about a default that is set (docs/decisions/0003)."""
    said = r"\s*In Celery 5\.1 we introduced an optional breaking change"
    warnings.filterwarnings("ignore", message=said, category=CPendingDeprecationWarning)


def _figures(context: WorkerContext, ready: ReadyFile) -> dict[str, Any]:
    """Return the fields of a report that change with time; reports begin when the process serves."""
    ready.touch()
    use, loading = context.metrics.device.use(), context.metrics.loading
    return {
        "progress_age_seconds": context.watchdog.progress_age(),
        "metrics": context.metrics.exposition(),
        "activity": f"loading {loading}" if loading else "",
        "troubles": context.troubles.current(),
        **context.pace.figures(),
        **(dataclasses.asdict(use) if use else {}),
    }


def _device_name(devices: str) -> str:
    return "cpu" if devices == "cpu" else f"gpu{devices}"
