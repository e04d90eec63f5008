"""Samples of a job's results: items with their text, from the newest parts; and the regions of a page."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any, TypeVar

import msgspec

from contract.errors import ObjectMissingError
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.lines import Failure
from contract.records import SHOWN, Item, failure_of
from contract.region import Region
from contract.shards.reading import file_of
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, intact

IMAGE_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
}
"""First bytes of the formats that every browser shows, and their media types. SVG is excluded: it can contain
scripts."""

MAX_REGIONS = 1_000
"""Regions of one page that one call returns at most: a chunk of crops has about as many."""

K = TypeVar("K")
V = TypeVar("V")

LOOKED_AT = 8
"""Parts that one call reads at most: usually one."""


@dataclass(frozen=True)
class Sample:
    """One item that was read, its position in the job, and up to SHOWN characters of its text.

    `confidence` is in 0..1; for a page, the mean over its words; None if no word was read. `image` is the
    index of the item whose file is its picture: of regions of one page, the first of them in the chunk.
    """

    id: str
    value: str
    confidence: float | None
    chunk: int
    index: int
    image: int
    region: Region | None = None


@dataclass(frozen=True)
class ReadRegion:
    """A region of a page: what was read, or the error; neither if it is not read yet."""

    id: str
    region: Region
    value: str | None = None
    confidence: float | None = None
    error: Failure | None = None


def samples(workspace: Workspace, count: int) -> list[Sample]:
    """Return up to `count` results of the newest finished chunks; repeated calls return the same ones.

    One chunk has enough, except that a round of retries may hold few results or none.
    """
    parts = sorted(workspace.part_numbers(), reverse=True)[:LOOKED_AT]
    if not parts:
        return []
    kind = KINDS[workspace.require_job().kind]
    chosen: list[Sample] = []
    for chunk in parts:
        found = _results(workspace, chunk, kind)
        positions = sorted(Random(chunk).sample(range(len(found)), min(count - len(chosen), len(found))))  # noqa: S311
        # Only crops may be regions; without its chunk an item is shown as if it were none.
        items = _or_none(workspace.items, chunk) if kind.unit == "crop" and positions else []
        chosen += [_sample(kind, *found[position], chunk, items) for position in positions]
        if len(chosen) == count:
            break
    return chosen


def _results(workspace: Workspace, chunk: int, kind: Kind) -> list[tuple[int, Any]]:
    uri = workspace.part(chunk)
    with intact(uri):
        return [
            (index, msgspec.json.decode(line, type=kind.line))
            for index, line in enumerate(workspace.lines(uri))
            if failure_of(line) is None
        ]


def _sample(kind: Kind, index: int, line: Any, chunk: int, items: Sequence[Item]) -> Sample:
    value, confidence = kind.excerpt(line)
    region = items[index].region if index < len(items) else None
    image = index if region is None else next(_beside(items[index], items))
    return Sample(line.id, value[:SHOWN], confidence, chunk, index, image, region)


def regions_of_page(workspace: Workspace, chunk: int, index: int) -> list[ReadRegion]:
    """Return the regions of a region's page that are in its chunk, MAX_REGIONS at most.

    Raises:
        ObjectMissingError: there is no such item
    """
    kind, items = KINDS[workspace.require_job().kind], workspace.items(chunk)
    beside = islice(_beside(item_of(items, chunk, index), items), MAX_REGIONS)
    lines = dict(enumerate(_or_none(workspace.lines, workspace.part(chunk))))
    with intact(workspace.part(chunk)):
        return [_read(kind, items[number], lines.get(number)) for number in beside]


def _or_none(read: Callable[[K], list[V]], key: K) -> list[V]:
    try:
        return read(key)
    except ObjectMissingError:
        return []


def _beside(item: Item, items: Sequence[Item]) -> Iterator[int]:
    """Yield the indexes of the regions that are on the page of one of them."""
    page = item.uri, item.page
    return (
        number for number, one in enumerate(items) if one.region is not None and (one.uri, one.page) == page
    )


def _read(kind: Kind, item: Item, line: bytes | None) -> ReadRegion:
    assert item.region is not None
    if line is None:
        return ReadRegion(item.id, item.region)
    failure = failure_of(line)
    if failure:
        return ReadRegion(item.id, item.region, error=failure)
    value, confidence = kind.excerpt(msgspec.json.decode(line, type=kind.line))
    return ReadRegion(item.id, item.region, value[:SHOWN], confidence)


def item_of(items: Sequence[Item], chunk: int, index: int) -> Item:
    """Return an item of a chunk by its index; raises ObjectMissingError if there is none."""
    if index >= len(items):
        raise ObjectMissingError(f"chunk {chunk} has no item {index}")
    return items[index]


def image_of(item: Item, storage: Storage, roots: AllowedRoots, max_bytes: int) -> tuple[bytes, str] | None:
    """Return an item's file and its media type, or None if browsers do not show it.

    Args:
        roots: the roots of the job's items

    Raises:
        StorageError, ItemError: as `file_of`
    """
    data = file_of(item, storage, roots, max_bytes)
    media_type = media_type_of(data)
    return (data, media_type) if media_type else None


def media_type_of(data: bytes) -> str | None:
    """Return the media type of an image file, or None if browsers do not show it."""
    found = (media_type for signature, media_type in IMAGE_TYPES.items() if data.startswith(signature))
    return next(found, None)
