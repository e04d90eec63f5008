"""What the routes of one API process share: clients and keys, made once from the settings."""

import threading
from dataclasses import dataclass, field
from functools import cached_property

import redis

from contract.broker.app import make_app, make_redis
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.errors import TraceOcrError
from producer.api.jobs import Jobs
from producer.api.monitoring.health import WorkerWatch, check_storage
from producer.api.monitoring.metrics import ApiMetrics
from producer.api.security.keys import Keyring
from producer.api.submission import IdempotencyKeys, Submission
from producer.api.uploads.desk import UploadDesk
from producer.session import Session

RETRIES = 1
"""Tries of one Redis command beyond the first: who waits for an HTTP answer would rather hear soon."""


class NoWorkerError(TraceOcrError):
    """No worker is there to read uploads."""


@dataclass(frozen=True)
class Services(Session):
    """Everything behind the routes: a command's clients, and what only serving needs."""

    keyring: Keyring
    stopping: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def client(self) -> redis.Redis:
        """The Redis client; of less patience than a command's."""
        return make_redis(self.settings, retries=RETRIES)

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs."""
        return Jobs(self.ledger, self.storage, self.roots, self.index, self.reports)

    @cached_property
    def submission(self) -> Submission:
        """The way of new jobs in."""
        settings = self.settings
        keys = IdempotencyKeys(self.client, settings.namespace, settings.retention_seconds)
        return Submission(settings, self.jobs, keys)

    @cached_property
    def uploads(self) -> Uploads:
        """The queue of uploads."""
        return Uploads(make_redis(self.settings, retries=RETRIES, raw=True), self.settings.namespace)

    @cached_property
    def desk(self) -> UploadDesk:
        """The way of uploads to the workers and back."""
        return UploadDesk(self.settings, self.uploads, make_app(self.settings))

    @cached_property
    def workers(self) -> WorkerWatch:
        """Whether a worker lives."""
        return WorkerWatch(self.reports)

    def require_worker(self) -> None:
        """Raise NoWorkerError where no worker lives."""
        if not self.workers.alive():
            raise NoWorkerError("no worker is alive: try again once one has started")

    @cached_property
    def reports(self) -> Reports:
        """What workers and control processes say of themselves."""
        return Reports(self.client, self.settings.namespace)

    @cached_property
    def metrics(self) -> ApiMetrics:
        """The figures of /metrics."""
        return ApiMetrics(
            self.client,
            self.settings,
            self.ledger,
            self.reports,
            self.uploads,
            lambda: check_storage(self.roots, self.storage).ok,
        )
