"""Durations in words."""

MINUTE, HOUR, DAY = 60, 3_600, 86_400

FACTOR = 2
"""A unit is used from twice its length on: 90 minutes say more than an hour."""


def in_words(seconds: float) -> str:
    """Return a duration in its largest suitable unit, rounded down: `40 s`, `12 min`, `3 h`, `2 days`."""
    for unit, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= FACTOR * unit or (unit is MINUTE and seconds >= unit):
            return f"{int(seconds // unit)} {name}"
    return f"{int(max(seconds, 0))} s"
