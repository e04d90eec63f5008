"""Which workers are slow beside the others, and which do not move."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from contract.broker.process_report import ProcessReport

STUCK_SECONDS = 120.0
"""A running chunk without progress for this many seconds counts as stuck: its device hangs, or its model is
very slow. The watchdog ends the process later, after `stall_seconds`; an operator should know sooner."""

SLOW_RATIO = 0.5
"""A pace below this share of the median is slow. Equal devices differ by some percent, and by more while
their chunks differ; one that is throttled, shared or starved reads less than half."""

LEAST_COMPARED = 2
"""Workers with the same work from which on their paces are compared."""


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
