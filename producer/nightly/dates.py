"""The date of a night."""

import datetime
import re

from contract.errors import UsageError
from producer.nightly.records import NIGHT
from producer.planning.deadline import zone_of

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
    today = now.astimezone(zone_of(timezone)).date()
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
