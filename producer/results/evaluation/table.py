"""The table of models: its columns, which value of each is the best, and the table as CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from producer.results.cells import cell
from producer.results.evaluation.report import Accuracy, ModelReport


@dataclass(frozen=True)
class Column:
    """A figure of each model.

    Args:
        name: in CSV
        title: in reports
        value: returns it; None if a model has none
        shown: returns it as text
        higher_is_better: None if neither is
    """

    name: str
    title: str
    value: Callable[[ModelReport], float | None]
    shown: Callable[[float], str]
    higher_is_better: bool | None = True


def _of(pick: Callable[[Accuracy], float | None]) -> Callable[[ModelReport], float | None]:
    return lambda model: pick(model.accuracy) if model.accuracy else None


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


COLUMNS = (
    Column("exact", "exact match", _of(lambda one: one.exact.share), _percent),
    Column("exact_low", "from", _of(lambda one: one.exact.interval.low), _percent, None),
    Column("exact_high", "to", _of(lambda one: one.exact.interval.high), _percent, None),
    Column("caseless", "caseless", _of(lambda one: one.caseless), _percent),
    Column("anyascii", "anyascii", _of(lambda one: one.anyascii), _percent),
    Column("unicase", "unicase", _of(lambda one: one.unicase), _percent),
    Column("cer", "CER", _of(lambda one: one.cer), _percent, False),
    Column("wer", "WER", _of(lambda one: one.wer), _percent, False),
    Column("one_minus_ned", "1-NED", _of(lambda one: one.one_minus_ned), _percent),
    Column("outside_vocabulary", "outside vocabulary", _of(lambda one: one.outside_vocabulary), _count, None),
    Column(
        "exact_within_vocabulary",
        "exact within it",
        _of(lambda one: one.within_vocabulary.share if one.within_vocabulary else None),
        _percent,
    ),
    Column(
        "threshold",
        "threshold",
        _of(lambda one: one.threshold.confidence if one.threshold else None),
        lambda value: f"{value:.4f}",
        None,
    ),
    Column(
        "review",
        "to review",
        _of(lambda one: one.threshold.review if one.threshold else None),
        _percent,
        False,
    ),
    Column(
        "crops_per_second",
        "crops/s",
        lambda model: model.speed.crops_per_second if model.speed else None,
        _count,
    ),
    Column(
        "device_seconds_per_million",
        "device s per million",
        lambda model: model.speed.device_seconds_per_million if model.speed else None,
        _count,
        False,
    ),
    Column("mean_confidence", "mean confidence", lambda model: model.mean_confidence, _percent, None),
)


def best_of(column: Column, models: Sequence[ModelReport]) -> float | None:
    """Return the best value of a column; None if none is better than another."""
    values = [value for model in models if (value := column.value(model)) is not None]
    if column.higher_is_better is None or len(set(values)) < 2:
        return None
    return max(values) if column.higher_is_better else min(values)


def to_csv(models: Sequence[ModelReport]) -> str:
    """Return the table as CSV with full precision, a row per model; empty cells for missing values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", *(column.name for column in COLUMNS)])
    for model in models:
        writer.writerow([cell(model.name), *(column.value(model) for column in COLUMNS)])
    return text.getvalue()
