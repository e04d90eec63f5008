"""One item, or all pages of a document, to look at: found in a workspace, with its line and its picture."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import msgspec
from PIL import Image, ImageOps

from contract.documents import POINTS_PER_INCH, document_of, is_document, opened_frames, opened_pdf
from contract.errors import (
    ErrorCode,
    ItemError,
    JobError,
    ObjectMissingError,
    TooManyBytesError,
    UsageError,
)
from contract.job import Job
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage, copy
from contract.workspace import Workspace, intact

READ_AHEAD = 32
"""Chunks looked through at once: on S3 latency rules."""

MAX_SIDE = 1600
"""Pixels of a picture's longer side at most: what fits a screen; geometry is relative."""


@dataclass(frozen=True)
class Found:
    """An item and its line, a result or an error as JSON holds it; None if it is not read yet."""

    item: Item
    line: dict[str, Any] | None


def find(workspace: Workspace, job: Job, wanted: str) -> list[Found]:
    """Return the item of that id, or each page of the document of that id, in source order.

    Raises:
        UsageError: the job has no such item
    """
    found: dict[str, Found] = {}
    for chunk, index, item in _matches(workspace, job, wanted):
        # Of an item that was retried the last line stands.
        line = _line(workspace, chunk, index)
        found[item.id] = Found(item, line or (found[item.id].line if item.id in found else None))
    if not found:
        raise UsageError(
            f"{workspace.root} has no item {wanted!r}: results.jsonl and errors.jsonl name them; pages of "
            "documents are called like ledger.pdf#page=2, and ledger.pdf is all of them"
        )
    return list(found.values())


def words_of(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the words of a page's line, of kind ocr or kie, as JSON holds them."""
    for page in line.get("pages", ()):
        for block in page["blocks"]:
            for part in block["lines"]:
                yield from part["words"]
    for field in line.get("extracted_fields", ()):
        yield from field["values"]


def picture(item: Item, storage: Storage, settings: Settings) -> Image.Image:
    """Return an item's image, RGB, upright, no larger than a screen.

    For commands: pdfium runs in this process.

    Raises:
        StorageError, ItemError, OSError: it cannot be read
    """
    store = storage.at(item.uri)
    if not (item.page and is_document(item.uri)):
        with Image.open(io.BytesIO(store.read(item.uri, settings.max_bytes))) as image:
            return _fitted(image, settings.max_pixels)
    if store.size(item.uri) > settings.max_document_bytes:
        raise TooManyBytesError(f"{item.uri} is larger than {settings.max_document_bytes:,} bytes")
    with NamedTemporaryFile(prefix="trace-ocr-", suffix=Path(item.uri).suffix) as local:
        copy(store, item.uri, Path(local.name))
        return _page(Path(local.name), item.page, settings.max_pixels)


def _matches(workspace: Workspace, job: Job, wanted: str) -> Iterator[tuple[int, int, Item]]:
    """Yield chunk, index and item of what is wanted; planned chunks are left as soon as no more can come."""
    numbers = sorted(workspace.chunk_numbers())
    planned = [number for number in numbers if not job.is_retry(number)]
    with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="view") as threads:
        begun = False
        for start in range(0, len(planned), READ_AHEAD):
            some = planned[start : start + READ_AHEAD]
            matches = [
                (chunk, index, item)
                for chunk, items in zip(some, threads.map(workspace.items, some), strict=True)
                for index, item in enumerate(items)
                if wanted in (item.id, document_of(item.id))
            ]
            yield from matches
            if begun and not matches:
                break
            begun = begun or bool(matches)
    if not begun:
        return
    for chunk in numbers[len(planned) :]:
        for index, item in enumerate(workspace.items(chunk)):
            if wanted in (item.id, document_of(item.id)):
                yield chunk, index, item


def _line(workspace: Workspace, chunk: int, index: int) -> dict[str, Any] | None:
    uri = workspace.part(chunk)
    try:
        lines = workspace.lines(uri)
    except ObjectMissingError:
        return None
    if index >= len(lines):
        raise JobError(f"{uri} holds {len(lines)} lines: delete it and submit the job again")
    with intact(uri):
        return msgspec.json.decode(lines[index], type=dict[str, Any])


def _page(path: Path, number: int, max_pixels: int) -> Image.Image:
    if path.suffix.lower() != ".pdf":
        with opened_frames(path) as frames:
            frames.seek(number - 1)
            return _fitted(frames, max_pixels)
    with opened_pdf(path) as document:
        page = document[number - 1]
        scale = min(MAX_SIDE / max(page.get_size()), MAX_SIDE / POINTS_PER_INCH)
        rendered: Image.Image = page.render(scale=scale).to_pil()
        return rendered.convert("RGB")


def _fitted(image: Image.Image, max_pixels: int) -> Image.Image:
    if image.width * image.height > max_pixels:
        raise ItemError(ErrorCode.TOO_MANY_PIXELS, f"{image.width} x {image.height} pixels are too many")
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        ground = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(ground, upright.convert("RGBA"))
    upright = upright.convert("RGB")
    upright.thumbnail((MAX_SIDE, MAX_SIDE))
    return upright
