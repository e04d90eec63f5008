"""When a job ended, or ends at its recent pace, and whether that is before its deadline."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import fmean

from contract.job_status import JobStatus, Mark, Running
from contract.states import CLAIMABLE, ENDED, State

LEAST_SECONDS = 0.001
"""Least time in seconds between two marks: clocks have no better resolution."""


def with_projection(status: JobStatus, live: Collection[str] | None, now: float) -> JobStatus:
    """Return the status with its end, its margin, and whether it is at risk to miss its deadline.

    Args:
        live: names of the workers that are alive; None if unknown
        now: Unix seconds
    """
    if status.status in ENDED:
        return _with_end(status)
    end = projected_end(status, live, now)
    if status.deadline is None:
        return replace(status, projected_end=end, ends_at=end)
    margin = None if end is None else status.deadline - end
    late = now >= status.deadline or (margin is not None and margin < 0)
    stands = status.status is State.PAUSED or (live is not None and not live)
    at_risk = late or stands
    # Until the source is listed, the end is later than what is known now says.
    end, margin = (None, None) if status.planning and not late else (end, margin)
    return replace(status, projected_end=end, ends_at=end, margin_seconds=margin, at_risk=at_risk)


def _with_end(status: JobStatus) -> JobStatus:
    """Return an ended job's status with when that was; older versions have not recorded it for each."""
    ended = {
        State.COMPLETED: status.completed_at,
        State.FAILED: status.failed_at,
        State.CANCELLED: status.cancelled_at,
    }[status.status]
    margin = None if status.deadline is None or ended is None else status.deadline - ended
    return replace(status, ends_at=ended, margin_seconds=margin)


def projected_end(status: JobStatus, live: Collection[str] | None, now: float) -> float | None:
    """Return when the job's items have their lines, in Unix seconds; None while nothing works on it."""
    if status.status is State.FINALIZING:
        return now
    if status.status not in CLAIMABLE:
        return None
    left = status.request_counts.total - status.items_read
    rate = items_per_second(status.rate, status.running, live, now)
    if left <= 0 and not status.planning:
        return now
    return now + left / rate if rate else None


def items_per_second(
    marks: Sequence[Mark], running: Sequence[Running], live: Collection[str] | None, now: float
) -> float:
    """Return the pace of the workers that are at work on a job now; 0 if it is unknown.

    Each worker's pace counts from its first recent chunk; what it has read of its running chunks counts too.
    A worker that has gone counts no longer. One that has ended at most one chunk counts as an average one.

    Args:
        marks: the newest chunks, oldest first
        live: as for `with_projection`
    """
    chunks: defaultdict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        chunks[mark.worker].append(mark)
    read: defaultdict[str, int] = defaultdict(int)
    for run in running:
        read[run.worker] += run.items
    at_work = {name for name in (*chunks, *read) if name and (live is None or name in live)}
    paces, unknown = [], 0
    for name in at_work:
        done = chunks.get(name, [])
        items = sum(mark.items for mark in done[1:]) + read.get(name, 0)
        if len(done) > 1:
            paces.append(items / max(now - done[0].at, LEAST_SECONDS))
        else:
            unknown += 1
    if paces:
        return sum(paces) + unknown * fmean(paces)
    return _whole_pace(marks, at_work, now)


def _whole_pace(marks: Sequence[Mark], at_work: Collection[str], now: float) -> float:
    """Return the pace of workers that have ended one chunk each, at most."""
    ours = [mark for mark in marks if mark.worker in at_work]
    if len(ours) < 2:
        return 0.0
    return sum(mark.items for mark in ours[1:]) / max(now - ours[0].at, LEAST_SECONDS)
