"""A look at a job's work: some crops beside their text, from any part that is there."""

from dataclasses import dataclass
from random import Random

import msgspec

from contract.errors import ObjectMissingError
from contract.records import Item, RecognitionLine, failure_of
from contract.roots import AllowedRoots
from contract.storage import Storage
from contract.workspace import Workspace, intact

IMAGE_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
}
"""First bytes of the formats that every browser shows, and their media types. SVG is not among them: it can
hold scripts."""


@dataclass(frozen=True)
class Sample:
    """One crop that was read, where it stands in its job, and its text; `confidence` in 0..1."""

    id: str
    value: str
    confidence: float
    chunk: int
    index: int


def samples(workspace: Workspace, count: int) -> list[Sample]:
    """Return up to `count` results of the newest finished chunk, the same ones at every call."""
    parts = workspace.part_numbers()
    if not parts:
        return []
    chunk = max(parts)
    uri = workspace.part(chunk)
    with intact(uri):
        found = [
            (index, msgspec.json.decode(line, type=RecognitionLine))
            for index, line in enumerate(workspace.lines(uri))
            if failure_of(line) is None
        ]
    chosen = sorted(Random(chunk).sample(range(len(found)), min(count, len(found))))  # noqa: S311
    return [
        Sample(line.id, line.value, line.confidence, chunk, index)
        for index, line in (found[position] for position in chosen)
    ]


def item_of(workspace: Workspace, chunk: int, index: int) -> Item:
    """Return an item of a job by its place; raises ObjectMissingError if there is none."""
    items = workspace.items(chunk)
    if index >= len(items):
        raise ObjectMissingError(f"chunk {chunk} has no item {index}")
    return items[index]


def image_of(item: Item, storage: Storage, roots: AllowedRoots, max_bytes: int) -> tuple[bytes, str] | None:
    """Return an item's file and its media type, or None if browsers do not show it.

    Raises:
        StorageError: it lies outside the roots, is too large, or cannot be read
    """
    roots.check(item.uri)
    data = storage.at(item.uri).read(item.uri, max_bytes)
    for signature, media_type in IMAGE_TYPES.items():
        if data.startswith(signature):
            return data, media_type
    return None
