"""A look at a job's work: some items beside their text, from any part that is there."""

from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Any

import msgspec

from contract.errors import ObjectMissingError
from contract.records import SHOWN, Item, failure_of
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, intact
from producer.results.view import words_of

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
    """One item that was read, where it stands in its job, and its text, of a page up to SHOWN characters.

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
    chunk = max(parts)
    uri = workspace.part(chunk)
    with intact(uri):
        found = [
            (index, msgspec.json.decode(line, type=dict[str, Any]))
            for index, line in enumerate(workspace.lines(uri))
            if failure_of(line) is None
        ]
    chosen = sorted(Random(chunk).sample(range(len(found)), min(count, len(found))))  # noqa: S311
    return [
        Sample(line["id"], *_said(line), chunk, index)
        for index, line in (found[position] for position in chosen)
    ]


def _said(line: dict[str, Any]) -> tuple[str, float | None]:
    if "value" in line:
        return line["value"], line["confidence"]
    if "bounding_boxes" in line:
        return f"{len(line['bounding_boxes'])} words found", None
    words = list(words_of(line))
    text = " ".join(word["value"] for word in words)[:SHOWN]
    return text, fmean(word["confidence"] for word in words) if words else None


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
