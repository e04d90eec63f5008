"""Whether a night is worse than the nights before it, by more than those differ among themselves.

Each figure of tonight is compared with the interval in which one more night is expected: for k nights,
mean ± t * s * sqrt(1 + 1/k) (Hahn & Meeker, Statistical Intervals, 1991, section 4.7). s is at least the
standard error that follows from tonight's own number of items. Student's t becomes a normal deviate by
Wallace's formula (Annals of Mathematical Statistics 30, 1959). The chance of an alarm at the limit of three
deviations, as on Shewhart's charts, is divided by the number of comparisons (Bonferroni).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Any, NamedTuple

MIN_NIGHTS = 5
"""Nights before without which there is no comparison: fewer say nothing about how much nights differ."""

MAX_NIGHTS = 28
"""Nights that are compared with: four weeks, so that a lasting change becomes the rule after some time."""

MIN_ITEMS = 30
"""Items, or readings, of a group below which a night says nothing about it."""

LIMIT = 3.0
"""Deviations beyond which a figure has drifted, as on Shewhart's charts: by chance, one night of 740."""

Summary = Mapping[str, Any]
_Key = tuple[str | None, str]


class Drift(NamedTuple):
    """One figure that got worse: `value` tonight, `before` the mean of the nights before; shares in 0..1.

    `measure` is `confidence`, `empty` or an error code; `group` is a folder, or None for the whole night.
    `deviations` is the distance in standard deviations of a normal distribution.
    """

    measure: str
    group: str | None
    value: float
    before: float
    nights: int
    deviations: float

    def __str__(self) -> str:
        where = f" in {self.group}" if self.group else ""
        if self.measure == "confidence":
            return f"mean confidence{where} is {self.value:.3f}, {self.before:.3f} in the nights before"
        what = "empty readings" if self.measure == "empty" else f"{self.measure} errors"
        return f"{what}{where} are {self.value:.2%}, {self.before:.2%} in the nights before"


class _Figure(NamedTuple):
    """A share or a mean of `size` values, and their standard deviation; `worse` is +1 if more is worse."""

    value: float
    size: int
    spread: float
    worse: int


def drifted(tonight: Summary, nights: Sequence[Summary]) -> list[Drift]:
    """Return the figures of tonight that are worse than chance explains, the worst first.

    Args:
        nights: summaries of nights before, of the same parameters
    """
    before = [dict(_figures(night)) for night in nights]
    compared = []
    for key, figure in _figures(tonight):
        past = [night.get(key) or _without(key, night) for night in before]
        known = [one for one in past if one and one.size >= MIN_ITEMS]
        if figure.size >= MIN_ITEMS and len(known) >= MIN_NIGHTS:
            compared.append((key, figure, known))
    limit = _limit(len(compared))
    found = [
        Drift(measure, group, figure.value, fmean(one.value for one in known), len(known), deviations)
        for (group, measure), figure, known in compared
        if (deviations := _deviations(figure, known)) > limit
    ]
    return sorted(found, key=lambda one: -one.deviations)


def _limit(comparisons: int) -> float:
    """Return the limit of each of several comparisons that together raise as many false alarms as one."""
    normal = NormalDist()
    return -normal.inv_cdf(normal.cdf(-LIMIT) / max(1, comparisons))


def _deviations(figure: _Figure, known: Sequence[_Figure]) -> float:
    """Return by how many deviations tonight is worse than another night is expected to be; 0 if it is not."""
    values = [one.value for one in known]
    nights, worse = len(values), (figure.value - fmean(values)) * figure.worse
    if worse <= 0:
        return 0.0
    spread = max(stdev(values), _standard_error(figure, known)) * math.sqrt(1 + 1 / nights)
    return _normal_of_t(worse / spread, nights - 1) if spread else math.inf


def _standard_error(figure: _Figure, known: Sequence[_Figure]) -> float:
    """Return how much tonight's figure would vary if its values were drawn from those of all nights."""
    if figure.spread:
        return figure.spread / math.sqrt(figure.size)
    counts = sum(one.size for one in (figure, *known))
    share = sum(one.value * one.size for one in (figure, *known)) / counts
    return math.sqrt(share * (1 - share) / figure.size)


def _normal_of_t(t: float, freedom: int) -> float:
    """Return the normal deviate that is about as unlikely as a value of Student's t (Wallace 1959)."""
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))


def _figures(summary: Summary) -> Iterator[tuple[_Key, _Figure]]:
    quality = summary.get("quality")
    if not quality:
        return
    for group, figures in ((None, quality), *quality["groups"].items()):
        items, failed = figures["items"], sum(figures["error_codes"].values())
        if figures["mean_confidence"] is not None:
            spread = figures["confidence_deviation"]
            yield (group, "confidence"), _Figure(figures["mean_confidence"], figures["readings"], spread, -1)
        if figures["empty_share"] is not None:
            yield (group, "empty"), _Figure(figures["empty_share"], items - failed, 0.0, 1)
        for code, count in figures["error_codes"].items():
            yield (group, code), _Figure(count / items, items, 0.0, 1)


def _without(key: _Key, night: Mapping[_Key, _Figure]) -> _Figure | None:
    """Return the figure of an error code that a night did not have; None if it did not have the group."""
    empty = night.get((key[0], "empty"))
    return _Figure(0.0, empty.size, 0.0, 1) if empty and key[1] not in ("confidence", "empty") else None
