"""What each model cost, from the seconds that a job's stages took."""

from collections.abc import Mapping
from typing import Any

from contract.cascade import parse_cascade
from producer.results.evaluation.report import Speed

FORWARD = "forward"
"""The stage in which a model runs on its device; `forward NAME` if several do."""

MILLION = 1_000_000


def compared_speed(
    model: str, stage_seconds: Mapping[str, float], crops: int, passed_on: float | None
) -> Speed | None:
    """Return the speed of a model of a compare job; None if its seconds are not known.

    A cascade is made of its models' readings, so its seconds are the first model's and the second's share.

    Args:
        passed_on: the share of crops that a cascade's second model read; None for one model
    """
    cascade = parse_cascade(model)
    if cascade is None:
        return _speed(stage_seconds.get(f"{FORWARD} {model}"), crops)
    first = stage_seconds.get(f"{FORWARD} {cascade.first}")
    second = stage_seconds.get(f"{FORWARD} {cascade.second}")
    if first is None or second is None:
        return None
    return _speed(first + second * (passed_on or 0), crops, estimated=True)


def summary_speed(summary: Mapping[str, Any]) -> Speed | None:
    """Return the speed of a recognition job's model or cascade; None if its seconds are not known."""
    seconds = [
        value
        for stage, value in summary["stage_seconds"].items()
        if stage == FORWARD or stage.startswith(f"{FORWARD} ")
    ]
    return _speed(sum(seconds) if seconds else None, summary["request_counts"]["completed"])


def _speed(seconds: float | None, crops: int, *, estimated: bool = False) -> Speed | None:
    if not seconds or not crops:
        return None
    return Speed(seconds, crops / seconds, seconds / crops * MILLION, estimated)
