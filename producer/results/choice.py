"""Which results a person asks for, and where a listing of them goes on."""

import re
from dataclasses import dataclass

from contract.errors import UsageError
from contract.records import SHOWN

ANY = "any"
"""Selects failed items whatever their code."""

_CURSOR = re.compile(r"(?:(?P<rank>[0-9a-f]{1,8})-(?P<number>[0-9a-f]{1,16})|@(?P<position>[0-9a-f]{1,16}))")


@dataclass(frozen=True)
class Choice:
    """Which items are asked for.

    Args:
        below, at_least: bounds of the confidence, the upper one excluded
        text: what the text contains, as it is written; of a failed item, the message
        id: what the id begins with
        code: the code of failed items, or ANY; None for results
        source_order: list them as in the source; a search always does
    """

    below: float | None = None
    at_least: float | None = None
    text: str | None = None
    id: str | None = None
    code: str | None = None
    source_order: bool = False

    @property
    def searches(self) -> bool:
        """Whether lines are looked at one after another."""
        return bool(self.source_order or self.text or self.id or self.code)


def place_after(cursor: str | None) -> tuple[int, int] | None:
    """Return the rank and number of the result before a page by confidence; None for the first page.

    Raises:
        UsageError: it is no cursor of such a listing
    """
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None or match["rank"] is None:
        raise _no_cursor(cursor)
    return int(match["rank"], 16), int(match["number"], 16)


def position_of(cursor: str | None) -> int:
    """Return the position at which a search goes on; raises UsageError as `place_after`."""
    if cursor is None:
        return 0
    match = _CURSOR.fullmatch(cursor)
    if match is None or match["position"] is None:
        raise _no_cursor(cursor)
    return int(match["position"], 16)


def _no_cursor(cursor: str) -> UsageError:
    return UsageError(f"{cursor[:SHOWN]!r} is no cursor of this listing: begin without one")
