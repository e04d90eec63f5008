"""Regions: given parts of pages, boxes or polygons, which are read as crops."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

import msgspec

MAX_POINTS = 1_000
"""Maximum corners of a polygon: outlines of handwritten lines have some hundred. More is an item error."""

MAX_NAME = 256
"""Maximum characters in a region's own id or name."""

MAX_REGION_TEXT = MAX_NAME + 3
"""Maximum characters that the id of a region has more than its page's: `#r=` and its name."""

BOX_NUMBERS, LEAST_POINTS = 4, 3

Level = Literal["region", "line", "word"]
"""Which of a format's nested regions are read."""

_REGION = re.compile(r"[#&]r=[1-9][0-9]*\Z")
"""The end of the id of a region that has only a number."""

Unit = Literal["px", "rel"]
"""Pixels of the upright page, or shares of its width and height. The origin is the upper left corner."""


class Region(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One part of a page.

    Args:
        points: x_min, y_min, x_max, y_max of a box, or x and y of each corner of a polygon in turn; of a
            region with a `fault` only if it can be drawn
        unit: unit of the points
        name: the region's own id in its file, or its name in a template
        fault: why the region cannot be read, as its source saw it: the item becomes a `bad_region`
    """

    points: tuple[float, ...] = ()
    unit: Unit = "px"
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)] | None = None
    fault: str | None = None

    @property
    def is_box(self) -> bool:
        """Whether the region is a box; else it is a polygon."""
        return len(self.points) == BOX_NUMBERS

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """The corners in turn; those of a box from its upper left one, clockwise."""
        if self.is_box:
            x_min, y_min, x_max, y_max = self.points
            return ((x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max))
        return tuple(zip(self.points[::2], self.points[1::2], strict=True))


def box_of(numbers: Iterable[Any], unit: Unit = "px", name: str | None = None) -> Region:
    """Return a box from x_min, y_min, x_max, y_max; with a `fault` if it cannot be one."""
    given = tuple(numbers)
    fault = _fault_of_numbers(given)
    if not fault and len(given) != BOX_NUMBERS:
        fault = f"a box has 4 numbers, not {len(given)}"
    if fault:
        return Region(unit=unit, name=name, fault=fault)
    if not (given[0] < given[2] and given[1] < given[3]):
        fault = f"the box {shown(given)} is empty: give x_min, y_min, x_max, y_max"
    return _made(given, unit, name, fault)


def polygon_of(corners: Iterable[Iterable[Any]], unit: Unit = "px", name: str | None = None) -> Region:
    """Return a polygon from its corners, each x and y; with a `fault` if it cannot be one."""
    pairs = [tuple(corner) for corner in corners]
    given = tuple(number for pair in pairs for number in pair)
    fault = _fault_of_numbers(given)
    if not fault and any(len(pair) != 2 for pair in pairs):
        fault = "a polygon's corner has an x and a y"
    if not fault and not LEAST_POINTS <= len(pairs) <= MAX_POINTS:
        fault = f"a polygon has {LEAST_POINTS} to {MAX_POINTS:,} corners, not {len(pairs):,}"
    if fault:
        return Region(unit=unit, name=name, fault=fault)
    return _made(given, unit, name, None if _area(pairs) else "the polygon has no area")


def region_of(value: Any, unit: Any = "px", name: str | None = None) -> Region:
    """Return the region in a JSON value: `[x_min, y_min, x_max, y_max]` or `[[x, y], ...]`.

    A value that is neither, or a unit that is none, gives a region with a `fault`, so that it costs its own
    item only.
    """
    if unit not in get_args(Unit):
        return Region(name=name, fault=f"the unit of a region is 'px' or 'rel', not {str(unit)[:20]!r}")
    if isinstance(value, list | tuple) and value and all(isinstance(one, list | tuple) for one in value):
        return polygon_of(value, unit, name)
    if isinstance(value, list | tuple):
        return box_of(value, unit, name)
    fault = "a region is [x_min, y_min, x_max, y_max], or [[x, y], [x, y], [x, y], ...]"
    return Region(unit=unit, name=name, fault=fault)


def region_id(page: str, name: str) -> str:
    """Return the id of a region: that of its page with the region's own id, or its number, as a fragment.

    Own ids are unique in their page's file only. A document's page has a fragment already, `#page=2`.
    """
    return f"{page}{'&' if '#' in page else '#'}r={name}"


def page_of_region(identity: str, region: Region) -> str | None:
    """Return the id of the page that a region's id was made of; None if the region's id is one of its own."""
    found = _REGION.search(identity) if region.name is None else None
    own = found[0][3:] if found else region.name
    page = identity.removesuffix(f"r={own}")
    return page[:-1] if len(page) > 1 and page != identity and page[-1] in "#&" else None


def shown(numbers: Iterable[float]) -> str:
    """Return the first numbers of a region, for messages."""
    return "[" + ", ".join(f"{number:g}" for number in tuple(numbers)[:8]) + "]"


def _made(given: tuple[Any, ...], unit: Unit, name: str | None, fault: str | None) -> Region:
    if not fault and unit == "rel" and not all(0 <= number <= 1 for number in given):
        fault = f"{shown(given)} in the unit 'rel' must lie in 0..1"
    return Region(tuple(map(float, given)), unit, name, fault)


def _fault_of_numbers(given: tuple[Any, ...]) -> str | None:
    if not all(type(number) in (int, float) for number in given):
        return "the coordinates of a region are numbers"
    try:
        finite = all(math.isfinite(number) for number in given)
    except OverflowError:
        finite = False
    return None if finite else "the coordinates of a region are finite numbers"


def _area(corners: list[tuple[Any, ...]]) -> float:
    """Return twice the area by the shoelace formula, 0 for corners on one line."""
    following = [*corners[1:], corners[0]]
    return float(
        abs(sum(x * later[1] - later[0] * y for (x, y), later in zip(corners, following, strict=True)))
    )
