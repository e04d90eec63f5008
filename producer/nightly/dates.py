"""The date of a night."""

import datetime
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contract.errors import UsageError
from producer.nightly.records import NIGHT

LATEST = datetime.timedelta(days=1)
"""How far ahead of today a night may be: anywhere on Earth it may be tomorrow already."""


def night_of(given: str | None, timezone: str | None, now: datetime.datetime) -> str:
    """Return the date of a night, as YYYY-MM-DD; without a given one, today's in a zone.

    A date has no hours, so a change to or from summer time neither skips nor repeats a night.

    Args:
        timezone: a name of the IANA database; this machine's zone (TZ) if None
        now: the time, with a zone

    Raises:
        UsageError: it is no date, or later than tomorrow; or there is no such zone
    """
    try:
        today = now.astimezone(ZoneInfo(timezone) if timezone else None).date()
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"--timezone {timezone!r} is no time zone that this machine knows") from error
    if given is None:
        return today.isoformat()
    try:
        date = datetime.date.fromisoformat(given) if re.match(NIGHT, given) else None
    except ValueError:
        date = None
    if date is None:
        raise UsageError(f"--date {given!r} is not a date: give YYYY-MM-DD, such as {today.isoformat()}")
    if date > today + LATEST:
        raise UsageError(
            f"--date {given} is in the future, and today is {today.isoformat()}: nights only go forward, so "
            "those until then could not be read"
        )
    return given
