"""A comparison as one HTML file, which loads nothing: pictures, plots, style and script are inside."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from producer.results.evaluation.evaluation import Example
from producer.results.evaluation.pictures import Picture
from producer.results.evaluation.plots import plots_of
from producer.results.evaluation.report import Judged, ModelReport, Report
from producer.results.evaluation.table import COLUMNS, Column, best_of
from producer.results.evaluation.text import ErrorKind, marked
from producer.results.rendering import render, source_of

SHOWN_TEXT = 300
"""Maximum characters of a text that the report shows."""

SHOWN_GROUPS = 40
"""Maximum groups of `by` in the table; `compare.json` has all."""

SHOWN_CONFUSIONS = 12
"""Maximum confusions of each model in the table."""

UNSHOWN = ("exact_low", "exact_high")
"""Columns of CSV that the page shows within another one."""

KINDS = tuple(kind.value for kind in ErrorKind)


@dataclass(frozen=True)
class ShownReading:
    """A model's reading in pieces, each with whether it differs from the truth."""

    number: int
    model: str
    pieces: Sequence[tuple[str, bool]]
    confidence: float
    right: bool | None
    error: str | None


@dataclass(frozen=True)
class ShownCrop:
    """A crop with its picture; `wrong` names each wrong model and its kind of error by their numbers."""

    id: str
    picture: Picture
    truth: str | None
    readings: Sequence[ShownReading]
    wrong: str


def compare_html(report: Report, examples: Sequence[Example], pictures: Sequence[Picture]) -> str:
    """Return the report as HTML; every text in it is inert."""
    style, script = source_of("compare.css"), source_of("compare.js")
    models = report.models
    return render(
        "compare.html",
        report=report,
        policy=_policy(style, script),
        tables=_tables(models),
        best={column.name: best_of(column, models) for column in COLUMNS},
        plots=plots_of(models),
        breakdowns=_breakdowns(report),
        confusions=[_confusions(model) for model in models],
        crops=[_shown(example, picture) for example, picture in zip(examples, pictures, strict=True)],
        kinds=KINDS,
    )


def _tables(models: Sequence[ModelReport]) -> list[tuple[str, list[Column]]]:
    """Return (label, its columns) of the tables of models: one with all would not fit a laptop's screen."""
    names = [column.name for column in COLUMNS]
    split = names.index("threshold")
    shown = {
        label: [column for column in columns if _is_shown(column, models)]
        for label, columns in (
            ("Accuracy", COLUMNS[:split]),
            ("Thresholds and speed", COLUMNS[split:]),
        )
    }
    return [(label, columns) for label, columns in shown.items() if columns]


def _is_shown(column: Column, models: Sequence[ModelReport]) -> bool:
    return column.name not in UNSHOWN and any(column.value(model) is not None for model in models)


def _policy(style: str, script: str) -> str:
    """Return a content policy under which only this style and this script count, and nothing is loaded."""
    allowed = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'{_hash(style)}'",
        "script-src": f"'{_hash(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in allowed.items())


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _breakdowns(report: Report) -> list[tuple[str, list[str]]]:
    """Return (field, its groups) of each breakdown that the report has."""
    judged = [model.accuracy for model in report.models if model.accuracy]
    found = []
    for name in ("by_group", "by_class", "by_length"):
        groups = list(dict.fromkeys(group for one in judged for group in getattr(one, name)))
        if groups:
            found.append((name, groups[:SHOWN_GROUPS]))
    return found


def _confusions(model: ModelReport) -> Sequence[tuple[str, str, int]]:
    found = model.accuracy.confusions[:SHOWN_CONFUSIONS] if model.accuracy else ()
    return [(one.truth, one.read, one.count) for one in found]


def _shown(example: Example, picture: Picture) -> ShownCrop:
    crop = example.disagreement
    truth = None if crop.truth is None else crop.truth[:SHOWN_TEXT]
    # Without a truth, differences are marked against the reading that most confidence is on.
    against = truth if truth is not None else _strongest(crop.readings)
    readings = [
        ShownReading(
            number, one.model, marked(one.value[:SHOWN_TEXT], against), one.confidence, one.right, one.error
        )
        for number, one in enumerate(crop.readings)
    ]
    wrong = " ".join(f"{one.number}-{KINDS.index(one.error)}" for one in readings if one.error)
    return ShownCrop(crop.id, picture, truth, readings, wrong)


def _strongest(readings: Sequence[Judged]) -> str:
    support: dict[str, float] = {}
    for one in readings:
        support[one.value] = support.get(one.value, 0.0) + one.confidence
    return max(support, key=lambda value: support[value])[:SHOWN_TEXT]
