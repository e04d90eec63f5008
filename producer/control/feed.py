"""The feeder: sends the chunks of all jobs, a few at a time, so that each tenant always has its share.

The ledger's `chunks_sent` divides a job's chunks: those below it are the reconciler's, the others the
feeder's. A feeder that dies after it has moved the number leaves chunks that the reconciler finds missing.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import redis
import structlog
from redis.exceptions import LockError

from contract.broker.depths import queue_lengths, waiting_by_job
from contract.broker.ledger import Ledger
from contract.broker.line import Standing
from contract.broker.reports import REPORT_SECONDS
from contract.errors import TraceOcrError
from contract.job import Job
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tenants import parse_tenants
from contract.workspace import Workspace, open_workspace
from producer.control.shares import Shares
from producer.planning.submit import Dispatcher

FEED_SECONDS = 0.25
"""Seconds between two feedings; a new job waits for as long."""

REMEMBERED = 4
"""Feedings over which the workers' pace is averaged: enough that workers which all end a chunk at once do not
look like fast ones, and so few that the queue follows fast ones within seconds."""

LOCK_SECONDS = 10.0
"""The feeding lock expires this many seconds after its control process dies. Two that feed at once send no
chunk twice; together they may fill the queue twice."""

LEAST = 2
"""Chunks in the queue even if no worker is alive: what one that starts takes at once."""

LEAST_URGENT = 64
"""The same of urgent chunks: they overtake whatever waits, so that between two of them no other is read."""

MOST = 4_096
"""Chunks in the queue at most: some megabytes of Redis."""

RETRY_SECONDS = 10.0
"""Seconds until a job whose workspace cannot be read is tried again: a try may take as long."""

PAUSE_SECONDS = 2.0
"""Pause in seconds after Redis fails, so that an outage does not fill the log."""


@dataclass
class Level:
    """How many chunks a queue holds, and how fast workers take them."""

    least: int = LEAST
    left: int = 0
    taken: deque[int] = field(default_factory=lambda: deque([0] * REMEMBERED, REMEMBERED))

    def room(self, waiting: int, workers: int) -> int:
        """Return how many chunks to send to a queue where some wait.

        One per worker, which holds two; or what is taken in two feedings, if chunks are short.
        """
        self.taken.append(max(0, self.left - waiting))
        wanted = min(MOST, max(self.least, workers, -(-2 * sum(self.taken) // REMEMBERED)))
        return max(0, wanted - waiting)


@dataclass
class Lane:
    """The jobs that share a queue; urgent ones have their own."""

    urgent: bool
    shares: Shares = field(default_factory=Shares)
    level: Level = field(default_factory=Level)

    def waiting(self, lengths: Mapping[str, int]) -> int:
        """Return how many chunks wait in the lane's queues."""
        _, urgent, *kinds = lengths.values()
        return urgent if self.urgent else sum(kinds)


