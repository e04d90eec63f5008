"""Single results of a merged job, for people who check them: by confidence, by text, by id, by place."""

from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from contract.errors import JobError, ObjectMissingError
from contract.job import Job
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.lines import ErrorLine
from contract.records import SHOWN, Item, failure_of, identity_of
from contract.review import ItemFailure, ReviewItem, ReviewPage, ReviewWord
from contract.workspace import Workspace, intact
from producer.results.choice import ANY, Choice, place_after, position_of
from producer.results.corrected_lines import Corrections
from producer.results.corrections import Overlay
from producer.results.order import AT_ONCE, Order, Place, places_within, rank_of
from producer.results.samples import item_of
from producer.results.scanning import Hit, Wanted, in_json, scan

MAX_ITEMS = 200
"""Maximum items of one page."""

FIRST_READ = 512, 1 << 16
"""Least and most bytes that are read of a line at first; it is read again if it is longer."""

MOST_CHUNKS = 64
"""Chunks whose items are in memory at once."""


@dataclass(frozen=True)
class Items:
    """The items of a merged job.

    Args:
        order: the job's `results.order.bin`
        overlay: corrections that are not merged yet, besides those that are
    """

    workspace: Workspace
    job: Job
    order: Order
    overlay: Overlay = field(default_factory=dict)
    _chunks: dict[int, list[Item]] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """The job's kind."""
        return KINDS[self.job.kind]

    def page(self, choice: Choice, count: int, cursor: str | None = None) -> ReviewPage:
        """Return the next items; raises UsageError for a cursor that was not returned for such a choice."""
        if choice.searches:
            return self._search(choice, count, position_of(cursor))
        rank = None if choice.below is None else rank_of(choice.below)
        least = (0, -1) if choice.at_least is None else (rank_of(choice.at_least), -1)
        found = self.order.page(count, place_after(cursor) or least, rank)
        more = f"{found[-1].rank:x}-{found[-1].number:x}" if len(found) == count else None
        return ReviewPage(tuple(self._rated(found)), "confidence", more)

    def at(self, chunk: int, index: int) -> ReviewItem:
        """Return one item with its words; raises ObjectMissingError if there is none."""
        line = self.line_at(chunk, index)
        return self._shown(line, chunk, index, whole=True)

    def line_at(self, chunk: int, index: int) -> bytes:
        """Return the line of an item, of a result or an error; raises ObjectMissingError if there is none."""
        item = item_of(self._items(chunk), chunk, index)
        start = b'{"id":"' + in_json(item.id) + b'"'
        for uri, begins, size in self._files:
            begin, end = places_within(begins, chunk, size)
            lines = self.workspace.store.read_range(uri, begin, end - begin)
            found = next((line for line in lines.split(b"\n") if line.startswith(start)), None)
            if found is not None:
                return found
        raise JobError(f"{item.id!r} is in no line of {self.workspace.root}: merge the job again")

    def corrected(self, line: bytes) -> Any:
        """Return a result's line, decoded, with its corrections."""
        read = msgspec.json.decode(line, type=self.kind.line)
        return Corrections(self.kind, self.overlay).over_line(identity_of(line), read)

    def with_ids(self, ids: Container[str]) -> Iterator[ReviewItem]:
        """Yield the results of all items with these ids, in the order of the source; reads all lines."""
        uri, begins, size = self._files[0]
        wanted, start = Wanted(accepts=lambda line: identity_of(line) in ids), 0
        while start < size:
            hits, start = scan(self.workspace.store, uri, size, start, MAX_ITEMS, wanted)
            for hit in hits:
                yield self._found(begins, hit)

    @property
    def _files(self) -> tuple[tuple[str, Sequence[int], int], ...]:
        """Each merged file, where the lines of each chunk begin in it, and its size."""
        order, workspace = self.order, self.workspace
        return (
            (workspace.results, order.results, order.description.results),
            (workspace.errors, order.errors, order.description.errors),
        )

    def _items(self, chunk: int) -> list[Item]:
        if chunk >= self.order.description.chunks:
            raise ObjectMissingError(f"the job has no chunk {chunk}")
        if chunk not in self._chunks:
            if len(self._chunks) >= MOST_CHUNKS:
                self._chunks.clear()
            self._chunks[chunk] = self.workspace.items(chunk)
        return self._chunks[chunk]

    def _rated(self, places: Sequence[Place]) -> list[ReviewItem]:
        """Return the items at some places; their lines are anywhere in the file."""
        size, entries = self.order.description.results, max(self.order.description.entries, 1)
        least, most = FIRST_READ
        read = partial(self._line, guess=min(max(2 * size // entries, least), most))
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="items") as threads:
            lines = list(threads.map(read, (place.offset for place in places)))
        numbers = (divmod(place.number, self.job.chunk_size) for place in places)
        return [self._shown(line, *number) for line, number in zip(lines, numbers, strict=True)]

    def _line(self, position: int, guess: int) -> bytes:
        while True:
            data = self.workspace.store.read_range(self.workspace.results, position, guess)
            end = data.find(b"\n")
            if end >= 0:
                return data[:end]
            if len(data) < guess:
                raise JobError(f"{self.workspace.results} was cut: merge the job again")
            guess *= 4

    def _search(self, choice: Choice, count: int, start: int) -> ReviewPage:
        uri, begins, size = self._files[1 if choice.code else 0]
        hits, end = scan(self.workspace.store, uri, size, start, count, self._wanted(choice))
        found = tuple(self._found(begins, hit) for hit in hits)
        cursor = f"@{end:x}" if end < size else None
        return ReviewPage(found, "source", cursor, end / size if size else 1.0)

    def _found(self, begins: Sequence[int], hit: Hit) -> ReviewItem:
        # Chunks without a line begin where the next one does.
        chunk = bisect_right(begins, hit.position) - 1
        identity = identity_of(hit.line)
        index = next((i for i, item in enumerate(self._items(chunk)) if item.id == identity), None)
        if index is None:
            raise JobError(f"{self.workspace.chunk(chunk)} lacks {identity!r}: merge the job again")
        return self._shown(hit.line, chunk, index)

    def _wanted(self, choice: Choice) -> Wanted:
        if choice.code:
            needle = b"" if choice.code == ANY else b'"code":"' + in_json(choice.code) + b'"'
        elif choice.id:
            needle = b'{"id":"' + in_json(choice.id)
        else:
            # The words of a page are texts of their own.
            words = choice.text.split() if choice.text and self.kind.unit == "page" else [choice.text or ""]
            needle = in_json(max(words, key=len, default=""))
        return Wanted(needle, partial(self._accepts, choice))

    def _accepts(self, choice: Choice, line: bytes) -> bool:
        with intact(self.workspace.results):
            if choice.id and not identity_of(line).startswith(choice.id):
                return False
            if choice.code:
                failure = failure_of(line)
                coded = failure is not None and choice.code in (ANY, failure.code)
                return coded and (choice.text or "") in (failure.message if failure else "")
            if choice.text and choice.text not in self._text(line):
                return False
            return self._within(choice, line)

    def _within(self, choice: Choice, line: bytes) -> bool:
        if choice.below is None and choice.at_least is None:
            return True
        rank = rank_of(self.kind.certainty(msgspec.json.decode(line, type=self.kind.line)))
        low, high = rank_of(choice.at_least), None if choice.below is None else rank_of(choice.below)
        return low <= rank and (high is None or rank < high)

    def _text(self, line: bytes) -> str:
        return self.kind.excerpt(msgspec.json.decode(line, type=self.kind.line)).value

    def _shown(self, line: bytes, chunk: int, index: int, *, whole: bool = False) -> ReviewItem:
        with intact(self.workspace.results):
            if failure_of(line):
                failed = msgspec.json.decode(line, type=ErrorLine)
                error = ItemFailure(failed.error.code.value, failed.error.message)
                return ReviewItem(failed.id, "", None, chunk, index, error=error)
            read: Any = self.corrected(line)
        value = self.kind.excerpt(read).value
        cut = self.kind.unit == "page" and not whole
        return ReviewItem(
            read.id,
            value[:SHOWN] if cut else value,
            self.kind.certainty(read),
            chunk,
            index,
            read.label,
            read.note,
            getattr(read, "value_read", None),
            getattr(read, "corrected_by", None),
            words=tuple(_words(self.kind, read)) if whole else (),
        )


def _words(kind: Kind, line: Any) -> list[ReviewWord]:
    words = enumerate(kind.words(line))
    return [
        ReviewWord(number, one.geometry, one.value, one.confidence, one.value_read, one.corrected_by)
        for number, one in words
    ]
