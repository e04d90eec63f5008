"""How certain a share, a difference between two models, or a threshold is."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

Z = 1.959963984540054
"""Standard deviations on either side of the mean that hold 95% of a normal distribution."""

CURVE_POINTS = 200
"""Maximum points of a risk-coverage curve: more than a plot has pixels for."""

NEGLIGIBLE = 1e-18
"""Share of a sum below which its remaining, ever smaller terms are not added."""


class Interval(NamedTuple):
    """A 95% interval of a share."""

    low: float
    high: float


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """The share of crops whose confidence is at least `threshold`, and the share of them that is wrong."""

    threshold: float
    coverage: float
    risk: float


class Threshold(msgspec.Struct, frozen=True):
    """The lowest confidence at which accepted readings reach the wanted precision.

    `accepted` and `review` are shares of all crops with a truth; `precision` is of the accepted ones, and
    `interval` its 95% interval.
    """

    confidence: float
    accepted: float
    review: float
    precision: float
    interval: Interval


def wilson(right: int, total: int) -> Interval:
    """Return Wilson's 95% score interval of a share (Wilson 1927); the whole range if there is nothing."""
    if not total:
        return Interval(0.0, 1.0)
    share, square = right / total, Z * Z
    centre = share + square / (2 * total)
    spread = Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    low = 0.0 if right == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if right == total else min(1.0, (centre + spread) / scale)
    return Interval(low, high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of McNemar's exact test: a two-sided binomial test of the discordant pairs.

    Args:
        only_first: crops that only the first of two models read right
        only_second: crops that only the second one read right
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    # From the largest term of the tail to the smallest; in logarithms, since 2**total overflows.
    log = math.lgamma(total + 1) - math.lgamma(fewer + 1) - math.lgamma(total - fewer + 1)
    term = math.exp(log - total * math.log(2))
    tail = 0.0
    for successes in range(fewer, -1, -1):
        tail += term
        term *= successes / (total - successes + 1)
        if term <= tail * NEGLIGIBLE:
            break
    return min(1.0, 2 * tail)


def accepted_at(confidences: Iterable[float], right: Iterable[int]) -> Iterator[tuple[float, int, int]]:
    """Yield (threshold, accepted, right ones of them) for each distinct confidence, highest first."""
    accepted = good = 0
    last: float | None = None
    for confidence, is_right in sorted(zip(confidences, right, strict=True), reverse=True):
        if last is not None and confidence != last:
            yield last, accepted, good
        accepted, good, last = accepted + 1, good + is_right, confidence
    if last is not None:
        yield last, accepted, good


def risk_coverage(
    steps: Sequence[tuple[float, int, int]], total: int, points: int = CURVE_POINTS
) -> tuple[CurvePoint, ...]:
    """Return points of the risk-coverage curve, evenly spread over the steps of `accepted_at`."""
    if not steps:
        return ()
    chosen = {round(place * (len(steps) - 1) / max(1, points - 1)) for place in range(points)}
    return tuple(
        CurvePoint(threshold, accepted / total, 1 - good / accepted)
        for threshold, accepted, good in (steps[place] for place in sorted(chosen))
    )


def threshold_for(precision: float, steps: Iterable[tuple[float, int, int]], total: int) -> Threshold | None:
    """Return the threshold that accepts the most crops with at least that precision; None if none does."""
    reaching = [step for step in steps if step[2] >= precision * step[1]]
    if not reaching:
        return None
    confidence, accepted, good = reaching[-1]
    share = accepted / total
    return Threshold(confidence, share, 1 - share, good / accepted, wilson(good, accepted))
