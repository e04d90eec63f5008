"""What a merge adds up over a job's chunks: lines, seconds, models."""

from collections import Counter
from dataclasses import dataclass, field

from contract.lines import Failure
from contract.records import ChunkStatistics

PAUSE_SECONDS = 1.0
"""Longest gap between two chunks that still counts as reading: a worker starts its next in milliseconds."""


@dataclass
class Totals:
    """The sums so far."""

    completed: int = 0
    failed: int = 0
    error_codes: Counter[str] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    places_filled: float = 0.0
    notes: int = 0
    models: list[dict[str, str]] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    fitting_batch_sizes: set[int] = field(default_factory=set)
    items_timed: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)
    reviewed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, failure: Failure) -> None:
        """Count one line of an error; all other lines are results."""
        self.failed += 1
        self.error_codes[failure.code.value] += 1

    def add(self, statistics: ChunkStatistics) -> None:
        """Add one chunk's statistics."""
        self.stage_seconds.update(statistics.stage_seconds)
        self.counts.update(statistics.counts)
        self.batches += statistics.batches
        self.places_filled += statistics.batches * statistics.batch_fill
        self.notes += statistics.notes
        self.workers.add(statistics.worker)
        if statistics.begun_at is not None and statistics.ended_at is not None:
            # Lines that were taken over say nothing about the rate of reading.
            reused = statistics.counts.get("reused", 0)
            self.items_timed += statistics.completed + statistics.failed - reused
            self.times.append((statistics.begun_at, statistics.ended_at))
        if statistics.fitting_batch_size:
            self.fitting_batch_sizes.add(statistics.fitting_batch_size)
        for model in statistics.models:
            if model not in self.models:
                self.models.append(model)

    @property
    def reading_seconds(self) -> float:
        """Seconds during which at least one chunk was being read, without pauses and the start of workers."""
        return sum(ended - begun for begun, ended in _union(self.times))


def _union(times: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the intervals in order, joined where gaps are PAUSE_SECONDS or shorter."""
    united: list[tuple[float, float]] = []
    for begun, ended in sorted(times):
        if united and begun <= united[-1][1] + PAUSE_SECONDS:
            united[-1] = united[-1][0], max(united[-1][1], ended)
        elif begun < ended:
            united.append((begun, ended))
    return united
