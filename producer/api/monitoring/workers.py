"""The live processes as people look at them: what each does, how fast, and which are slow."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import median

from contract.broker.process_report import ProcessReport
from contract.system_status import ChunkInHand, ProcessStatus, WorkerState
from producer.api.monitoring.health import STUCK_SECONDS

SLOW_RATIO = 0.5
"""A pace below this share of the median is slow. Equal devices differ by some percent, and by more while
their chunks differ; one that is throttled, shared or starved reads less than half."""

LEAST_COMPARED = 2
"""Workers with the same work from which on their paces are compared."""


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
    return tuple(_process(report, ratios.get(_key(report)), now, may_see) for report in known)


def pace_ratios(reports: Iterable[ProcessReport]) -> Mapping[tuple[str, int], float]:
    """Return each worker's pace over the median of those with the same work, by name and process id."""
    alike: defaultdict[str, list[tuple[tuple[str, int], float]]] = defaultdict(list)
    for report in reports:
        if report.role == "worker" and report.work and report.pace is not None:
            alike[report.work].append((_key(report), report.pace))
    ratios: dict[tuple[str, int], float] = {}
    for paces in alike.values():
        middle = median(pace for _, pace in paces)
        if len(paces) >= LEAST_COMPARED and middle > 0:
            ratios |= {key: pace / middle for key, pace in paces}
    return ratios


def is_slow(ratio: float | None) -> bool:
    """Return whether a worker with this ratio is slow."""
    return ratio is not None and ratio < SLOW_RATIO


def slow_names(reports: Iterable[ProcessReport]) -> list[str]:
    """Return the names of the slow workers."""
    return sorted({name for (name, _), ratio in pace_ratios(reports).items() if is_slow(ratio)})


def _key(report: ProcessReport) -> tuple[str, int]:
    return report.name, report.pid


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
        return "stuck", f"no movement for {report.progress_age_seconds / 60:.0f} min"
    if report.activity:
        return "loading", report.activity
    if in_hand:
        first = min(in_hand, key=lambda one: one.since)
        return "reading", f"reading chunk {first.chunk + 1:,}" + (f" of {first.job}" if first.job else "")
    return ("reading", "reading") if _works(report) else ("idle", "idle")
