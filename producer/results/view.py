"""Viewing: find one item, all pages of a document or all regions of a page, with its line and its picture."""

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from PIL import Image

from contract.documents import Content, content_of_file, document_of, is_document, opened_pdf, page_id
from contract.errors import (
    ErrorCode,
    ItemError,
    JobError,
    ObjectMissingError,
    TooManyBytesError,
    UsageError,
)
from contract.images import decode_rgb
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import ErrorLine
from contract.pages import WITHOUT_FORMS, TiffReader, render
from contract.records import Item, failure_of
from contract.region import page_of_region
from contract.settings import Settings
from contract.storage import Storage, absolute
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, intact

NOT_OPENED = {
    ErrorCode.WORKER_CRASHED: "it crashed a worker's process",
    ErrorCode.TIMED_OUT: "it made a worker's process hang",
    ErrorCode.OUTSIDE_ALLOWED_ROOTS: "it is outside the worker's roots",
    ErrorCode.ACCESS_DENIED: "the worker may not read it",
    ErrorCode.NOT_A_FILE: "it is no regular file",
}
"""Why items with these errors are not opened here either."""

READ_AHEAD = 32
"""Chunks searched at once, to hide S3's latency."""

MAX_REGIONS = 5_000
"""Maximum regions that one view finds and draws: browsers draw some thousand without delay."""


@dataclass(frozen=True)
class Found:
    """An item and its line: a result of the job's kind, an error, or None if it is not read yet.

    A page of which regions are read has these as `regions`, and no line.
    """

    item: Item
    line: Any | ErrorLine | None
    regions: tuple["Found", ...] = ()


def find(workspace: Workspace, job: Job, wanted: str) -> list[Found]:
    """Return the item with that id, or each page of the document or image with that id, in source order.

    A page comes with its regions, MAX_REGIONS of all pages at most; the id of a region selects it alone.

    Raises:
        UsageError: the job has no such item
    """
    found: dict[str, Found] = {}
    lines = _Lines(workspace, job)
    for chunk, index, item in _matches(workspace, job, wanted):
        if item.region is not None and item.id not in found and len(found) >= MAX_REGIONS:
            break
        # The last line of a retried item counts.
        line = lines.line(chunk, index)
        found[item.id] = Found(item, line or (found[item.id].line if item.id in found else None))
    if not found:
        raise UsageError(
            f"{workspace.root} has no item {wanted!r}: results.jsonl and errors.jsonl list the ids; a page "
            "of a document has an id like ledger.pdf#page=2, and ledger.pdf selects all its pages; a region "
            "one like page.png#r=3, and page.png selects all its regions"
        )
    return list(_by_page(found.values(), wanted))


def page_name(item: Item) -> str:
    """Return the id of the page that a region is on: of the region's own id, or by the page's file."""
    assert item.region is not None
    name = item.uri.rpartition("/")[2]
    return page_of_region(item.id, item.region) or (page_id(name, item.page) if item.page else name)


def _by_page(found: Iterable[Found], wanted: str) -> Iterator[Found]:
    """Yield each page once with its regions; what has no region as it is."""
    pages: dict[object, list[Found]] = {}
    for one in found:
        item = one.item
        pages.setdefault(item.id if item.region is None else (item.uri, item.page), []).append(one)
    for group in pages.values():
        item = group[0].item
        if item.region is None:
            yield group[0]
            continue
        identity = wanted if item.id == wanted else page_name(item)
        yield Found(msgspec.structs.replace(item, id=identity, region=None), None, tuple(group))


