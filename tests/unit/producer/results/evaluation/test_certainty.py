"""Intervals, tests between two models, and thresholds."""

import pytest
from scipy.stats import binomtest

from producer.results.evaluation.certainty import (
    CurvePoint,
    Threshold,
    accepted_at,
    mcnemar,
    risk_coverage,
    threshold_for,
    wilson,
)


@pytest.mark.parametrize(("right", "total"), [(0, 1), (1, 1), (7, 10), (250, 257), (999_000, 1_000_000)])
def test_the_interval_is_wilsons(right: int, total: int) -> None:
    expected = binomtest(right, total).proportion_ci(0.95, method="wilson")

    assert wilson(right, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_of_nothing_anything_may_be_true() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 5), (1, 0), (3, 12), (40, 90), (50_000, 51_000)])
def test_mcnemars_test_is_exact(first: int, second: int) -> None:
    total = first + second
    expected = binomtest(first, total).pvalue if total else 1.0

    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(expected, rel=1e-7)


def test_readings_of_equal_confidence_are_accepted_together() -> None:
    steps = list(accepted_at([0.5, 0.9, 0.9, 0.1], [1, 1, 0, 0]))

    assert steps == [(0.9, 2, 1), (0.5, 3, 2), (0.1, 4, 2)]


def test_the_threshold_accepts_as_many_as_it_can() -> None:
    # given errors at 0.8 and 0.3
    steps = list(accepted_at([0.9, 0.8, 0.7, 0.6, 0.5, 0.3], [1, 0, 1, 1, 1, 0]))

    # when four of five must be right, then the error at 0.8 is outweighed
    assert threshold_for(0.8, steps, 6) == Threshold(0.5, 5 / 6, 1 - 5 / 6, 0.8, wilson(4, 5))


def test_no_threshold_reaches_what_the_surest_readings_do_not() -> None:
    assert threshold_for(0.9, list(accepted_at([0.9, 0.8], [0, 1])), 2) is None


def test_the_curve_has_both_ends_and_no_more_points_than_asked() -> None:
    steps = list(
        accepted_at([number / 1000 for number in range(1000)], [number > 99 for number in range(1000)])
    )

    curve = risk_coverage(steps, 1000, points=11)

    assert len(curve) == 11
    assert curve[0] == CurvePoint(0.999, 0.001, 0.0)
    assert curve[-1] == CurvePoint(0.0, 1.0, pytest.approx(0.1))
    assert risk_coverage([], 0) == ()
