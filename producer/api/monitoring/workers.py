"""The live processes as people look at them: what each does, how fast, and which are slow."""

from collections.abc import Callable, Iterable

from contract.broker.process_report import ProcessReport
from contract.durations import in_words
from contract.system_status import ChunkInHand, ProcessStatus, WorkerState
from producer.control.paces import STUCK_SECONDS, is_slow, pace_ratios


def process_list(
    reports: Iterable[ProcessReport], now: float, may_see: Callable[[str], bool]
) -> tuple[ProcessStatus, ...]:
    """Return the processes of the reports, in their order.

    Args:
        now: Unix seconds
        may_see: whether the caller may see a job, by its id
    """
    known = list(reports)
    ratios = pace_ratios(known)
    return tuple(_process(report, ratios.get((report.name, report.pid)), now, may_see) for report in known)


def _process(
    report: ProcessReport, ratio: float | None, now: float, may_see: Callable[[str], bool]
) -> ProcessStatus:
    shown = (
        *("name", "role", "pid", "host", "device", "started_at", "seen_at", "progress_age_seconds"),
        *("utilisation", "memory_used", "memory_total", "busy", "items_per_second"),
    )
    fields = {name: getattr(report, name) for name in shown}
    if report.role != "worker":
        return ProcessStatus(**fields)
    in_hand = tuple(
        ChunkInHand(one.job if may_see(one.job) else None, one.kind, one.chunk, one.items, one.since)
        for one in report.in_hand
    )
    # What the report said, plus the time since.
    moved = report.progress_age_seconds + max(0.0, now - report.seen_at) if _works(report) else None
    state, text = _state(report, in_hand)
    return ProcessStatus(
        **fields,
        state=state,
        state_text=text,
        in_hand=in_hand,
        ratio=ratio,
        slow=is_slow(ratio),
        moved_seconds_ago=moved,
    )


def _works(report: ProcessReport) -> bool:
    return bool(report.in_hand) or report.progress_age_seconds > 0


def _state(report: ProcessReport, in_hand: tuple[ChunkInHand, ...]) -> tuple[WorkerState, str]:
    if report.progress_age_seconds > STUCK_SECONDS:
        return "stuck", f"no movement for {in_words(report.progress_age_seconds)}"
    if report.activity:
        return "loading", report.activity
    if in_hand:
        first = min(in_hand, key=lambda one: one.since)
        return "reading", f"reading chunk {first.chunk}" + (f" of {first.job}" if first.job else "")
    return ("reading", "reading") if _works(report) else ("idle", "idle")
