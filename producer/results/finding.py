"""Find one item, all pages of a document or all regions of a page, in a workspace, with their lines."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from contract.counting import counted
from contract.documents import document_of, page_id
from contract.errors import JobError, ObjectMissingError, UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import ErrorLine
from contract.records import Item, failure_of
from contract.region import page_of_region
from contract.workspace import Workspace, intact

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
            continue
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
    name = item.name
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
            held = counted(len(self._lines), "line")
            raise JobError(f"{uri} holds {held}: delete it and submit the job again")
        with intact(uri):
            line = self._lines[index]
            return msgspec.json.decode(line, type=ErrorLine if failure_of(line) else self._kind.line)

    def _part(self, uri: str) -> list[bytes] | None:
        try:
            return self._workspace.lines(uri)
        except ObjectMissingError:
            return None
