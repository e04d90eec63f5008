"""Samples of a job's results: some items with their text, from the newest parts."""

from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from contract.errors import ObjectMissingError
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.records import SHOWN, Item, failure_of
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

LOOKED_AT = 8
"""Parts that one call reads at most: usually one."""


@dataclass(frozen=True)
class Sample:
    """One item that was read, its position in the job, and up to SHOWN characters of its text.

    `confidence` is in 0..1; for a page, the mean over its words; None if no word was read.
    """

    id: str
    value: str
    confidence: float | None
    chunk: int
    index: int


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
        chosen += [_sample(kind, *found[position], chunk) for position in positions]
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


def _sample(kind: Kind, index: int, line: Any, chunk: int) -> Sample:
    value, confidence = kind.excerpt(line)
    return Sample(line.id, value[:SHOWN], confidence, chunk, index)


def item_of(workspace: Workspace, chunk: int, index: int) -> Item:
    """Return an item of a job by chunk and index; raises ObjectMissingError if there is none."""
    items = workspace.items(chunk)
    if index >= len(items):
        raise ObjectMissingError(f"chunk {chunk} has no item {index}")
    return items[index]


def image_of(item: Item, storage: Storage, roots: AllowedRoots, max_bytes: int) -> tuple[bytes, str] | None:
    """Return an item's file and its media type, or None if browsers do not show it.

    Args:
        roots: the roots of the job's items

    Raises:
        StorageError: the file is outside the roots, is too large, or cannot be read
    """
    location = roots.resolved(item.uri)
    data = storage.at(location).read(location, max_bytes)
    media_type = media_type_of(data)
    return (data, media_type) if media_type else None


def media_type_of(data: bytes) -> str | None:
    """Return the media type of an image file, or None if browsers do not show it."""
    found = (media_type for signature, media_type in IMAGE_TYPES.items() if data.startswith(signature))
    return next(found, None)
