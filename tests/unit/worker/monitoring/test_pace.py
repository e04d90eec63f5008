"""The pace of a worker: what it holds, and how fast it reads, now and while it reads."""

from collections.abc import Callable
from typing import Any

import pytest

from contract.broker.process_report import MAX_IN_HAND, InHand
from worker.monitoring.pace import WINDOW_SECONDS, Pace


@pytest.fixture
def pace(clock: Any) -> Pace:
    return Pace(clock, clock)


@pytest.fixture
def read(pace: Pace, clock: Any) -> Callable[..., None]:
    """Read a chunk of so many items in so many seconds, evenly."""

    def run(items: int, seconds: float, work: str = "recognition crnn") -> None:
        with pace.reading("night", "recognition", 7, work) as advance:
            for done in range(1, 11):
                clock.now += seconds / 10
                advance(items * done // 10)

    return run


def test_a_worker_that_has_just_started_has_nothing_in_hand_and_no_pace(pace: Pace) -> None:
    nothing = {"in_hand": (), "work": "", "pace": None, "items_per_second": None, "busy": None}

    assert pace.figures() == nothing


def test_a_chunk_is_in_hand_from_its_first_to_its_last_item(pace: Pace, clock: Any) -> None:
    clock.now += 5
    with pace.reading("night", "recognition", 7, "recognition crnn") as advance:
        advance(128)
        clock.now += 10
        advance(256)
        shown = pace.figures()

    assert shown["in_hand"] == (InHand("night", "recognition", 7, 256, 1_005.0),)
    assert shown["work"] == "recognition crnn"
    assert (shown["pace"], shown["items_per_second"]) == (25.6, 256 / 15)
    assert pace.figures()["in_hand"] == ()


def test_pauses_lower_the_rate_but_not_the_pace(pace: Pace, clock: Any, read: Callable[..., None]) -> None:
    for _ in range(6):
        read(100, 10)
        clock.now += 10

    with pace.reading("night", "recognition", 8, "recognition crnn"):
        shown = pace.figures()

    assert shown["pace"] == pytest.approx(10, rel=0.1)
    assert shown["items_per_second"] == pytest.approx(5, rel=0.1)
    assert shown["busy"] == pytest.approx(0.5, abs=0.1)


def test_what_was_read_a_minute_ago_does_not_count(pace: Pace, clock: Any, read: Callable[..., None]) -> None:
    read(1_000, 10)
    clock.now += WINDOW_SECONDS

    assert (pace.figures()["items_per_second"], pace.figures()["busy"]) == (0, 0)


def test_other_work_begins_with_no_pace(pace: Pace, clock: Any, read: Callable[..., None]) -> None:
    read(1_000, 10)
    with pace.reading("pages", "ocr", 0, "ocr db parseq") as advance:
        begun = pace.figures()["pace"]
        clock.now += 4
        advance(2)

        assert (begun, pace.figures()["pace"]) == (None, 0.5)


def test_uploads_count_in_the_rate_alone(pace: Pace, clock: Any) -> None:
    with pace.reading("night", "recognition", 7, "recognition crnn"):
        clock.now += 10
        pace.count(50)
        shown = pace.figures()

    assert (shown["items_per_second"], shown["pace"]) == (5, 0)


def test_two_chunks_in_hand_are_one_pace(pace: Pace, clock: Any) -> None:
    with (
        pace.reading("night", "recognition", 7, "recognition crnn") as first,
        pace.reading("night", "recognition", 8, "recognition crnn") as second,
    ):
        clock.now += 10
        first(100)
        second(50)
        shown = pace.figures()

    assert [one.chunk for one in shown["in_hand"]] == [7, 8]
    assert (shown["pace"], shown["busy"]) == (15, 1)


def test_a_report_names_only_so_many_chunks(pace: Pace) -> None:
    holds = [pace.reading("night", "recognition", chunk, "") for chunk in range(MAX_IN_HAND + 5)]
    for hold in holds:
        hold.__enter__()

    assert len(pace.figures()["in_hand"]) == MAX_IN_HAND
    for hold in holds:
        hold.__exit__(None, None, None)