class Pictures:
    """Reads items' pictures as workers do, one at a time; a remote document is copied once for all its pages.

    For commands only: pdfium runs in this process.

    Args:
        resolution: dots per inch for PDF pages
        roots: the roots of the job's items; None if every file that the user may read is allowed
        forms: draw the form fields of PDFs
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        resolution: int,
        roots: AllowedRoots | None = None,
        *,
        forms: bool = True,
    ) -> None:
        self._storage, self._settings, self._resolution = storage, settings, resolution
        self._roots, self._forms = roots, forms
        self._tiffs = TiffReader(settings.max_pixels)
        self._stack = contextlib.ExitStack()
        self._held: tuple[str, Path] | None = None

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stack.close()

    def of(self, found: Found) -> Image.Image:
        """Return an item's image, RGB and upright; of a page with regions the page.

        Raises:
            StorageError, ItemError, OSError: the image cannot be read, or the worker did not open it for a
                reason that holds here too
        """
        item, lines = found.item, [one.line for one in (found, *found.regions)]
        for line in lines:
            if isinstance(line, ErrorLine) and line.error.code in NOT_OPENED:
                code = line.error.code
                raise ItemError(code, f"{NOT_OPENED[code]}, so it is not opened here")
        location = self._roots.resolved(item.uri) if self._roots else absolute(item.uri)
        # A region need not say on which page of a document it is: it is on the first.
        if not item.page and not (found.regions and is_document(item.uri)):
            data = self._storage.at(location).read(location, self._settings.max_bytes)
            return decode_rgb(data, self._settings.max_pixels).image
        # Fields that broke a worker's process could do the same here.
        forms = self._forms and all(getattr(line, "note", None) != WITHOUT_FORMS for line in lines)
        return self._page(self._path(location), item.page or 1, forms)

    def _page(self, path: Path, number: int, forms: bool) -> Image.Image:
        content = content_of_file(path)
        if content is Content.IMAGE:
            return decode_rgb(path.read_bytes(), self._settings.max_pixels).image
        if content is Content.TIFF:
            return self._tiffs.page(path, number).image
        with opened_pdf(path, forms=forms) as document:
            picture: Image.Image = render(
                document, number, self._resolution, self._settings.max_pixels
            ).to_pil()
            return picture

    def _path(self, uri: str) -> Path:
        """Return the local path of a document; a document's pages are requested one after another."""
        if self._held and self._held[0] == uri:
            return self._held[1]
        store, limit = self._storage.at(uri), self._settings.max_document_bytes
        if store.size(uri) > limit:
            raise TooManyBytesError(
                f"{uri} is larger than {limit:,} bytes: raise TRACE_OCR_MAX_DOCUMENT_BYTES to see it"
            )
        self._held = None
        self._stack.close()
        path = self._stack.enter_context(store.local_copy(uri))
        self._held = uri, path
        return path


def _matches(workspace: Workspace, job: Job, wanted: str) -> Iterator[tuple[int, int, Item]]:
    """Yield chunk, index and item of each match; stop searching planned chunks once no more can follow."""
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
                if _is(item, wanted)
            ]
            yield from matches
            if begun and not matches:
                break
            begun = begun or bool(matches)
    if not begun:
        return
    for chunk in numbers[len(planned) :]:
        for index, item in enumerate(workspace.items(chunk)):
            if _is(item, wanted):
                yield chunk, index, item


def _is(item: Item, wanted: str) -> bool:
    """Return whether `wanted` is the id of the item, its page or its document; a manifest may give any id.

    The page of a region with an id of its own is known by its file.
    """
    if item.region is not None:
        page, uri = page_name(item), item.uri
        file = uri == wanted or uri.endswith(f"/{wanted}")
        return file or wanted in (item.id, page, document_of(page, item.page))
    return item.id == wanted or (item.page is not None and item.id == page_id(wanted, item.page))


class _Lines:
    """The lines of a job's items; the part that was read last is kept."""

    def __init__(self, workspace: Workspace, job: Job) -> None:
        self._workspace, self._kind = workspace, KINDS[job.kind]
        self._chunk = -1
        self._lines: list[bytes] | None = None

    def line(self, chunk: int, index: int) -> Any | ErrorLine | None:
        """Return the line of an item, or None if it is not read yet; raises JobError if its part is cut."""
        uri = self._workspace.part(chunk)
        if chunk != self._chunk:
            self._chunk, self._lines = chunk, self._part(uri)
        if self._lines is None:
            return None
        if index >= len(self._lines):
            raise JobError(f"{uri} holds {len(self._lines)} lines: delete it and submit the job again")
        with intact(uri):
            line = self._lines[index]
            return msgspec.json.decode(line, type=ErrorLine if failure_of(line) else self._kind.line)

    def _part(self, uri: str) -> list[bytes] | None:
        try:
            return self._workspace.lines(uri)
        except ObjectMissingError:
            return None