class Feeder:
    """Sends chunks that are ready. Several processes may have one; a lock gives the feeding to one at a time.

    Args:
        workers: returns the number of live worker processes
        on_job: called with a job's id before its first chunk is sent
    """

    def __init__(
        self,
        client: redis.Redis,
        ledger: Ledger,
        storage: Storage,
        dispatcher: Dispatcher,
        settings: Settings,
        workers: Callable[[], int],
        on_job: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client, self._ledger, self._storage = client, ledger, storage
        self._dispatcher, self._settings, self._workers = dispatcher, settings, workers
        self._on_job = on_job
        self._roots = AllowedRoots(settings.allowed_roots) if settings.allowed_roots else None
        self._tenants = parse_tenants(settings.tenants)
        self._lanes = Lane(urgent=True, level=Level(LEAST_URGENT)), Lane(urgent=False)
        self._jobs: dict[str, tuple[int, Job, Workspace]] = {}
        self._alive, self._next_count = 0, 0.0
        self._passed_over: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Feed until `stop` is set; log outages and wait until they end."""
        while not stop.is_set():
            try:
                self.feed()
            except (redis.RedisError, TraceOcrError) as error:
                structlog.get_logger().warning("feeding_delayed", error=str(error))
                stop.wait(PAUSE_SECONDS)
            except Exception:
                structlog.get_logger().exception("feeding_failed")
                stop.wait(PAUSE_SECONDS)
            stop.wait(FEED_SECONDS)

    def feed(self) -> int:
        """Send what the queues have room for; return the number of chunks."""
        line = self._ledger.line()
        self._jobs = {one.job: self._jobs[one.job] for one in line if one.job in self._jobs}
        self._passed_over = {job: at for job, at in self._passed_over.items() if at > time.monotonic()}
        if not line:
            return 0
        try:
            with self._client.lock(self._lock_name, timeout=LOCK_SECONDS, blocking=False):
                return self._feed(line)
        except LockError:
            return 0  # another control process feeds, or took over because this one was slow

    @property
    def _lock_name(self) -> str:
        return f"{self._settings.namespace}:control:feeding"

    def _feed(self, line: list[Standing]) -> int:
        lengths = queue_lengths(self._client, self._settings.namespace)
        workers = self._live_workers()
        rooms = [lane.level.room(lane.waiting(lengths), workers) for lane in self._lanes]
        waiting: dict[str, set[int]] | None = None
        held = Counter[str]()
        sent = 0
        for lane, room in zip(self._lanes, rooms, strict=True):
            jobs = {one.job: one for one in line if one.urgent is lane.urgent and self._can_be_sent(one)}
            there = lane.waiting(lengths)
            if jobs and room:
                if waiting is None:
                    waiting = self._waiting()
                    held = self._held(waiting)
                chosen = lane.shares.choose(jobs.values(), self._tenants, room, held)
                for job, most in chosen.items():
                    count = self._send(jobs[job], most, waiting)
                    held[jobs[job].tenant] += count
                    there, sent = there + count, sent + count
            lane.level.left = there
        return sent

    def _live_workers(self) -> int:
        """Return the number of live workers, counted as often as they report: a report has many kilobytes."""
        if time.monotonic() >= self._next_count:
            self._alive, self._next_count = self._workers(), time.monotonic() + REPORT_SECONDS
        return self._alive

    def _waiting(self) -> dict[str, set[int]]:
        # As the reconciler, which sends a chunk again if nobody renews its lease.
        oldest = time.time() - 2 * self._settings.visibility_timeout
        return waiting_by_job(self._client, self._settings.namespace, oldest)

    def _held(self, waiting: Mapping[str, set[int]]) -> Counter[str]:
        """Return how many chunks of each tenant are queued or held; nothing if no tenant has a limit."""
        held = Counter[str]()
        if any(tenant.most_running is not None for tenant in self._tenants.values()):
            for job, tenant in self._ledger.tenants(waiting).items():
                held[tenant] += len(waiting[job])
        return held

    def _send(self, one: Standing, most: int, waiting: Mapping[str, set[int]]) -> int:
        try:
            job, workspace = self._job(one)
        except TraceOcrError as error:
            # The other jobs go on, and control fails this one if it cannot continue.
            structlog.get_logger().warning("job_not_fed", job=one.job, error=str(error))
            self._passed_over[one.job] = time.monotonic() + RETRY_SECONDS
            return 0
        sent = 0
        while sent < most and (chunks := self._ledger.feed(one.job, most - sent)):
            # A job that was submitted again may have messages of before.
            for chunk in chunks:
                if chunk not in waiting.get(one.job, ()):
                    self._dispatcher.send(job, workspace.root, chunk)
                    sent += 1
        return sent

    def _can_be_sent(self, one: Standing) -> bool:
        """Whether a job's workspace could be read, or is to be tried again: others must not wait for it."""
        return time.monotonic() >= self._passed_over.get(one.job, 0.0)

    def _job(self, one: Standing) -> tuple[Job, Workspace]:
        """Return a job and its workspace, read once for each submission."""
        known = self._jobs.get(one.job)
        if known is None or known[0] != one.submissions:
            workspace = open_workspace(one.workspace, self._storage, self._roots)
            known = one.submissions, workspace.require_job(), workspace
            self._on_job(one.job)
            self._jobs[one.job] = known
        return known[1], known[2]
