"""One sentence about a job: what it does, when it is done, and who works on it."""

from collections.abc import Iterator
from datetime import datetime, tzinfo

from contract.counting import counted
from contract.durations import in_words
from contract.job_status import JobStatus
from contract.states import State
from producer.control.surroundings import Surroundings

NAMED = 2
"""Slow workers that a headline names; the table of workers has them all."""

ENDED = {State.COMPLETED: "Completed", State.FAILED: "Failed", State.CANCELLED: "Cancelled"}


def headline(status: JobStatus, around: Surroundings, zone: tzinfo | None) -> str:
    """Return the sentence, for a status with its `state_text`.

    Args:
        zone: of the clock times; None for this machine's
    """
    parts = _of_ended(status, zone, around.now) if status.ended else _of_running(status, around, zone)
    return "; ".join(parts)


def _of_ended(status: JobStatus, zone: tzinfo | None, now: float) -> Iterator[str]:
    when = ""
    if status.ends_at is not None:
        took = in_words(status.ends_at - status.created_at)
        when = f" at {clock(status.ends_at, zone, now)}, {took} after it was submitted"
    yield f"{ENDED[status.status]}{when}"
    _, _, rest = status.state_text.partition(", " if status.status is State.COMPLETED else ": ")
    if rest:
        yield rest
    yield from _deadline(status)


def _of_running(status: JobStatus, around: Surroundings, zone: tzinfo | None) -> Iterator[str]:
    yield status.state_text[:1].upper() + status.state_text[1:]
    if status.ends_at is not None and status.status is State.IN_PROGRESS and status.running:
        yield f"done about {clock(status.ends_at, zone, around.now)}"
        yield from _deadline(status)
    elif status.at_risk:
        yield "its deadline is at risk"
    workers = sorted({run.worker for run in status.running})
    if workers:
        slow = [name for name in workers if name in around.slow]
        yield counted(len(workers), "worker") + (f", {_named(slow)}" if slow else "")


def _deadline(status: JobStatus) -> Iterator[str]:
    if status.margin_seconds is not None:
        side = "before" if status.margin_seconds >= 0 else "after"
        yield f"{in_words(abs(status.margin_seconds))} {side} its deadline"


def _named(slow: list[str]) -> str:
    if len(slow) > NAMED:
        return f"{len(slow):,} are slow"
    return f"{' and '.join(slow)} {'is' if len(slow) == 1 else 'are'} slow"


def clock(at: float, zone: tzinfo | None, now: float) -> str:
    """Return a time as a clock shows it; with its day, unless that is today."""
    then, today = (datetime.fromtimestamp(moment, zone) for moment in (at, now))
    return then.strftime("%H:%M" if then.date() == today.date() else "%H:%M on %a %d %b")
