"""The control process: merges jobs whose chunks are done, reconciles running jobs, drops ended ones."""

import threading
import time
from dataclasses import dataclass, field

import redis
import structlog
from redis.exceptions import LockError

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.restore import enter_job
from contract.errors import (
    JobError,
    NotAFileError,
    OutsideAllowedRootsError,
    StorageError,
    TraceOcrError,
)
from contract.job import Job
from contract.scratch import sweep_scratch
from contract.settings import Settings
from contract.states import ENDED, RUNNING, State
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tracing import job_span
from contract.workspace import Workspace, open_workspace
from producer.control.deadline import end_at_deadline, ends_now
from producer.control.reconcile import Reconciler
from producer.control.risk import RiskWatch
from producer.notify.events import DAY
from producer.notify.notifier import Notifier
from producer.planning.submit import Dispatcher
from producer.results.merge import has_every_round, merge
from producer.results.sinks import files_of, sweep_formats
from producer.results.sinks.base import Access
from producer.results.status import merged_outcome, status_of

WAIT_SECONDS = 1.0
"""Longest wait for a finished job before the loop checks its stop signal again, by default."""

LOCK_SECONDS = 45.0
"""A job's lock expires this many seconds after its control process dies: longer than the retries of one S3
request. If a merge takes longer, a second process may start it too. That is harmless: merging is idempotent,
and every file is replaced as a whole with the same bytes."""

PAUSE_SECONDS = 2.0
"""Pause in seconds after Redis or storage fails, so that an outage does not fill the log."""


