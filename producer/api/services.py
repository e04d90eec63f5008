"""The services that the routes of one API process share: clients and keys, made once from the settings."""

import threading
from dataclasses import dataclass, field
from functools import cached_property

import redis

from contract.broker.app import make_app, make_redis
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.errors import TraceOcrError
from contract.tenants import parse_tenants
from producer.api.idempotency import IdempotencyKeys
from producer.api.job_table import JobTable
from producer.api.jobs import Jobs
from producer.api.monitoring.health import WorkerWatch, check_storage
from producer.api.monitoring.metrics import ApiMetrics
from producer.api.monitoring.storage_watch import StorageWatch
from producer.api.monitoring.system import SystemWatch
from producer.api.security.keys import Keyring
from producer.api.stored_jobs import StoredJobs
from producer.api.submission import Submission
from producer.api.uploads.desk import UploadDesk
from producer.results.opening import OpenJobs
from producer.results.pictures import PictureDesk
from producer.session import Session
from producer.sources.document_pages import PageCounter

RETRIES = 1
"""Retries of one Redis command: an HTTP caller is better served by an early error than by a long wait."""


class NoWorkerError(TraceOcrError):
    """No worker is alive to read uploads."""


@dataclass(frozen=True)
class Services(Session):
    """A command's clients, plus what only the HTTP API needs."""

    keyring: Keyring
    stopping: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def client(self) -> redis.Redis:
        """The Redis client; retries less than a command's."""
        return make_redis(self.settings, retries=RETRIES)

    @cached_property
    def jobs(self) -> Jobs:
        """Finds jobs."""
        tenants = parse_tenants(self.settings.tenants)
        table, stored = JobTable(self.ledger), StoredJobs(self.index)
        return Jobs(self.ledger, self.storage, self.roots, self.index, self.reports, table, stored, tenants)

    @cached_property
    def open_jobs(self) -> OpenJobs:
        """What is needed of the items of the jobs that were asked for last."""
        return OpenJobs()

    @cached_property
    def pictures(self) -> PictureDesk:
        """Draws pictures of items, in child processes."""
        return PictureDesk(self.storage, self.settings)

    @cached_property
    def submission(self) -> Submission:
        """Submits jobs."""
        settings = self.settings
        keys = IdempotencyKeys(self.client, settings.namespace, settings.retention_seconds)
        return Submission(settings, self.jobs, keys, self.model_store)

    @cached_property
    def uploads(self) -> Uploads:
        """The queue of uploads."""
        return Uploads(make_redis(self.settings, retries=RETRIES, raw=True), self.settings.namespace)

    @cached_property
    def desk(self) -> UploadDesk:
        """Sends uploads to the workers and returns their answers."""
        return UploadDesk(self.settings, self.uploads, make_app(self.settings))

    @cached_property
    def page_counter(self) -> PageCounter:
        """Counts the pages of uploaded PDFs, in child processes."""
        return PageCounter(self.storage, None, self.settings.max_bytes)

    @cached_property
    def workers(self) -> WorkerWatch:
        """Knows whether a worker is alive."""
        return WorkerWatch(self.reports)

    def require_worker(self) -> None:
        """Raise NoWorkerError if no worker is alive."""
        if not self.workers.alive():
            raise NoWorkerError("no worker is alive: try again once one has started")

    @cached_property
    def reports(self) -> Reports:
        """The reports of workers and control processes."""
        return Reports(self.client, self.settings.namespace)

    @cached_property
    def metrics(self) -> ApiMetrics:
        """The metrics of /metrics."""
        return ApiMetrics(
            self.client,
            self.settings,
            self.ledger,
            self.reports,
            self.uploads,
            self.storage_watch,
        )

    @cached_property
    def storage_watch(self) -> StorageWatch:
        """Knows whether storage answers."""
        return StorageWatch(lambda: check_storage(self.roots, self.storage).ok)

    @cached_property
    def system(self) -> SystemWatch:
        """The system in figures."""
        return SystemWatch(
            self.client,
            self.settings,
            self.ledger,
            self.reports,
            self.uploads,
            self.storage_watch,
            self.jobs.unended,
        )
