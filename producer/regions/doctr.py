"""docTR's labels of a detection data set: one JSON file for many images, with absolute pixels.

`{"scan.png": {"polygons": [[[x, y], ...], ...]}}`, or `{"polygons": {"words": [...]}}` with classes. A region
is named by its place, counted from 1: `12`, or `words.12` if it has a class. There is no place for text.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from contract.records import SHOWN
from contract.region import Level, Region, region_of
from producer.regions.base import PageRegions, Readable, RegionOptions, WithoutText
from producer.regions.json_text import element, parsed, read_whole
from producer.regions.outlines import outline

MAX_BYTES = 1 << 28
"""Maximum bytes of a file, which is held in memory: a million words have some 80 MB."""

WHAT = "a file of docTR's detection labels, an object for each image with its `polygons`"


class Labels(msgspec.Struct):
    """One image's labels."""

    polygons: list[Any] | dict[str, list[Any]]


class DocTr(WithoutText):
    """docTR's labels of a detection data set."""

    extensions = frozenset({".json"})
    has_categories = True
    levels: tuple[Level, ...] = ()

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the images that have regions, in the file's order."""
        images = parsed(read_whole(file, MAX_BYTES), dict[str, msgspec.Raw], WHAT)
        for first in islice(images.values(), 1):
            parsed(first, Labels, WHAT)
        for image, labels in images.items():
            polygons = element(labels, Labels, f"the image {image[:SHOWN]!r}").polygons
            if polygons:
                yield PageRegions(image, _regions(polygons, options.categories))


FORMAT = DocTr()


def _regions(polygons: list[Any] | dict[str, list[Any]], categories: tuple[str, ...]) -> Iterator[Region]:
    if isinstance(polygons, list):
        yield from (_region(polygon, str(number)) for number, polygon in enumerate(polygons, 1))
        return
    for category, of_category in polygons.items():
        if not categories or category in categories:
            for number, polygon in enumerate(of_category, 1):
                yield _region(polygon, f"{category}.{number}")


def _region(polygon: Any, name: str) -> Region:
    is_polygon = isinstance(polygon, list) and all(isinstance(corner, list) for corner in polygon)
    return outline(polygon, name) if is_polygon else region_of(polygon, name=name)