@dataclass
class Control:
    """The long-running producer process; several may run, and a lock gives each job to one at a time."""

    client: redis.Redis
    ledger: Ledger
    storage: Storage
    dispatcher: Dispatcher
    settings: Settings
    wait_seconds: float = WAIT_SECONDS
    known: dict[str, Progress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        allowed = self.settings.allowed_roots
        self._roots = AllowedRoots(allowed) if allowed else None
        self._reconciler = Reconciler(self.ledger, self.dispatcher)
        self.notifier = Notifier(self.settings, self.storage, self.client)
        self._risks = RiskWatch(self.client, self.settings, self.notifier)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set; log outages of Redis and storage and wait until they end."""
        sweep_scratch()
        next_look = 0.0
        while not stop.is_set():
            try:
                if time.monotonic() >= next_look:
                    self.look_at_all()
                    next_look = time.monotonic() + self.settings.reconcile_seconds
                finished = self.ledger.next_finished(self.wait_seconds)
                if finished:
                    self._look_at_id(finished)
            except redis.RedisError as error:
                structlog.get_logger().warning("redis_away", error=str(error))
                stop.wait(PAUSE_SECONDS)

    def notice(self, job: str) -> None:
        """Know a job before its first chunk is sent, so that it is restored if Redis loses it right after."""
        progress = self.ledger.load(job)
        if progress:
            self.known.setdefault(job, progress)

    def look_at_all(self) -> None:
        """Check once every job that has not ended, including jobs that Redis has lost since."""
        for job in self.ledger.jobs():
            self._look_at_id(job)
        for progress in list(self.known.values()):
            if self.ledger.load(progress.job) is None:
                structlog.get_logger().warning("job_lost_by_redis", job=progress.job)
                self._restore(progress)

    def _restore(self, progress: Progress) -> None:
        try:
            workspace = self._open(progress)
            enter_job(workspace.require_job(), workspace, self.ledger, self.settings.retention_seconds)
        except JobError:
            # Its workspace is gone too: there is nothing to restore.
            self.known.pop(progress.job, None)
        except (TraceOcrError, redis.ResponseError) as error:
            structlog.get_logger().error("job_not_restored", job=progress.job, error=str(error))
        else:
            self._look_at_id(progress.job)

    def _look_at_id(self, job: str) -> None:
        progress = self.ledger.load(job)
        if progress is None:
            return
        if progress.status in ENDED:
            self.known.pop(job, None)
            self._reconciler.forget(job)
            self._risks.forget(job)
            self._look_at_end(progress)
            return
        self.known[job] = progress
        try:
            with self.client.lock(self._lock_name(job), timeout=LOCK_SECONDS, blocking=False):
                self._try_to_advance(progress)
        except LockError:
            return  # another control process holds this job, or took it over because this check was slow

    def _look_at_end(self, progress: Progress) -> None:
        """Have an end announced that came from elsewhere, such as a worker, or right before a kill."""
        if progress.updated_at > time.time() - DAY:
            counts = status_of(progress).request_counts
            where = progress.workspace, progress.submissions, progress.status
            self.notifier.job_has_ended(progress.job, *where, counts)

    def _lock_name(self, job: str) -> str:
        return f"{self.settings.namespace}:control:{job}"

    def _try_to_advance(self, progress: Progress) -> None:
        """Advance one job; its errors must not block the other jobs."""
        try:
            self._advance(progress)
        except redis.ResponseError:
            # Redis answers: something in this job's keys is wrong, and the other jobs go on.
            structlog.get_logger().exception("job_stuck", job=progress.job)
        except redis.RedisError:
            raise
        except (JobError, NotAFileError, OutsideAllowedRootsError) as error:
            structlog.get_logger().error("job_failed", job=progress.job, error=str(error))
            self._fail(progress, str(error))
        except StorageError as error:
            structlog.get_logger().error("job_stuck", job=progress.job, error=str(error))
        except Exception:
            structlog.get_logger().exception("job_stuck", job=progress.job)

    def _advance(self, progress: Progress) -> None:
        workspace = self._open(progress)
        merged = workspace.is_complete(progress.job)
        # Load the job after checking the marker: a round of retries removes it last, so no round is missed.
        job = workspace.require_job()
        if job.id != progress.job:
            raise JobError(f"{workspace.root} is now job {job.id}'s: {progress.job} cannot continue")
        if merged and has_every_round(job, workspace):
            self._complete(job, workspace, progress)
            return
        if merged:
            workspace.store.delete(workspace.success)
        if not self._follows_halt(job, workspace, progress):
            return
        if progress.status in RUNNING:
            now = time.time()
            end_at_deadline(job, workspace, now)
            self._reconciler.reconcile(job, workspace, progress, full=ends_now(job, now))
            self._risks.look(job, workspace, progress)
        else:
            self._reconciler.mark(job, workspace, progress)
        if progress.status is State.CANCELLING and not self._is_running(progress):
            self.notifier.announce_end(job, workspace, status_of(progress).request_counts)
            self._finish(progress, State.CANCELLED)
        fresh = self.ledger.load(progress.job)
        if fresh and fresh.status is State.FINALIZING:
            begun_before = workspace.was_merged(job.id)
            with job_span("merge", job):
                summary = merge(job, workspace, access=Access(self.storage, self.settings))
            swept = workspace.sweep()
            if begun_before:
                swept += sweep_formats(files_of(job, workspace), workspace)
            structlog.get_logger().info("job_completed", job=job.id, swept=swept, **summary["request_counts"])
            self._complete(job, workspace, progress)

    def _follows_halt(self, job: Job, workspace: Workspace, progress: Progress) -> bool:
        """Return whether the ledger agrees with `halt.json`; if not, since a command died, make it agree."""
        halt = workspace.load_halt()
        if halt is None:
            if progress.status not in RUNNING:
                enter_job(job, workspace, self.ledger, self.settings.retention_seconds)
            return progress.status in RUNNING
        if halt.status is State.FAILED:
            self.notifier.announce_end(job, workspace, status_of(progress).request_counts)
            self._finish(progress, State.FAILED, halt.message)
            return False
        wanted = State.PAUSED if halt.status is State.PAUSED else State.CANCELLING
        # The ledger refuses to pause a job that is only to be merged; that one goes on.
        held = progress.status is not wanted and self.ledger.hold(progress.job, wanted, progress.submissions)
        return not held

    def _complete(self, job: Job, workspace: Workspace, progress: Progress) -> None:
        """End a merged job with the counts of its summary: Redis may have lost some, or list errors twice."""
        summary = workspace.load_summary()
        if summary and job.plan and "request_counts" in summary:
            outcome = merged_outcome(summary, workspace)
            self.ledger.recount(progress.job, progress.submissions, job.chunks, outcome)
            self.ledger.plan_done(progress.job, job.chunks, job.plan.items)
        self.notifier.announce_end(job, workspace)
        self._finish(progress, State.COMPLETED)

    def _is_running(self, progress: Progress) -> bool:
        """Whether a worker is still reading a chunk; one that has not reported within its lease is not."""
        oldest = time.time() - self.settings.visibility_timeout
        return any(run.seen_at > oldest for run in progress.running)

    def _open(self, progress: Progress) -> Workspace:
        return open_workspace(progress.workspace, self.storage, self._roots)

    def _fail(self, progress: Progress, reason: str) -> None:
        try:
            workspace = self._open(progress)
            if workspace.is_of(progress.job):
                workspace.halt(State.FAILED, reason)
                self.notifier.announce_end(
                    workspace.require_job(), workspace, status_of(progress).request_counts
                )
        except (StorageError, JobError) as error:
            structlog.get_logger().error("failure_not_recorded", job=progress.job, error=str(error))
        self._finish(progress, State.FAILED, reason)

    def _finish(self, progress: Progress, status: State, reason: str = "") -> None:
        self.ledger.finish(
            progress.job, status, self.settings.retention_seconds, reason, progress.submissions
        )
