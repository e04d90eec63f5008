"""Planning inside control: jobs submitted over HTTP, whose caller does not wait for the listing."""

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import IO

import redis
import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.counting import counted
from contract.errors import (
    InterruptedRunError,
    JobError,
    JobHaltedError,
    NotAFileError,
    OutsideAllowedRootsError,
    SourceError,
    TraceOcrError,
    UsageError,
)
from contract.job import Job
from contract.states import CLAIMABLE, ENDED, State
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tenants import Tenant, tenant_of
from contract.workspace import Workspace, open_workspace
from producer.planning.submit import FAILED_PLAN_SECONDS, Dispatcher, fail_plan, plan_and_send
from producer.planning.turns import Turn, Turns
from producer.sources.base import Listing

PLANNERS = 4
"""Threads that plan, besides one for urgent jobs alone: a listing that hangs holds one of them."""

WAIT_SECONDS = 1.0
"""Longest wait for a submission before the loop checks its stop signal again."""

LEAST_WAIT_SECONDS = 0.01
"""Wait for a submission while a plan waits for its turn; Redis takes 0 for no limit."""

PAUSE_SECONDS = 2.0
"""Pause in seconds after Redis or storage fails, so that an outage does not fill the log."""

LOOK_SECONDS = 10.0
"""Seconds between two checks for abandoned plans."""

ABANDONED_SECONDS = 60.0
"""A plan that has recorded no chunk for this many seconds was interrupted with its control process, and is
resumed. If that process is still alive, both plan the same chunks. This is harmless: each chunk is written
and sent once."""


