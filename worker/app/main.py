"""One worker process on one device; the launcher starts it."""

import dataclasses
import os
import socket
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from celery import Celery, signals
from celery.apps import worker as celery_worker
from celery.exceptions import SecurityWarning
from redis import Redis

from contract.broker.app import make_app, make_redis, queue_names
from contract.broker.depths import chunks_wait
from contract.broker.ledger import Ledger
from contract.broker.reports import Reporter, make_reporter
from contract.broker.server import look_at
from contract.broker.uploads import Uploads
from contract.errors import SettingsError, TraceOcrError, UnfitWorkerError
from contract.logs import configure_logging
from contract.model_store import ModelStore
from contract.settings import Settings, load_settings
from contract.storage import OnRequest, Storage
from contract.storage.roots import AllowedRoots
from contract.tracing import configure_tracing
from worker.app.preloading import get_ready
from worker.app.tasks import register_tasks
from worker.app.transport import use_transport
from worker.feeders.pool import FeederPool
from worker.feeders.protocol import DEPTH, Limits
from worker.images.isolation import DecoderPool, IsolatedDecoder
from worker.jobs.context import WorkerContext
from worker.jobs.share import ChunkShare
from worker.models.imports import doctr_side
from worker.models.pool import ModelPool, Models
from worker.models.recognition import load_recogniser
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.choosing import check_runtime
from worker.models.weights import select_device
from worker.monitoring.device import Device
from worker.monitoring.metrics import WorkerMetrics
from worker.monitoring.pace import Pace
from worker.monitoring.ready import ReadyFile
from worker.monitoring.watchdog import Watchdog

CHUNKS_IN_FLIGHT = 2
"""While one chunk is on the device, the next is fetched and decoded."""


def make_context(settings: Settings, name: str, client: Redis) -> WorkerContext:
    """Return the context that all chunks of the process share.

    Args:
        client: a client with decode_responses=True

    Raises:
        SettingsError: no allowed roots are set, or as `make_models`
        ExtraMissingError: a root's storage needs an extra
    """
    if not settings.allowed_roots:
        raise SettingsError(
            "no allowed roots: set TRACE_OCR_ALLOWED_ROOTS to the folders and remote prefixes that this "
            "worker may read sources from and write workspaces to, e.g. s3://scans/,s3://results/"
        )
    metrics = WorkerMetrics(Device(settings.devices))
    storage = Storage(settings, metrics.s3)
    for root in settings.allowed_roots:
        storage.at(root)
    return WorkerContext(
        name=name,
        settings=settings,
        storage=storage,
        roots=AllowedRoots(settings.allowed_roots),
        ledger=Ledger(client, settings.namespace),
        models=make_models(settings, storage, metrics),
        executor=ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode"),
        fetchers=ThreadPoolExecutor(settings.fetch_threads, thread_name_prefix="fetch"),
        stop=threading.Event(),
        unfit=threading.Event(),
        feeders=make_feeders(settings, metrics.s3),
        decoders=DecoderPool(
            lambda: IsolatedDecoder(settings.max_pixels, settings.decode_seconds, settings.decode_memory)
        ),
        uploads=Uploads(make_redis(settings, raw=True), settings.namespace),
        share=ChunkShare(settings.chunk_share, lambda: chunks_wait(client, settings.namespace)),
        large_images=threading.Lock(),
        watchdog=Watchdog(settings.stall_seconds),
        metrics=metrics,
        pace=Pace(),
    )


def make_feeders(settings: Settings, on_request: OnRequest) -> FeederPool:
    """Return the process's feeders, not started yet; without any of its own it has one for what is risky."""
    number = max(1, settings.feeders)
    limits = Limits(
        max_pixels=settings.max_pixels,
        max_memory=settings.decode_memory,
        max_bytes=settings.max_bytes,
        max_document_bytes=settings.max_document_bytes,
        fetch_threads=max(1, settings.fetch_threads // number),
        slots=DEPTH,
    )
    return FeederPool(
        number, limits, settings.decode_seconds, finishers=settings.decode_threads, on_request=on_request
    )


def make_models(settings: Settings, storage: Storage, metrics: WorkerMetrics) -> Models:
    """Return the models of the process; each is loaded at its first use.

    Raises:
        SettingsError: the device does not exist, or the runtime is not installed or not for it
    """
    store = ModelStore(settings.model_store, storage) if settings.model_store else None
    device = select_device(settings.devices)
    options = RuntimeOptions(settings.runtime, settings.precision, settings.torch_compile)
    check_runtime(device, options)
    observers = metrics.model_loaded, metrics.model_loading
    return Models(
        ModelPool(lambda name: load_recogniser(name, store, device, options), *observers),
        ModelPool(
            lambda name: doctr_side("worker.models.detection").load_detector(name, store, device, options),
            *observers,
        ),
        ModelPool(
            lambda name: doctr_side("worker.models.orientation").load_orientation(name, store, device),
            *observers,
        ),
    )


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
    context.watchdog.start()
    if settings.feeders and context.feeders:
        # While the models are loaded: the first chunk finds them ready.
        context.feeders.start()
    ready_soon = (context, ready, reporter.wake)
    threading.Thread(target=get_ready, args=ready_soon, name="preload", daemon=True).start()
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

    # Celery writes its banner of a shutdown around the log, from within the signal's handler.
    celery_worker.safe_say = lambda *_: None  # type: ignore[attr-defined]
    signals.worker_ready.connect(say_ready, weak=False)
    signals.setup_logging.connect(keep_our_logging, weak=False)
    signals.worker_shutting_down.connect(start_grace, weak=False)


def _figures(context: WorkerContext, ready: ReadyFile) -> dict[str, Any]:
    """Return the fields of a report that change with time; reports begin when the process serves."""
    ready.touch()
    use, loading = context.metrics.device.use(), context.metrics.loading
    return {
        "progress_age_seconds": context.watchdog.progress_age(),
        "metrics": context.metrics.exposition(),
        "activity": f"loading {loading}" if loading else "",
        **context.pace.figures(),
        **(dataclasses.asdict(use) if use else {}),
    }


def _device_name(devices: str) -> str:
    return "cpu" if devices == "cpu" else f"gpu{devices}"
