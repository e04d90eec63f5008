"""What all chunks of a worker process share, made from its settings."""

import threading
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from contract.broker.app import make_redis
from contract.broker.depths import chunks_wait
from contract.broker.ledger import Ledger
from contract.broker.uploads import Uploads
from contract.errors import SettingsError
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import OnRequest, Storage
from contract.storage.roots import AllowedRoots
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
from worker.monitoring.watchdog import Watchdog


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
    options = RuntimeOptions(
        settings.runtime, settings.precision, settings.torch_compile, settings.cuda_graphs
    )
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
