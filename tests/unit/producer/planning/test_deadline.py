"""A deadline is the next such time in its zone, also in the nights when clocks are changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from contract.errors import UsageError
from producer.planning.deadline import parse_deadline

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("deadline", "now", "expected"),
    [
        ("06:00", "2026-11-25T22:00", "2026-11-26T06:00+01:00"),
        ("6:00", "2026-11-26T05:59:59", "2026-11-26T06:00+01:00"),
        ("06:00", "2026-11-26T06:00", "2026-11-27T06:00+01:00"),
        ("06:00:30", "2026-11-26T06:00", "2026-11-26T06:00:30+01:00"),
        # an hour less of sleep, and one more
        ("06:00", "2026-03-28T22:00", "2026-03-29T06:00+02:00"),
        ("06:00", "2026-10-24T22:00", "2026-10-25T06:00+01:00"),
        # a time that there is not, and one that there is twice
        ("02:30", "2026-03-28T22:00", "2026-03-29T03:30+02:00"),
        ("02:30", "2026-10-24T22:00", "2026-10-25T02:30+02:00"),
        ("2026-11-26T06:00", "2026-11-25T22:00", "2026-11-26T06:00+01:00"),
        ("2026-11-26T06:00Z", "2026-11-25T22:00", "2026-11-26T07:00+01:00"),
    ],
)
def test_next_time(deadline: str, now: str, expected: str) -> None:
    found = parse_deadline(deadline, "Europe/Berlin", berlin(now))

    assert found == datetime.fromisoformat(expected).timestamp()


def test_a_time_that_comes_twice_is_the_second_after_the_first() -> None:
    second = berlin("2026-10-25T02:30", fold=1)

    assert parse_deadline("02:30", "Europe/Berlin", berlin("2026-10-25T02:30")) == second


def test_without_a_zone_the_machines_own_counts() -> None:
    now = datetime(2026, 11, 25, 22).timestamp()

    assert parse_deadline("06:00", None, now) == datetime(2026, 11, 26, 6).timestamp()


@pytest.mark.parametrize(
    ("deadline", "zone", "said"),
    [
        ("25:00", None, "neither a time of day"),
        ("tomorrow", None, "neither a time of day"),
        ("2026-11-26", None, "no time of day"),
        ("2020-01-01T06:00Z", None, "in the past"),
        ("06:00", "Europe/Atlantis", "is no time zone"),
        ("06:00", "../../etc/passwd", "is no time zone"),
    ],
)
def test_what_is_no_deadline(deadline: str, zone: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_deadline(deadline, zone, berlin("2026-11-25T22:00"))
