"""Which date a night has."""

import datetime

import pytest

from contract.errors import UsageError
from producer.nightly.dates import night_of


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "timezone", "night"),
    [
        ("2026-11-25T23:30:00+00:00", "UTC", "2026-11-25"),
        ("2026-11-25T23:30:00+00:00", "Europe/Berlin", "2026-11-26"),
        ("2026-11-25T23:30:00+00:00", "America/New_York", "2026-11-25"),
        # The clocks go forward at 2:00, and back at 3:00.
        ("2026-03-28T23:30:00+00:00", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29T22:30:00+00:00", "Europe/Berlin", "2026-03-30"),
        ("2026-10-25T00:30:00+00:00", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T01:30:00+00:00", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T23:30:00+00:00", "Europe/Berlin", "2026-10-26"),
    ],
)
def test_without_a_date_it_is_today_in_the_zone(now: str, timezone: str, night: str) -> None:
    assert night_of(None, timezone, at(now)) == night


def test_a_date_in_the_past_and_tomorrows_are_taken_as_given() -> None:
    now = at("2026-11-25T12:00:00+00:00")

    assert [night_of(date, "UTC", now) for date in ("2020-02-29", "2026-11-26")] == [
        "2020-02-29",
        "2026-11-26",
    ]


@pytest.mark.parametrize(
    ("date", "timezone", "said"),
    [
        ("2026-11-27", "UTC", "is in the future"),
        ("2026-02-29", "UTC", "is not a date"),
        ("20261125", "UTC", "is not a date"),
        ("today", "UTC", "is not a date"),
        ("2026-11-25\n", "UTC", "is not a date"),
        ("2026-11-25", "Europe/Nowhere", "is no time zone"),
        ("2026-11-25", "../../etc/passwd", "is no time zone"),
    ],
)
def test_other_texts_are_refused(date: str, timezone: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        night_of(date, timezone, at("2026-11-25T12:00:00+00:00"))
