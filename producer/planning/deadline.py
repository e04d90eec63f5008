"""Deadlines: a time of day, or a timestamp, to Unix seconds."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contract.errors import UsageError

SHOWN = 100
"""Characters of a refused deadline that its error repeats."""


def parse_deadline(text: str, timezone: str | None, now: float) -> int:
    """Return the next time of day after now, or the time of a timestamp, in Unix seconds.

    A time that the clock skips is as long after midnight; of one that comes twice, the next counts.

    Args:
        text: 06:00, or 2026-11-26T06:00+01:00; a timestamp without a zone is of the time zone
        timezone: an IANA name; None for the machine's own
        now: Unix seconds

    Raises:
        UsageError: it is neither, or in the past, or there is no such time zone
    """
    zone = zone_of(timezone)
    try:
        if re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?", text):
            of_day = time_of_day.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.zfill(8))
            return int(_next(of_day, zone, now))
        moment = datetime.fromisoformat(text)
        if re.fullmatch(r"[0-9-]+", text):
            raise ValueError("it has no time of day")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        at = moment.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"the deadline {text[:SHOWN]!r} is neither a time of day such as 06:00 nor a timestamp such as "
            f"2026-11-26T06:00+01:00 ({str(error)[:SHOWN]})"
        ) from error
    if at <= now:
        raise UsageError(f"the deadline {text[:SHOWN]} is in the past: name a later one")
    return int(at)


def zone_of(name: str | None) -> ZoneInfo | None:
    """Return a time zone by its IANA name, or None for None; raises UsageError if there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"{name!r:.200} is no time zone: use a name such as Europe/Berlin") from error


def _next(of_day: time_of_day, zone: ZoneInfo | None, now: float) -> float:
    today = datetime.fromtimestamp(now, zone).date()
    days = (today + timedelta(days=number) for number in range(3))
    return next(at for day in days for at in _times(day, of_day, zone) if at > now)


def _times(day: date, of_day: time_of_day, zone: ZoneInfo | None) -> Iterator[float]:
    """Yield when a day's clock shows a time: once, twice as it is set back, or never as it is set forward."""
    wanted = datetime.combine(day, of_day)
    found = [wanted.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)]
    shown = [at for at in found if datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0) == wanted]
    yield from sorted(set(shown or found[:1]))
