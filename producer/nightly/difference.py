"""What a night reads: a merge-join of the source's sorted listing with what the last night left."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from contract.documents import claimed_document, page_id
from contract.errors import JobError, SourceError
from contract.records import Item, decode_item
from producer.nightly.records import Counts, Entry
from producer.sources.sorting import sort_in_runs


class OutOfOrderError(Exception):
    """Items that should come in the order of their ids do not; they must be sorted first."""


@dataclass(frozen=True)
class Rules:
    """How a night compares.

    Args:
        night: its date
        pages: items are documents, whose lines are of pages
        reread: everything is read
        adopt: fingerprints of another kind are taken over without reading
        attempts: nights in which an item that fails is read
        is_sorted: the source's items come in the order of their ids; otherwise they are sorted first
    """

    night: str
    pages: bool
    reread: bool = False
    adopt: bool = False
    attempts: int = 3
    is_sorted: bool = False


@dataclass
class Difference:
    """The entries of a night with the items to read for each; iterate once, then see `counts`."""

    rules: Rules
    counts: Counts = field(default_factory=Counts)

    def between(self, old: Iterator[Entry], new: Iterable[Item]) -> Iterator[tuple[Entry, list[Item]]]:
        """Yield every entry, in the order of ids, with what its night reads of it.

        Args:
            old: what the last night left, in order
            new: the source's items

        Raises:
            OutOfOrderError: the items are not in order, and the rules say that they are
            SourceError: two items have the same id, or one has the id of a page
        """
        left = next(old, None)
        for item in in_order(new, pages=self.rules.pages, is_sorted=self.rules.is_sorted):
            while left is not None and left.id < item.id:
                yield self._gone(left), []
                left = next(old, None)
            known = left if left is not None and left.id == item.id else None
            yield self._found(known, item)
            if known is not None:
                left = next(old, None)
        while left is not None:
            yield self._gone(left), []
            left = next(old, None)

    def _gone(self, entry: Entry) -> Entry:
        if entry.gone:
            return entry
        self.counts.gone += 1
        return msgspec.structs.replace(entry, gone=self.rules.night)

    def _found(self, known: Entry | None, item: Item) -> tuple[Entry, list[Item]]:
        counts, content = self.counts, _content_of(item)
        counts.listed += 1
        if known is None or known.deleted:
            counts.new += 1
            return self._whole(Entry(item.id, content), item)
        if self.rules.reread or (known.fingerprint != content and not self.rules.adopt):
            counts.changed += 1
            return self._whole(Entry(item.id, content), item)
        entry = msgspec.structs.replace(known, fingerprint=content, gone=None)
        if not known.failures:
            counts.unchanged += 1
            return entry, []
        if known.failures >= self.rules.attempts and not known.late:
            counts.given_up += 1
            return entry, []
        counts.again += 1
        if not known.pages:
            return self._whole(entry, item)
        counts.to_read += len(known.pages)
        pages = [msgspec.structs.replace(item, id=page_id(item.id, page), page=page) for page in known.pages]
        return entry, pages

    def _whole(self, entry: Entry, item: Item) -> tuple[Entry, list[Item]]:
        self.counts.to_read += 1
        return msgspec.structs.replace(entry, read=True, pages=()), [item]


def in_order(items: Iterable[Item], *, pages: bool, is_sorted: bool = False) -> Iterator[Item]:
    """Yield items in the order of their ids as UTF-8, in constant memory.

    Raises:
        SourceError: as `Difference.between`
    """
    before = ""
    for item in items if is_sorted else _sorted(items):
        if item.id <= before:
            if item.id < before:
                raise OutOfOrderError
            raise SourceError(f"two items have the id {before!r}: lines are joined on ids, so change one")
        if pages and claimed_document(item.id) is not None:
            raise SourceError(f"the id {item.id!r} is that of a page: in nights, give documents other ids")
        before = item.id
        yield item


def _sorted(items: Iterable[Item]) -> Iterator[Item]:
    # As text: Python compares code points, which is the order of UTF-8.
    lines = sort_in_runs([item.id, msgspec.json.encode(item).decode()] for item in items)
    return (decode_item(line.encode()) for _, line in lines)


def checked_order(entries: Iterator[Entry], uri: str) -> Iterator[Entry]:
    """Yield the entries; raises JobError if they are not in order."""
    before = ""
    for entry in entries:
        if before >= entry.id:
            raise JobError(f"{uri} is damaged: {entry.id!r} is not in order; read everything with --reread")
        before = entry.id
        yield entry


def _content_of(item: Item) -> str | None:
    """Return the fingerprint of what is read of an item: of a region, other corners are other content."""
    if item.region is None or item.fingerprint is None:
        return item.fingerprint
    region = hashlib.sha256(msgspec.json.encode(item.region)).hexdigest()
    return f"{item.fingerprint[:100]}/{region[:16]}"
