"""What a job is doing, in words, and whether somebody should look at it: the one place that decides this."""

from contract.counting import counted
from contract.durations import in_words
from contract.job_status import FAILING, JobStatus
from contract.states import State
from producer.control.paces import STUCK_SECONDS
from producer.control.surroundings import Surroundings

MANY_FAILED = 0.05
"""Share of failed items above which somebody should look at an ended job, as of TraceOcrItemErrors."""

SHOWN_ERROR = 160
"""Characters of a failed job's message that a list shows."""

NO_WORKER = "waiting: no worker is alive"
NO_CONTROL = "waiting: no control process is alive"


def attention(status: JobStatus, around: Surroundings) -> str:
    """Return why somebody should look at a job, in a word or two; empty if there is no reason."""
    counts = status.request_counts
    if status.status is State.FAILED:
        return "failed"
    if status.ended:
        return "many errors" if counts.failed > MANY_FAILED * counts.total else ""
    if status.at_risk:
        return "late"
    if status.status in (State.VALIDATING, State.FINALIZING) and not around.has_control:
        return "no control"
    if status.status is State.IN_PROGRESS and not around.workers:
        return "no worker"
    if status.status is State.IN_PROGRESS and around.trouble_of(status.id):
        return FAILING
    return "stalled" if stalled_seconds(status, around) else ""


def stalled_seconds(status: JobStatus, around: Surroundings) -> float:
    """Return for how many seconds a job has stood still, although it should move; 0 if it moves, or waits.

    A job waits while others have the workers. A chunk whose worker reports, but reads nothing, stands still.
    """
    if status.status is State.IN_PROGRESS:
        readers = [around.workers.get(run.worker) for run in status.running]
        ages = [reader.progress_age_seconds for reader in readers if reader is not None]
        if ages and min(ages) > STUCK_SECONDS:
            return min(ages)
        if not status.running and around.held - {status.id}:
            return 0.0
    elif status.status not in (State.VALIDATING, State.FINALIZING):
        return 0.0
    idle = around.now - status.updated_at
    return idle if idle > STUCK_SECONDS else 0.0


def state_text(status: JobStatus, around: Surroundings) -> str:
    """Return what a job is doing, in words. Its place in the line is known."""
    if status.status is State.FAILED:
        return f"failed: {_cut(status.error)}" if status.error else "failed"
    if status.status is State.COMPLETED:
        failed = status.request_counts.failed
        return f"completed, {counted(failed, 'item')} failed" if failed else "completed"
    if status.status is State.CANCELLING and status.running:
        return f"cancelling: {counted(len(status.running), 'chunk')} still running"
    if status.status in (State.VALIDATING, State.FINALIZING, State.IN_PROGRESS):
        return _of_running(status, around)
    return status.status.words


def _of_running(status: JobStatus, around: Surroundings) -> str:
    if status.status is State.IN_PROGRESS and not around.workers:
        return NO_WORKER
    if status.status is not State.IN_PROGRESS and not around.has_control:
        return NO_CONTROL
    trouble = around.trouble_of(status.id) if status.status is State.IN_PROGRESS else None
    if trouble:
        return f"its chunks fail: {_cut(trouble.error)}"
    stalled = stalled_seconds(status, around)
    if stalled:
        return f"stalled for {in_words(stalled)}"
    if status.status is State.VALIDATING:
        return "listing its source"
    if status.status is State.FINALIZING:
        return "merging its results"
    if not status.running:
        return _waiting(status, around)
    return _reading(status, around)


def _waiting(status: JobStatus, around: Surroundings) -> str:
    ahead = status.line.place - 1 if status.line else 0
    ahead = ahead or len(around.held - {status.id})
    if ahead:
        return f"waiting behind {counted(ahead, 'job')}"
    loading = next((worker.activity for worker in around.workers.values() if worker.activity), "")
    return f"waiting: a worker is {loading}" if loading else "waiting for a worker"


def _reading(status: JobStatus, around: Surroundings) -> str:
    readers = [around.workers.get(run.worker) for run in status.running]
    loading = [reader.activity for reader in readers if reader is not None and reader.activity]
    if loading and not status.items_read:
        return f"waiting: a worker is {loading[0]}"
    return "reading while its source is listed" if status.planning else "reading"


def _cut(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= SHOWN_ERROR else line[: SHOWN_ERROR - 3].rstrip() + "..."
