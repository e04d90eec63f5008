"""Everything that `/metrics` shows: what the collector gathers, and what this process counts itself."""

import contextlib
import time
from collections.abc import Callable

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.broker.ledger import Ledger
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.kinds import KINDS
from contract.settings import Settings
from producer.api.monitoring.collector import StorageWatch, SystemCollector

UPLOAD_KINDS: dict[str, str] = {f"/{kind}/": kind for kind in KINDS}
"""The paths that take files, and what they read."""

UPLOAD_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0)
"""Seconds: a small crop on a GPU that is free, to the longest that a request may take."""


class ApiMetrics:
    """The metrics of one API process.

    Args:
        client: a client with decode_responses=True
        settings: for the namespace
        storage_up: whether storage answers; may take its time, and may raise
        clock: Unix seconds
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        ledger: Ledger,
        reports: Reports,
        uploads: Uploads,
        storage_up: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = CollectorRegistry()
        self._uploads = UploadMetrics(self._registry)
        watch = StorageWatch(storage_up) if storage_up else None
        self._registry.register(
            SystemCollector(
                client, settings.namespace, ledger, reports, uploads, watch, self._uploads.families, clock
            )
        )

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format; never raises because something is away."""
        return generate_latest(self._registry)

    def upload_timed(self, kind: str) -> contextlib.AbstractContextManager[object]:
        """Measure a block: an upload's files from their arrival to their text."""
        return self._uploads.seconds.labels(kind).time()

    def upload_answered(self, kind: str, status: int) -> None:
        """Count a request with uploads by its HTTP status."""
        self._uploads.requests.labels(kind, str(status)).inc()


class UploadMetrics:
    """What this process counts of the paths that take files."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "trace_ocr_upload_requests", "Requests with files.", ["kind", "status"], registry=registry
        )
        self.seconds = Histogram(
            "trace_ocr_upload_seconds",
            "Seconds from a request's files to their text.",
            ["kind"],
            buckets=UPLOAD_BUCKETS,
            registry=registry,
        )

        for kind in KINDS:
            # There from the start: a rate needs a first value to grow from.
            self.seconds.labels(kind)

    def families(self) -> list[Metric]:
        """Return what is counted."""
        return [*self.requests.collect(), *self.seconds.collect()]


class UploadCounter:
    """An ASGI layer that counts the answers to requests with files, whoever gave them."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note its status as it leaves."""

        kind = UPLOAD_KINDS.get(scope["path"]) if scope["type"] == "http" else None

        async def counting(message: Message) -> None:
            if kind and message["type"] == "http.response.start":
                self._metrics.upload_answered(kind, message["status"])
            await send(message)

        await self._app(scope, receive, counting if kind else send)
