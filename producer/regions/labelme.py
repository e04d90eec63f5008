"""LabelMe's annotations: one JSON file per image.

Regions are its polygons and rectangles, named by their places in `shapes`, counted from 1. Their text goes to
`description`, which LabelMe shows, and the confidence to `confidence`, which it keeps.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from contract.region import Level, Region, box_of
from producer.regions.base import PageRegions, Readable, RegionOptions, Texts, Writable
from producer.regions.json_text import (
    Edit,
    changes,
    element,
    elements,
    members,
    parsed,
    read_whole,
    write_edited,
)
from producer.regions.outlines import outline

MAX_BYTES = 1 << 28
"""Maximum bytes of a file, which is held in memory: it may have the image in it, as base64."""

WHAT = "a LabelMe file with `imagePath` and `shapes`"

CORNERS = 2
"""Points of a rectangle: two opposite corners."""


class Shape(msgspec.Struct, gc=False):
    """A shape; one without a type is a polygon, as in LabelMe's own reader."""

    label: Any = None
    points: Any = None
    shape_type: str | None = "polygon"


class Annotations(msgspec.Struct):
    """What is read of a file."""

    imagePath: str  # noqa: N815 - LabelMe's name
    shapes: msgspec.Raw


class _File:
    """One file in memory."""

    def __init__(self, file: Readable, options: RegionOptions) -> None:
        self.data = memoryview(read_whole(file, MAX_BYTES))
        path = parsed(self.data, Annotations, WHAT).imagePath
        # A file from Windows has its separators, and LabelMe opens it elsewhere too.
        self.image = path.replace("\\", "/")
        self._categories = options.categories
        self._shapes = members(self.data, (0, len(self.data))).spans["shapes"]

    def shapes(self) -> Iterator[tuple[tuple[int, int], str, Shape]]:
        """Yield where each wanted shape is, and its name."""
        for number, (start, end) in enumerate(elements(self.data, self._shapes), 1):
            shape = element(self.data[start:end], Shape, "a shape")
            if not self._categories or shape.label in self._categories:
                yield (start, end), str(number), shape


class LabelMe:
    """LabelMe's annotations."""

    extensions = frozenset({".json"})
    has_categories = True
    levels: tuple[Level, ...] = ()
    holds_text = True

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the one page of the file."""
        labelme = _File(file, options)
        yield PageRegions(labelme.image, (_region(shape, name) for _, name, shape in labelme.shapes()))

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with texts in `description` and confidences in `confidence`."""
        labelme = _File(file, options)
        write_edited(labelme.data, _edits(labelme, texts), target)


FORMAT = LabelMe()


def _region(shape: Shape, name: str) -> Region:
    points = shape.points
    if not isinstance(points, list) or not all(isinstance(point, list) for point in points):
        return Region(name=name, fault="the points of a shape are [[x, y], ...]")
    if shape.shape_type in ("rectangle", "mask") and len(points) == CORNERS:
        return _box(points, name)
    if shape.shape_type in ("polygon", "rectangle", "oriented_rectangle", None):
        return outline(points, name)
    return Region(name=name, fault=f"polygons and rectangles are read, this is a {shape.shape_type}")


def _box(points: list[list[Any]], name: str) -> Region:
    """Return the box of two opposite corners, drawn from any of them."""
    numbers = [number for point in points for number in point]
    if len(numbers) != 2 * CORNERS or not all(type(number) in (int, float) for number in numbers):
        return box_of(numbers, name=name)
    x, y = sorted(numbers[::2]), sorted(numbers[1::2])
    return box_of((x[0], y[0], x[1], y[1]), name=name)


def _edits(labelme: _File, texts: Texts) -> Iterator[Edit]:
    for span, name, _ in labelme.shapes():
        read = texts(labelme.image, None, name)
        if read:
            values = {"description": read.value, "confidence": read.confidence}
            yield from changes(labelme.data, span, values)