class Planner:
    """Plans submitted jobs, or re-sends their chunks that have no part. Plans take turns.

    Several threads may run one planner, and several processes may have one.

    Args:
        listing: returns the items of a job's source
        roots: what workspaces must lie below; None if everything is allowed
        tenants: by name; one that is missing has no limit
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        dispatcher: Dispatcher,
        listing: Callable[[Job, IO[bytes]], Listing],
        roots: AllowedRoots | None = None,
        tenants: Mapping[str, Tenant] = MappingProxyType({}),
    ) -> None:
        self._ledger, self._storage, self._dispatcher = ledger, storage, dispatcher
        self._listing, self._roots, self._tenants = listing, roots, tenants
        self._next_look = 0.0
        self._turns = Turns()
        self._lock = threading.Lock()

    def run(self, stop: threading.Event, *, urgent: bool = False) -> None:
        """Serve until `stop` is set; log outages and wait until they end.

        Args:
            urgent: serve urgent jobs only
        """
        while not stop.is_set():
            try:
                turn = self._next(stop, urgent=urgent)
                if turn:
                    self._take(turn)
            except (redis.RedisError, TraceOcrError) as error:
                structlog.get_logger().warning("planning_delayed", error=str(error))
                stop.wait(PAUSE_SECONDS)
            except Exception:
                structlog.get_logger().exception("planning_failed")
                stop.wait(PAUSE_SECONDS)
        with contextlib.suppress(redis.RedisError):
            while turn := self._turns.next(urgent=urgent):
                self._turns.end(turn.job)
                # Another control process goes on with it at once.
                self._ledger.submit(turn.job, urgent=turn.urgent)

    def plan(self, job: str, stop: threading.Event) -> None:
        """Plan one job to its end, unless it has ended, is halted or is being planned here."""
        turn = self._begin(job, stop)
        while turn:
            self._take(turn)
            turn = self._turns.next(urgent=False)

    def _next(self, stop: threading.Event, *, urgent: bool) -> Turn | None:
        """Return the first turn of a new submission, or else of the plan that has waited longest."""
        waiting, full = self._turns.any_waiting(urgent=urgent), self._turns.full and not urgent
        if full and not waiting:
            stop.wait(WAIT_SECONDS)
        elif not full:
            submitted = self._ledger.next_submitted(
                LEAST_WAIT_SECONDS if waiting else WAIT_SECONDS, urgent=urgent
            )
            if submitted:
                return self._begin(submitted, stop)
        for job in self._abandoned():
            turn = None if job in self._turns else self._begin(job, stop)
            if turn:
                self._turns.wait(turn)
        return self._turns.next(urgent=urgent)

    def _take(self, turn: Turn) -> None:
        ended = True
        try:
            ended = turn.take()
        finally:
            if not ended:
                self._turns.wait(turn)
            elif self._turns.end(turn.job):
                # The plan may have ended because of a halt that this submission has removed.
                self._ledger.submit(turn.job, urgent=turn.urgent)

    def _begin(self, job: str, stop: threading.Event) -> Turn | None:
        progress = self._ledger.load(job)
        if progress is None or progress.status in ENDED or not self._turns.begin(job):
            return None
        try:
            workspace = self._open(progress)
            record = workspace.require_job()
            if record.id != job:
                raise JobError(
                    f"{workspace.root} is job {record.id}'s: submit {job} into a workspace of its own"
                )
        except (JobError, OutsideAllowedRootsError) as error:
            # Nothing is written into a place that is not the job's.
            self._turns.end(job)
            self._ledger.finish(job, State.FAILED, FAILED_PLAN_SECONDS, str(error), progress.submissions)
            structlog.get_logger().error("job_failed", job=job, error=str(error))
            return None
        except BaseException:
            self._turns.end(job)
            raise
        return Turn(job, record.urgent, self._plan(record, workspace, stop))

    def _open(self, progress: Progress) -> Workspace:
        return open_workspace(progress.workspace, self._storage, self._roots)

    def _plan(self, job: Job, workspace: Workspace, stop: threading.Event) -> Iterator[None]:
        if workspace.load_halt():
            return
        log = structlog.get_logger().bind(job=job.id)
        try:
            # Standard input belongs to the submitting command: control never reads a manifest from it.
            listing = self._listing(job, io.BytesIO()).until(stop).checked(self._room_check(job))
            job = yield from plan_and_send(job, workspace, listing, self._ledger, self._dispatcher)
        except SourceError as error:
            log.error("source_refused", error=str(error))  # plan_and_send has marked the job as failed
        except (UsageError, JobError, NotAFileError) as error:
            fail_plan(job, workspace, self._ledger, str(error))
            log.error("job_failed", error=str(error))
        except JobHaltedError as error:
            log.info("planning_halted", reason=str(error))
        except InterruptedRunError:
            self._ledger.submit(job.id, urgent=job.urgent)
        else:
            log.info("job_planned", items=job.plan.items if job.plan else 0, chunks=job.chunks)

    def _room_check(self, job: Job) -> Callable[[], None]:
        """Return a function to call before each item: it raises UsageError once the job's tenant has more
        items waiting than it may. It looks at other jobs once per chunk."""
        most = tenant_of(job.tenant, self._tenants).most_items
        items, others = count(1), 0

        def check() -> None:
            nonlocal others
            number = next(items)
            if most is None:
                return
            if number % job.chunk_size == 1 or job.chunk_size == 1:
                others = self._ledger.items_waiting(job.tenant, besides=job.id)
            if others + number > most:
                raise UsageError(
                    f"the tenant {job.tenant} may have {counted(most, 'item')} waiting: {others:,} of other "
                    f"jobs wait, and this one has more than {number - 1:,}. Submit it again once some are "
                    "read, or in parts"
                )

        return check

    def _abandoned(self) -> list[str]:
        """Return the jobs whose planning in a control process was interrupted; checks every LOOK_SECONDS."""
        now = time.monotonic()
        with self._lock:
            if now < self._next_look:
                return []
            self._next_look = now + LOOK_SECONDS
        known = (self._ledger.load(job) for job in self._ledger.jobs())
        return [progress.job for progress in known if progress and self._is_abandoned(progress)]

    def _is_abandoned(self, progress: Progress) -> bool:
        if progress.items_total is not None or progress.status not in CLAIMABLE:
            return False
        if time.time() - progress.timestamps.get("planned_at", 0.0) < ABANDONED_SECONDS:
            return False
        try:
            job = self._open(progress).load_job()
        except OutsideAllowedRootsError:
            return False
        return job is not None and job.planned_by == "control" and job.plan is None
