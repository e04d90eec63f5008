"""Drift: what a night's own number of items and the scatter of nights explain is none."""

import random
from statistics import NormalDist
from typing import Any

import pytest
from scipy import stats

from producer.results.drift import MIN_NIGHTS, _normal_of_t, drifted


def figures(
    items: int = 10_000, confidence: float = 0.9, empty: float = 0.01, errors: dict[str, int] | None = None
) -> dict[str, Any]:
    results = items - sum((errors or {}).values())
    return {
        "items": items,
        "error_codes": errors or {},
        "empty_share": empty if results else None,
        "readings": results,
        "mean_confidence": confidence,
        "confidence_deviation": 0.1,
    }


def night(groups: dict[str, dict[str, Any]] | None = None, **of_all: Any) -> dict[str, Any]:
    return {"quality": {**figures(**of_all), "groups": groups or {}}}


def scattered(seed: int, count: int, spread: float = 0.01) -> list[dict[str, Any]]:
    random_numbers = random.Random(seed)
    return [night(confidence=random_numbers.gauss(0.9, spread)) for _ in range(count)]


def test_a_confidence_far_below_that_of_the_nights_before_has_drifted() -> None:
    (drift,) = drifted(night(confidence=0.6), scattered(1, 14))

    assert (drift.measure, drift.group, drift.value, drift.nights) == ("confidence", None, 0.6, 14)
    assert "mean confidence is 0.600" in str(drift)


def test_a_better_night_has_not() -> None:
    assert drifted(night(confidence=0.99, empty=0.0), scattered(1, 14)) == []


def test_the_more_nights_scatter_the_more_is_allowed() -> None:
    assert drifted(night(confidence=0.85), scattered(1, 14, spread=0.01))
    assert not drifted(night(confidence=0.85), scattered(1, 14, spread=0.05))


def test_a_small_night_may_differ_by_chance() -> None:
    nights = [night(empty=0.010 + 0.0001 * number) for number in range(10)]

    assert drifted(night(empty=0.03), nights)
    assert not drifted(night(items=100, empty=0.03), nights)


def test_an_error_code_that_the_nights_before_did_not_have_is_compared_with_none() -> None:
    (drift,) = drifted(night(errors={"truncated": 900}), [night() for _ in range(8)])

    assert (drift.measure, drift.value, drift.before) == ("truncated", 0.09, 0.0)
    assert not drifted(night(errors={"truncated": 1}), [night() for _ in range(8)])


def test_the_group_that_moved_is_named() -> None:
    def with_groups(camera3: float, jitter: float) -> dict[str, Any]:
        cameras = {f"camera{number}": figures(confidence=0.9 + jitter) for number in range(9)}
        cameras["camera3"] = figures(confidence=camera3 + jitter)
        return night(cameras, confidence=0.9 + jitter)

    nights = [with_groups(0.9, 0.001 * (number % 3)) for number in range(9)]

    assert [drift.group for drift in drifted(with_groups(0.7, 0.001), nights)] == ["camera3"]


@pytest.mark.parametrize("nights", [0, MIN_NIGHTS - 1])
def test_few_nights_say_nothing(nights: int) -> None:
    assert drifted(night(confidence=0.1), scattered(1, nights)) == []


def test_summaries_of_older_versions_are_no_nights() -> None:
    assert drifted(night(confidence=0.1), [{"id": "old"}] * 10) == []


def test_alarms_are_rare_in_nights_that_only_scatter() -> None:
    alarms = 0
    for seed in range(400):
        nights = scattered(seed, 15)
        alarms += bool(drifted(nights[0], nights[1:]))

    assert alarms <= 4


@pytest.mark.parametrize("freedom", [4, 9, 27])
def test_the_normal_deviate_of_students_t_agrees_with_scipy(freedom: int) -> None:
    for deviate in (1.0, 3.0, 4.0):
        t = stats.t.isf(NormalDist().cdf(-deviate), freedom)
        assert _normal_of_t(t, freedom) == pytest.approx(deviate, rel=0.02)
