"""Outlines of regions as the formats write them."""

import re
from collections.abc import Sequence

from contract.region import Region, box_of, polygon_of

Corner = Sequence[float | str]
"""x and y; what is no number stays as it is written, and becomes a region's fault."""

Size = tuple[float, float]
"""Width and height of a page."""


def corners_in(points: str) -> list[Corner]:
    """Return the corners in a text such as "10,20 30,20 30,40" or "10 20 30 20 30 40"."""
    numbers = [number(one) for one in re.split(r"[\s,]+", points.strip())]
    return [numbers[place : place + 2] for place in range(0, len(numbers), 2)]


def corners_of_box(x_min: str, y_min: str, width: str, height: str) -> list[Corner]:
    """Return the corners of a box from its upper left corner and its size."""
    x, y, w, h = map(number, (x_min, y_min, width, height))
    if isinstance(x, str) or isinstance(y, str) or isinstance(w, str) or isinstance(h, str):
        return [(x, y), (w, h)]
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def outline(corners: Sequence[Corner], name: str, size: Size | None = None) -> Region:
    """Return a polygon, or a box for an upright rectangle; with a `fault` if it can be neither.

    Args:
        size: the page's size in the corners' unit, for a region in shares of it; what lies outside the page
            is cut off
    """
    region = polygon_of(corners, name=name)
    if region.fault:
        return region
    if size:
        region = polygon_of(_shares(region.corners, size), "rel", name)
        if region.fault:
            return region
    box = _box_in(region.corners)
    return box_of(box, region.unit, name) if box else region


def number(text: str) -> float | str:
    """Return the number in a text, or the text if it has none."""
    try:
        return float(text)
    except ValueError:
        return text


def _shares(corners: Sequence[tuple[float, float]], size: Size) -> list[tuple[float, float]]:
    width, height = size
    return [(_clipped(x / width), _clipped(y / height)) for x, y in corners]


def _clipped(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _box_in(corners: Sequence[tuple[float, float]]) -> tuple[float, float, float, float] | None:
    if len(corners) == 5 and corners[0] == corners[4]:
        corners = corners[:4]
    xs, ys = {x for x, _ in corners}, {y for _, y in corners}
    if len(corners) != 4 or len(set(corners)) != 4 or len(xs) != 2 or len(ys) != 2:
        return None
    return min(xs), min(ys), max(xs), max(ys)


def upright(corners: Sequence[Corner]) -> Sequence[Corner]:
    """Return four corners from the upper left one on, clockwise, and others as they are.

    The order of a region's four corners says how its text runs. An outline in a file begins anywhere.
    """
    pairs = [(x, y) for x, y in _whole(corners) if isinstance(x, float) and isinstance(y, float)]
    if len(pairs) != len(corners) or len(pairs) != 4:
        return corners
    following = [*pairs[1:], pairs[0]]
    area = sum(x * later[1] - later[0] * y for (x, y), later in zip(pairs, following, strict=True))
    if area < 0:
        pairs.reverse()
    first = min(range(4), key=lambda place: sum(pairs[place]))
    return pairs[first:] + pairs[:first]


def _whole(corners: Sequence[Corner]) -> list[Corner]:
    return [corner for corner in corners if len(corner) == 2]
