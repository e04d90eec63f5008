"""A look at a job's work: some items beside their text, from any part that is there."""

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
"""First bytes of the formats that every browser shows, and their media types. SVG is not among them: it can
hold scripts."""


@dataclass(frozen=True)
class Sample:
    """One item that was read, where it stands in its job, and up to SHOWN characters of its text.

    `confidence` is in 0..1, of a page its words' mean; None where no word was read.
    """

    id: str
    value: str
    confidence: float | None
    chunk: int
    index: int


def samples(workspace: Workspace, count: int) -> list[Sample]:
    """Return up to `count` results of the newest finished chunk, the same ones at every call."""
    parts = workspace.part_numbers()
    if not parts:
        return []
    kind = KINDS[workspace.require_job().kind]
    chunk = max(parts)
    uri = workspace.part(chunk)
    with intact(uri):
        found = [
            (index, msgspec.json.decode(line, type=kind.line))
            for index, line in enumerate(workspace.lines(uri))
            if failure_of(line) is None
        ]
    chosen = sorted(Random(chunk).sample(range(len(found)), min(count, len(found))))  # noqa: S311
    return [_sample(kind, *found[position], chunk) for position in chosen]


def _sample(kind: Kind, index: int, line: Any, chunk: int) -> Sample:
    value, confidence = kind.excerpt(line)
    return Sample(line.id, value[:SHOWN], confidence, chunk, index)


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
