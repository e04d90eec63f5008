"""Control's part of notifications: note what happened to jobs, and send it, in threads of its own."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import redis
import structlog
from redis.exceptions import LockError

from contract.errors import JobError, TraceOcrError
from contract.job import Job
from contract.job_status import RequestCounts
from contract.settings import Settings
from contract.states import State
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, open_workspace
from producer.notify.events import DAY, EventType, data_of, event_of, receivers
from producer.notify.outbox import Outbox, PendingOutboxes, deliver

SENDERS = 8
"""Jobs whose events are sent at once: receivers that hang hold up as many, for seconds."""

LOOK_SECONDS = 60.0
"""Seconds between two looks for events that another control process has noted."""

TICK_SECONDS = 1.0
"""Longest wait until an event that is due is sent."""

LOCK_SECONDS = 120.0
"""After so many seconds another control process may send the events of a job whose sender has died."""

PAUSE_SECONDS = 30.0
"""Seconds until an outbox is tried again whose storage or Redis failed."""

ENDS = {State.FAILED: EventType.FAILED, State.CANCELLED: EventType.CANCELLED}


class Notifier:
    """Notes and sends events; thread-safe.

    Args:
        client: for locks; without one there is only this process
        clock: returns Unix seconds
    """

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        client: redis.Redis | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._storage, self._client, self._clock = settings, storage, client, clock
        self._roots = AllowedRoots(settings.allowed_roots) if settings.allowed_roots else None
        self._pending = PendingOutboxes(self._roots or AllowedRoots(()), storage)
        self._due: dict[str, float] = {}
        self._told: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(SENDERS, thread_name_prefix="notify")

    def announce_end(self, job: Job, workspace: Workspace, counts: RequestCounts | None = None) -> None:
        """Note that a job has ended, as its files say; call before the ledger is told. Idempotent.

        Args:
            counts: what the ledger has; a complete job's summary is right
        """
        if not receivers(job, self._settings):
            return
        halt = workspace.load_halt()
        if workspace.is_complete(job.id):
            at = float((workspace.load_summary() or {}).get("completed_at", 0))
            data = data_of(job, workspace, State.COMPLETED, self._settings)
            self.announce(EventType.COMPLETED, job, workspace, at, data)
            if data.get("quality_low"):
                self.announce(EventType.QUALITY_LOW, job, workspace, at, data)
        elif halt and halt.status in ENDS:
            data = data_of(job, workspace, halt.status, self._settings, counts)
            self.announce(ENDS[halt.status], job, workspace, float(halt.at), data)

    def announce(
        self, type_: EventType, job: Job, workspace: Workspace, at: float, data: dict[str, Any]
    ) -> None:
        """Note an event and have it sent; one with the same type and time is noted once.

        Args:
            at: when it happened, in Unix seconds; part of the event's identity
            data: as `data_of`
        """
        if not receivers(job, self._settings) or at < self._clock() - DAY:
            return
        self._pending.add(job, workspace)
        if Outbox(job, workspace).note(event_of(type_, job, workspace, at, data)):
            # Again: a sender that had nothing left may have removed it in between.
            self._pending.add(job, workspace)
            self._enqueue(workspace.root)

    def job_has_ended(
        self, job: str, root: str, submissions: int, status: str, counts: RequestCounts
    ) -> None:
        """Note the end of a job that somebody else has ended, such as a worker; looks at each end once."""
        with self._lock:
            if self._told.get(job) == (submissions, status):
                return
            self._told[job] = (submissions, status)
        self._threads.submit(self._look_at_end, job, root, counts)

    def _look_at_end(self, identity: str, root: str, counts: RequestCounts) -> None:
        try:
            workspace = open_workspace(root, self._storage, self._roots)
            job = workspace.load_job()
            if job and job.id == identity:
                self.announce_end(job, workspace, counts)
        except TraceOcrError as error:
            structlog.get_logger().warning("end_not_announced", job=identity, error=str(error))
            with self._lock:
                self._told.pop(identity, None)

    def run(self, stop: threading.Event) -> None:
        """Send what is due until `stop` is set."""
        next_look = 0.0
        while not stop.is_set():
            if time.monotonic() >= next_look:
                self._find()
                next_look = time.monotonic() + LOOK_SECONDS
            now = self._clock()
            with self._lock:
                due = [root for root, at in self._due.items() if at <= now]
                for root in due:
                    del self._due[root]
            for root in due:
                self._threads.submit(self.deliver, root)
            stop.wait(TICK_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def settle(self, root: str, seconds: float) -> bool:
        """Send the events of one workspace for so many seconds at most; return whether nothing is left."""
        end = time.monotonic() + seconds
        while True:
            self.deliver(root)
            with self._lock:
                after = self._due.get(root)
            if after is None:
                return True
            pause = max(TICK_SECONDS, after - self._clock())
            if time.monotonic() + pause > end:
                return False
            time.sleep(pause)

    def deliver(self, root: str) -> None:
        """Send the events of one workspace that are due; those that wait are tried again by `run`."""
        with self._lock:
            self._due.pop(root, None)
        try:
            with self._alone(root) as alone:
                after = self._delivered(root) if alone else self._clock() + PAUSE_SECONDS
        except JobError as error:
            structlog.get_logger().warning("outbox_ignored", workspace=root, error=str(error))
            return
        except (TraceOcrError, redis.RedisError) as error:
            structlog.get_logger().warning("notifications_delayed", workspace=root, error=str(error))
            after = self._clock() + PAUSE_SECONDS
        except Exception:
            structlog.get_logger().exception("notifications_delayed", workspace=root)
            after = self._clock() + PAUSE_SECONDS
        if after is not None:
            self._enqueue(root, after)

    def _delivered(self, root: str) -> float | None:
        workspace = open_workspace(root, self._storage, self._roots)
        job = workspace.require_job()
        now = self._clock()
        after = Outbox(job, workspace).deliver(self._settings, now, functools.partial(deliver, now=now))
        if after is None:
            self._pending.remove(job, workspace)
        return after

    def _find(self) -> None:
        try:
            for workspace in self._pending.workspaces():
                self._enqueue(workspace.root)
        except TraceOcrError as error:
            structlog.get_logger().warning("outboxes_not_listed", error=str(error))

    def _enqueue(self, root: str, at: float = 0.0) -> None:
        with self._lock:
            self._due[root] = min(at, self._due.get(root, at))

    @contextlib.contextmanager
    def _alone(self, root: str) -> Iterator[bool]:
        """Yield whether this process may send a workspace's events; while Redis is away, it may."""
        if self._client is None:
            yield True
            return
        lock: AbstractContextManager[Any] = self._client.lock(
            f"{self._settings.namespace}:notify:{root}", timeout=LOCK_SECONDS, blocking=False
        )
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except LockError:
                yield False
                return
            stack.push(_ignoring_lost_lock)
            yield True


def _ignoring_lost_lock(kind: object, error: BaseException | None, trace: object) -> bool:  # noqa: ARG001
    return isinstance(error, LockError)
