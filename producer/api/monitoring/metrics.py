"""The metrics of `/metrics`: those of the collector, and those that this process counts itself."""

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
from producer.api.monitoring.collector import SystemCollector
from producer.api.monitoring.storage_watch import StorageWatch

UPLOAD_KINDS: dict[str, str] = {f"/{kind}/": kind for kind in KINDS}
"""Paths that take files, and the kind that each reads."""

NO_WORKER = "503"
"""Status of a request that finds no worker alive."""

UPLOAD_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0)
"""Bucket bounds in seconds: from a small crop on an idle GPU to the longest allowed request."""


class ApiMetrics:
    """The metrics of one API process.

    Args:
        client: a client with decode_responses=True
        settings: gives the namespace
        storage: knows whether storage answers
        clock: returns the time in Unix seconds
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        ledger: Ledger,
        reports: Reports,
        uploads: Uploads,
        storage: StorageWatch | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = CollectorRegistry()
        self._uploads = UploadMetrics(self._registry)
        self._registry.register(
            SystemCollector(
                client, settings, ledger, reports, uploads, storage, self._uploads.families, clock
            )
        )

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format, also while Redis or storage is unavailable."""
        return generate_latest(self._registry)

    def upload_timed(self, kind: str) -> contextlib.AbstractContextManager[object]:
        """Measure a block: the time from a request's files to their text."""
        return self._uploads.seconds.labels(kind).time()

    def upload_answered(self, kind: str, status: int) -> None:
        """Count a request with uploads by its HTTP status."""
        self._uploads.requests.labels(kind, str(status)).inc()


class UploadMetrics:
    """Metrics of the paths that take files, counted by this process."""

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
            # Create the series at startup: a rate needs a first value. Requests without a worker start one.
            self.seconds.labels(kind)
            self.requests.labels(kind, NO_WORKER)

    def families(self) -> list[Metric]:
        """Return the metric families."""
        return [*self.requests.collect(), *self.seconds.collect()]


class UploadCounter:
    """ASGI middleware that counts the answers to requests with files, including those of other middleware."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its status."""

        kind = UPLOAD_KINDS.get(scope["path"]) if scope["type"] == "http" else None

        async def counting(message: Message) -> None:
            if kind and message["type"] == "http.response.start":
                self._metrics.upload_answered(kind, message["status"])
            await send(message)

        await self._app(scope, receive, counting if kind else send)
