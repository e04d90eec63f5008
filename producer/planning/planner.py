"""Planning inside control: jobs submitted over HTTP, whose caller does not wait for the listing."""

import io
import threading
import time
from collections.abc import Callable
from typing import IO

import redis
import structlog

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.errors import JobError, NotAFileError, SourceError, TraceOcrError, UsageError
from contract.job import Job
from contract.states import CLAIMABLE, ENDED, State
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.planning.submit import FAILED_PLAN_SECONDS, Dispatcher, submit_job
from producer.sources.base import Listing

PLANNERS = 4
"""Jobs planned concurrently: one prefix of ten million objects must not block the other jobs."""

WAIT_SECONDS = 1.0
"""Longest wait for a submission before the loop checks its stop signal again."""

PAUSE_SECONDS = 2.0
"""Pause in seconds after Redis or storage fails, so that an outage does not fill the log."""

LOOK_SECONDS = 10.0
"""Seconds between two checks for abandoned plans."""

ABANDONED_SECONDS = 60.0
"""A plan that has recorded no chunk for this many seconds was interrupted with its control process, and is
resumed. If that process is still alive, both plan the same chunks. This is harmless: each chunk is written
and sent once."""


class Planner:
    """Plans submitted jobs, or re-sends their chunks that have no part; several planners may run at once.

    Args:
        listing: returns the items of a job's source
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        dispatcher: Dispatcher,
        listing: Callable[[Job, IO[bytes]], Listing],
    ) -> None:
        self._ledger, self._storage, self._dispatcher = ledger, storage, dispatcher
        self._listing = listing
        self._next_look = 0.0
        self._planning: set[str] = set()
        self._lock = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set; log outages and wait until they end."""
        while not stop.is_set():
            try:
                submitted = self._ledger.next_submitted(WAIT_SECONDS)
                for job in [submitted] if submitted else self._abandoned():
                    self.plan(job, stop)
            except (redis.RedisError, TraceOcrError) as error:
                structlog.get_logger().warning("planning_put_off", error=str(error))
                stop.wait(PAUSE_SECONDS)
            except Exception:
                structlog.get_logger().exception("planning_failed")
                stop.wait(PAUSE_SECONDS)

    def plan(self, job: str, stop: threading.Event) -> None:
        """Plan one job, unless it has been halted or another thread is planning it."""
        progress = self._ledger.load(job)
        with self._lock:
            if progress is None or progress.status in ENDED or job in self._planning:
                return
            self._planning.add(job)
        try:
            self._plan(progress, stop)
        finally:
            with self._lock:
                self._planning.discard(job)

    def _plan(self, progress: Progress, stop: threading.Event) -> None:
        workspace = open_workspace(progress.workspace, self._storage)
        if workspace.load_halt():
            return
        log = structlog.get_logger().bind(job=progress.job)
        job = workspace.require_job()
        try:
            job = self._submit(job, workspace, stop)
        except SourceError as error:
            log.error("source_refused", error=str(error))  # submit_job has marked the job as failed
        except (UsageError, JobError, NotAFileError) as error:
            workspace.halt(State.FAILED, str(error))
            self._ledger.finish(job.id, State.FAILED, FAILED_PLAN_SECONDS, str(error))
            log.error("job_failed", error=str(error))
        else:
            log.info("job_planned", items=job.plan.items if job.plan else 0, chunks=job.chunks)

    def _submit(self, job: Job, workspace: Workspace, stop: threading.Event) -> Job:
        # Standard input belongs to the submitting command: control never reads a manifest from it.
        listing = self._listing(job, io.BytesIO()).until(stop)
        return submit_job(job, workspace, listing, self._ledger, self._dispatcher)

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
        job = open_workspace(progress.workspace, self._storage).load_job()
        return job is not None and job.planned_by == "control" and job.plan is None
