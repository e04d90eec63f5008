"""The plots of a report: positions for the SVG in its template.

No plotting library: small ones put a script and a style of its own into each plot, which the report's content
policy forbids.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from producer.results.evaluation.report import Accuracy, ModelReport

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46
"""Size and margins in SVG units: about a pixel each on a phone."""

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
"""Distances between two gridlines of shares."""

GRIDLINES = 5
"""Maximum gridlines of an axis."""


@dataclass(frozen=True)
class Tick:
    """A gridline's position, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Series:
    """One model's line: its number, its points, and marks with their text."""

    number: int
    name: str
    points: str
    marks: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Plot:
    """One plot; `said` is its content in words."""

    title: str
    x_title: str
    y_title: str
    said: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    series: Sequence[Series]
    width: int = field(default=WIDTH)
    height: int = field(default=HEIGHT)
    left: int = field(default=LEFT)
    right: int = field(default=WIDTH - RIGHT)
    top: int = field(default=TOP)
    bottom: int = field(default=HEIGHT - BOTTOM)


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def plots_of(models: Sequence[ModelReport]) -> list[Plot]:
    """Return the plots that the models have the figures for."""
    made = (_risk_coverage(models), _by_length(models), _speed(models))
    return [plot for plot in made if plot]


def _risk_coverage(models: Sequence[ModelReport]) -> Plot | None:
    curves = [(number, model.name, one.risk_coverage) for number, model, one in _judged(models)]
    if not any(curve for _, _, curve in curves):
        return None
    x = _x(0, 1)
    y, y_ticks = _share_axis(0, max(point.risk for _, _, curve in curves for point in curve))
    series = [
        Series(number, name, _points((x.at(point.coverage), y.at(point.risk)) for point in curve))
        for number, name, curve in curves
    ]
    said = "; ".join(
        f"{name}: {curve[-1].risk:.1%} wrong if all are accepted" for _, name, curve in curves if curve
    )
    x_ticks = [Tick(x.at(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]
    return Plot("Risk by coverage", "accepted", "of them wrong", said, x_ticks, y_ticks, series)


def _by_length(models: Sequence[ModelReport]) -> Plot | None:
    judged = _judged(models)
    lengths = list(dict.fromkeys(name for _, _, accuracy in judged for name in accuracy.by_length))
    if not lengths:
        return None
    x = _x(-0.5, len(lengths) - 0.5)
    shares = [one.share or 0 for _, _, accuracy in judged for one in accuracy.by_length.values()]
    y, y_ticks = _share_axis(min(shares), 1)
    series = []
    for number, model, accuracy in judged:
        found = [(place, accuracy.by_length.get(length)) for place, length in enumerate(lengths)]
        marks = tuple(
            (
                x.at(place),
                y.at(one.share or 0),
                f"{model.name}, length {lengths[place]}: {one.right} of {one.total}",
            )
            for place, one in found
            if one
        )
        series.append(Series(number, model.name, _points((left, top) for left, top, _ in marks), marks))
    said = f"lengths {', '.join(lengths)}"
    x_ticks = [Tick(x.at(place), length) for place, length in enumerate(lengths)]
    return Plot("Accuracy by length", "characters of the truth", "exact", said, x_ticks, y_ticks, series)


def _speed(models: Sequence[ModelReport]) -> Plot | None:
    timed = [
        (number, model.name, model.speed.crops_per_second, accuracy.exact.share or 0)
        for number, model, accuracy in _judged(models)
        if model.speed
    ]
    if len(timed) < 2:
        return None
    fastest = max(speed for _, _, speed, _ in timed)
    step = 10 ** math.floor(math.log10(fastest))
    step = next(step * part for part in (0.2, 0.5, 1, 2, 5) if fastest / (step * part) <= GRIDLINES)
    x = _x(0, step * math.ceil(fastest / step + 0.01))
    y, y_ticks = _share_axis(min(share for *_, share in timed), max(share for *_, share in timed))
    series = [
        Series(
            number,
            name,
            "",
            ((x.at(speed), y.at(share), f"{name}: {share:.1%} exact, {speed:,.0f} crops/s"),),
        )
        for number, name, speed, share in timed
    ]
    said = "; ".join(mark[2] for one in series for mark in one.marks)
    count = round(x.high / step)
    x_ticks = [Tick(x.at(place * step), f"{place * step:,.10g}") for place in range(count + 1)]
    return Plot("Speed and accuracy", "crops per second", "exact", said, x_ticks, y_ticks, series)


def _judged(models: Sequence[ModelReport]) -> list[tuple[int, ModelReport, Accuracy]]:
    return [(number, model, model.accuracy) for number, model in enumerate(models) if model.accuracy]


def _x(low: float, high: float) -> _Axis:
    return _Axis(low, high, LEFT, WIDTH - RIGHT)


def _share_axis(low: float, high: float) -> tuple[_Axis, list[Tick]]:
    """Return an axis for shares from `low` to `high`, and its gridlines at round values."""
    step = next((step for step in STEPS if (high - low) / step <= GRIDLINES - 1), STEPS[-1])
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = (first - 1, last) if last * step >= 1 else (first, last + 1)
    axis = _Axis(first * step, last * step, HEIGHT - BOTTOM, TOP)
    digits = 1 if step < 0.01 else 0
    return axis, [
        Tick(axis.at(place * step), f"{place * step:.{digits}%}") for place in range(first, last + 1)
    ]


def _points(positions: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{left},{top}" for left, top in positions)
