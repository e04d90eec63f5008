"""COCO's object annotations: one JSON file for many images.

A region is an annotation: the one polygon of its `segmentation`, else its `bbox`. Its text goes where
COCO-Text has it, to `utf8_string`, and with the confidence to `attributes`, which CVAT and Datumaro read.
"""

from array import array
from collections.abc import Iterator
from typing import Any

import msgspec

from contract.errors import SourceError
from contract.lines import UNREADABLE
from contract.region import BOX_NUMBERS, Level, Region, box_of
from producer.regions.base import Names, PageRegions, Readable, RegionOptions, Texts, Writable
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

MAX_BYTES = 1 << 30
"""Maximum bytes of a file, which is held in memory: TextOCR, with 900,000 words, has a third of it."""

WHAT = "a COCO file with `images` and `annotations`"

Id = int | str


class Image(msgspec.Struct, gc=False):
    """An image; `file_name` is relative to the images' folder."""

    id: Id
    file_name: str


class Category(msgspec.Struct, gc=False):
    """A category of annotations."""

    id: Id
    name: str


class Annotation(msgspec.Struct, gc=False):
    """An annotation; `bbox` is x, y, width and height."""

    image_id: Id
    id: Id | None = None
    category_id: Id | None = None
    bbox: Any = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class Dataset(msgspec.Struct):
    """What is read of a file; `annotations` are decoded one by one."""

    images: list[Image]
    annotations: msgspec.Raw
    categories: list[Category] = []


class _File:
    """One file in memory, and where its annotations are: a few bytes for each."""

    def __init__(self, file: Readable, options: RegionOptions) -> None:
        self.data = memoryview(read_whole(file, MAX_BYTES))
        dataset = parsed(self.data, Dataset, WHAT)
        self.images = {image.id: image.file_name for image in dataset.images}
        self._wanted = {one.id for one in dataset.categories if one.name in options.categories}
        self._filtered = bool(options.categories)
        self._start = members(self.data, (0, len(self.data))).spans["annotations"]

    def annotations(self) -> Iterator[tuple[int, int, Annotation]]:
        """Yield the annotations of the wanted categories, each with where it is."""
        for start, end in elements(self.data, self._start):
            annotation = element(self.data[start:end], Annotation, "an annotation")
            if annotation.image_id not in self.images:
                raise SourceError(
                    f"the annotation {annotation.id!r} is of an image that is not in `images`: "
                    f"{annotation.image_id!r}"
                )
            if not self._filtered or annotation.category_id in self._wanted:
                yield start, end, annotation


class Coco:
    """COCO's object annotations."""

    extensions = frozenset({".json"})
    has_categories = True
    levels: tuple[Level, ...] = ()
    holds_text = True

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the images that have annotations, in the file's order."""
        coco = _File(file, options)
        by_image = {image: array("Q") for image in coco.images}
        for start, end, annotation in coco.annotations():
            by_image[annotation.image_id].extend((start, end))
        for image, places in by_image.items():
            if places:
                yield PageRegions(coco.images[image], _regions(coco.data, places))

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with texts in `utf8_string` and `attributes`."""
        coco = _File(file, options)
        write_edited(coco.data, _edits(coco, texts), target)


FORMAT = Coco()


def _regions(data: memoryview, places: "array[int]") -> Iterator[Region]:
    names = Names()
    for start, end in zip(places[::2], places[1::2], strict=True):
        annotation = element(data[start:end], Annotation, "an annotation")
        yield _region(annotation, names.next(_id(annotation)))


def _region(annotation: Annotation, name: str) -> Region:
    polygon = _only_polygon(annotation.segmentation)
    if polygon and (region := outline(polygon, name)).fault is None:
        return region
    box = annotation.bbox
    if not isinstance(box, list) or len(box) != BOX_NUMBERS:
        fault = "an annotation needs a `bbox` of x, y, width and height, or a `segmentation` of one polygon"
        return Region(name=name, fault=fault)
    if not all(type(number) in (int, float) for number in box):
        return box_of(box, name=name)
    x, y, width, height = box
    return box_of((x, y, x + width, y + height), name=name)


def _only_polygon(segmentation: msgspec.Raw) -> list[tuple[Any, ...]] | None:
    """Return the corners of a polygon; None for a mask, or an object of several parts."""
    try:
        parts = msgspec.json.decode(segmentation, type=list[list[float]])
    except UNREADABLE:
        return None
    if len(parts) != 1 or len(parts[0]) % 2:
        return None
    return list(zip(parts[0][::2], parts[0][1::2], strict=True))


def _id(annotation: Annotation) -> str | None:
    return None if annotation.id is None else str(annotation.id)


def _edits(coco: _File, texts: Texts) -> Iterator[Edit]:
    names = {image: Names() for image in coco.images}
    for start, end, annotation in coco.annotations():
        name = names[annotation.image_id].next(_id(annotation))
        read = texts(coco.images[annotation.image_id], None, name)
        if read:
            attributes = {"text": read.value, "confidence": read.confidence}
            values = {"utf8_string": read.value, "attributes": attributes}
            yield from changes(coco.data, (start, end), values)
