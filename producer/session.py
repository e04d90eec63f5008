"""The storage and Redis clients of one command, made once from the settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO

import redis

from contract.broker.app import make_app, make_redis, queue_for, send_chunk
from contract.broker.depths import waiting_chunks
from contract.broker.ledger import Ledger
from contract.broker.reports import Reports
from contract.errors import JobError, OutsideAllowedRootsError
from contract.images import IMAGE_EXTENSIONS
from contract.job import Job, roots_of
from contract.job_status import JobStatus
from contract.kinds import KINDS
from contract.model_store import ModelStore
from contract.records import ChunkMessage
from contract.settings import Settings
from contract.storage import Storage, absolute
from contract.storage.roots import AllowedRoots
from contract.tenants import parse_tenants
from contract.workspace import open_workspace
from producer.control.feed import Feeder
from producer.control.line import with_live
from producer.control.loop import WAIT_SECONDS, Control
from producer.planning.claim import Ids
from producer.planning.planner import Planner
from producer.planning.reuse import reusing
from producer.planning.submit import Dispatcher
from producer.results.index import JobIndex
from producer.results.status import NO_WORKER
from producer.sources.base import PAGE_EXTENSIONS, Listing
from producer.sources.document_pages import PageCounter, pages_of
from producer.sources.listing import all_roots_of, list_source
from producer.sources.regions import list_regions

LEASES = 2.0
"""Visibility timeouts after which a chunk is re-sent if its lease is not renewed: kombu should need one."""


@dataclass(frozen=True)
class Session:
    """Clients for one command, each made at its first use."""

    settings: Settings

    @cached_property
    def storage(self) -> Storage:
        """The storage backends."""
        return Storage(self.settings)

    @cached_property
    def model_store(self) -> ModelStore | None:
        """The model store, or None if none is set."""
        root = self.settings.model_store
        return ModelStore(root, self.storage) if root else None

    @cached_property
    def client(self) -> redis.Redis:
        """The Redis client; raises BrokerError if no URL is set."""
        return make_redis(self.settings)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; raises BrokerError if no URL is set."""
        return Ledger(self.client, self.settings.namespace)

    @property
    def ledger_if_set(self) -> Ledger | None:
        """The ledger, or None if no Redis is set: commands that read then use storage only."""
        return self.ledger if self.settings.redis_url else None

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Sends chunks to the queue."""
        app, namespace = make_app(self.settings), self.settings.namespace

        def send(job: Job, workspace: str, chunk: int) -> None:
            send_chunk(
                app,
                ChunkMessage(job.id, workspace, chunk),
                job.kind,
                queue_for(namespace, job.kind, urgent=job.urgent),
                job.chunks or None,
            )

        lease_seconds = LEASES * self.settings.visibility_timeout

        def waiting(job: str) -> set[int]:
            return waiting_chunks(self.client, namespace, job, time.time() - lease_seconds)

        return Dispatcher(send, waiting, lambda: bool(self._reports.live("control")))

    @property
    def _reports(self) -> Reports:
        return Reports(self.client, self.settings.namespace)

    @cached_property
    def roots(self) -> AllowedRoots:
        """The roots that sources and workspaces must lie below."""
        return AllowedRoots(self.settings.allowed_roots)

    @property
    def ids(self) -> Ids:
        """The ids of the jobs in this Redis and in the index."""
        return Ids(self.ledger, self.index)

    @cached_property
    def index(self) -> JobIndex:
        """The jobs of the allowed roots."""
        return JobIndex(self.roots, self.storage)

    def roots_of(self, job: Job) -> AllowedRoots | None:
        """Return the roots of a job's items for a command; None if it may read all that its user may read.

        The items of a confined source are below it, and the user has named that source.
        """
        if job.source.confined:
            return AllowedRoots(job.source.uris)
        allowed = self.settings.allowed_roots
        return AllowedRoots((*all_roots_of(job.source), *allowed)) if allowed else None

    def listing(self, job: Job, stdin: IO[bytes]) -> Listing:
        """Return the items of a job's source; for a page job, its pages; with regions, those of its pages.

        Raises:
            JobError: there are allowed roots, and the source is outside them
        """
        return self.planned(job, self.files(job, stdin))

    def planned(self, job: Job, listing: Listing) -> Listing:
        """Return items of a job's source as they are planned: documents as pages, with lines to reuse."""
        if KINDS[job.kind].unit == "page":
            listing = self._pages(job, listing)
        reuse = job.reuse
        if reuse is None:
            return listing
        within = self.roots if self.settings.allowed_roots else None
        return reusing(listing, lambda: open_workspace(reuse.workspace, self.storage, within))

    def _regions(self, job: Job, stdin: IO[bytes]) -> Listing:
        readable = self._readable(job)

        def pages() -> Listing:
            # Limits and samples are of regions, globs of their pages.
            selection = job.source.selection and job.source.selection.model_copy(update={"limit": None})
            whole = job.source.model_copy(update={"sample": None, "selection": selection})
            files = list_source(whole, self.storage, stdin, PAGE_EXTENSIONS, self._located, readable)
            return self._pages(job, files)

        return list_regions(job.source, self.storage, self._located, pages, readable)

    def _pages(self, job: Job, listing: Listing) -> Listing:
        roots = self._readable(job)
        return pages_of(listing, lambda: PageCounter(self.storage, roots, self.settings.max_document_bytes))

    def files(self, job: Job, stdin: IO[bytes]) -> Listing:
        """Return the items of a job's source, documents of page jobs as one item; raises as `listing`."""
        if job.source.regions and not job.source.chosen:
            return self._regions(job, stdin)
        extensions = IMAGE_EXTENSIONS if KINDS[job.kind].unit == "crop" else PAGE_EXTENSIONS
        return list_source(job.source, self.storage, stdin, extensions, self._located, self._readable(job))

    def _readable(self, job: Job) -> AllowedRoots | None:
        return self._allowed(job) if self.settings.allowed_roots else self.roots_of(job)

    def _located(self, uri: str) -> str:
        """Return the form to open of a recorded URI; a user may plan a manifest that is outside the roots."""
        try:
            return self.roots.recorded(uri)
        except OutsideAllowedRootsError:
            return absolute(uri)

    def _allowed(self, job: Job) -> AllowedRoots:
        try:
            return roots_of(job, self.roots)
        except OutsideAllowedRootsError as error:
            raise JobError(f"the source {error}") from error

    def explained(self, status: JobStatus, no_worker: str = NO_WORKER) -> JobStatus:
        """Return the status with what only the other processes know, as `with_live`."""
        if not self.settings.redis_url:
            return status
        return with_live(status, self._reports, self.ledger, parse_tenants(self.settings.tenants), no_worker)

    def planner(self) -> Planner:
        """Return a planner that uses these clients, in a process that also feeds."""
        roots = self.roots if self.settings.allowed_roots else None
        fed = replace(self.dispatcher, control_feeds=lambda: True)
        tenants = parse_tenants(self.settings.tenants)
        return Planner(self.ledger, self.storage, fed, self.listing, roots, tenants)

    def feeder(self, on_job: Callable[[str], None] = lambda _: None) -> Feeder:
        """Return a feeder that uses these clients; `on_job` is called before a job's first chunk is sent."""
        return Feeder(
            self.client,
            self.ledger,
            self.storage,
            self.dispatcher,
            self.settings,
            lambda: len(self._reports.live("worker")),
            on_job,
        )

    def control(self, wait_seconds: float = WAIT_SECONDS) -> Control:
        """Return a control loop that uses these clients; it ends within `wait_seconds` of its stop signal."""
        return Control(self.client, self.ledger, self.storage, self.dispatcher, self.settings, wait_seconds)
