"""CVAT for images 1.1: one XML file for many images.

Regions are its boxes and polygons, and the boxes of its masks, named by their places among the shapes of
their image, counted from 1. Texts go to the attributes `text` and `confidence`, which CVAT imports if the
shape's label has attributes of these names.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from contract.errors import SourceError
from contract.records import SHOWN
from contract.region import BOX_NUMBERS, Level, Region, box_of, polygon_of
from producer.regions.base import PageRegions, Readable, RegionOptions, RegionText, Texts, Writable
from producer.regions.outlines import outline
from producer.regions.xml import Event, Vocabulary, events
from producer.regions.xml_copy import Copy, escaped

VOCABULARY = Vocabulary("CVAT", "annotations", frozenset({""}), "1.1 for images")

OTHER_SHAPES = frozenset({"polyline", "points", "ellipse", "cuboid", "skeleton"})
SHAPES = OTHER_SHAPES | {"box", "polygon", "mask"}

IMAGE, SHAPE, ATTRIBUTE = 2, 3, 4
"""Depths of elements; skeletons have shapes in them, at the depth of attributes."""


class Shape(NamedTuple):
    """The first tag of a shape, and its name in its image."""

    tag: Event
    name: str


class Cvat:
    """CVAT for images 1.1."""

    extensions = frozenset({".xml"})
    has_categories = True
    holds_text = True
    levels: tuple[Level, ...] = ()

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the images, in the file's order; in constant memory."""
        tags = events(file, VOCABULARY)
        for tag in tags:
            if _begins_image(tag):
                yield PageRegions(_image(tag), _regions(_shapes(tags, options)))

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with the attributes `text` and `confidence`."""
        copy = Copy(file, target)
        tags = events(copy, VOCABULARY)
        for tag in tags:
            if _begins_image(tag):
                copy.keep(tag.start)
                for shape in _shapes(tags, options):
                    read = texts(_image(tag), None, shape.name)
                    if read:
                        _write_attributes(copy, shape.tag, tags, read)
        copy.keep()


FORMAT = Cvat()


def _begins_image(tag: Event) -> bool:
    if tag.starts and tag.name == "track" and tag.depth == IMAGE:
        raise SourceError("it is of a video task: export it as `CVAT for images 1.1`")
    return tag.starts and tag.name == "image" and tag.depth == IMAGE


def _image(tag: Event) -> str:
    return tag.attributes.get("name", "")


def _shapes(tags: Iterator[Event], options: RegionOptions) -> Iterator[Shape]:
    """Yield the wanted shapes of one image; the tags continue after its end."""
    number = 0
    for tag in tags:
        if tag.depth == IMAGE:
            return
        if tag.starts and tag.depth == SHAPE and tag.name in SHAPES:
            number += 1
            if not options.categories or tag.attributes.get("label") in options.categories:
                yield Shape(tag, str(number))


def _regions(shapes: Iterator[Shape]) -> Iterator[Region]:
    for tag, name in shapes:
        if tag.name in OTHER_SHAPES:
            yield Region(name=name, fault=f"boxes, polygons and masks are read, this is <{tag.name}>")
            continue
        try:
            yield _region(tag, name)
        except ValueError as error:
            yield Region(name=name, fault=f"its coordinates cannot be read: {str(error)[:SHOWN]}")


def _region(tag: Event, name: str) -> Region:
    """Return a shape's region; raises ValueError."""
    if tag.name == "polygon":
        pairs = tag.attributes.get("points", "").split(";")
        return outline([[float(number) for number in pair.split(",")] for pair in pairs], name)
    edges = ("xtl", "ytl", "xbr", "ybr") if tag.name == "box" else ("left", "top", "width", "height")
    numbers = [float(tag.attributes[edge]) for edge in edges if edge in tag.attributes]
    if tag.name == "mask" and len(numbers) == BOX_NUMBERS:
        x, y, width, height = numbers
        return box_of((x, y, x + width, y + height), name=name)
    box, turn = box_of(numbers, name=name), float(tag.attributes.get("rotation", 0))
    return _turned(box, turn) if turn % 360 and not box.fault else box


def _turned(box: Region, degrees: float) -> Region:
    """Return a box turned clockwise about its centre, as CVAT draws it."""
    x_min, y_min, x_max, y_max = box.points
    x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = (
        (x + (right - x) * cos - (down - y) * sin, y + (right - x) * sin + (down - y) * cos)
        for right, down in box.corners
    )
    return polygon_of(corners, name=box.name)


def _write_attributes(copy: Copy, shape: Event, tags: Iterator[Event], read: RegionText) -> None:
    """Replace a shape's attributes, and add those that it lacks after its last one."""
    wanted = {"text": escaped(read.value), "confidence": str(read.confidence)}
    last, indent, begun = shape.end, "", shape
    for tag in tags:
        if tag.depth == SHAPE:
            added = [_attribute(name, value) for name, value in wanted.items()]
            _add(copy, shape, tag, last, indent, added)
            return
        if tag.depth > ATTRIBUTE:
            continue
        if tag.starts:
            begun, indent = tag, indent or _blank(copy.raw(last, tag.start))
        else:
            name = begun.attributes.get("name", "") if tag.name == "attribute" else ""
            if name in wanted:
                copy.replace(begun.start, tag.end, _attribute(name, wanted.pop(name)))
            last = tag.end


def _add(copy: Copy, shape: Event, end: Event, last: int, indent: str, added: list[str]) -> None:
    """Add elements to a shape after its last one, indented as that one is."""
    if end.start == end.end:  # `<box ... />`
        tag = copy.raw(shape.start, shape.end).removesuffix("/>").rstrip()
        copy.replace(shape.start, shape.end, f"{tag}>{''.join(added)}</{shape.name}>")
    elif added:
        around = _blank(copy.raw(last, end.start)) if last == shape.end else ""
        indent = indent or (around and around + "  ")
        copy.replace(last, last, "".join(indent + one for one in added))


def _blank(text: str) -> str:
    return text if text.isspace() else ""


def _attribute(name: str, value: str) -> str:
    return f'<attribute name="{name}">{value}</attribute>'
