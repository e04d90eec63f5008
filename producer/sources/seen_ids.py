"""The ids that a source has already used, in bounded memory."""

import bisect
import tempfile
from types import TracebackType

import msgspec

from contract.documents import claimed_document, page_id
from contract.errors import SourceError
from contract.private_database import private_database
from contract.records import Item

INSERT_BLOCK = "INSERT OR IGNORE INTO seen SELECT value, ? + key FROM json_each(?) ORDER BY value, key"

Entries = list[tuple[str, int]]
"""Ids, each with its line number, counted from 1."""


class SeenIds:
    """A set of ids, each with its line number.

    SQLite stores 64-bit hashes, a third of the ids' size: once its cache is full, every insertion reads and
    writes a page. The ids themselves are appended to a file, which is read only when two hashes are equal.
    """

    def __enter__(self) -> "SeenIds":
        self._database = private_database("CREATE TABLE seen (hash INTEGER PRIMARY KEY, line INTEGER)")
        self._log = tempfile.TemporaryFile()
        self._blocks: list[tuple[int, int]] = []
        self._collided: dict[str, int] = {}
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._database.close()
        self._log.close()

    def add(self, entries: Entries) -> dict[int, int]:
        """Add ids in the order of their lines; return the lines that repeat an id, each with its first line.

        If several lines repeat an id, only the entry of the first such line is reliable.
        """
        if not entries:
            return {}
        self._blocks.append((entries[0][1], self._log.seek(0, 2)))
        self._log.write(msgspec.json.encode(entries) + b"\n")
        before = self._database.total_changes
        self._insert(entries)
        if self._database.total_changes - before == len(entries):
            return {}
        firsts = ((line, self._first_line_of(identity, line)) for identity, line in entries)
        return {line: first for line, first in firsts if first != line}

    def _insert(self, entries: Entries) -> None:
        first, last = entries[0][1], entries[-1][1]
        hashes = [hash(identity) for identity, _ in entries]
        if last - first == len(entries) - 1:
            # One statement that inserts in key order takes half the time of one statement per entry.
            self._database.execute(INSERT_BLOCK, (first, msgspec.json.encode(hashes).decode()))
        else:
            rows = zip(hashes, (line for _, line in entries), strict=True)
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)

    def _first_line_of(self, identity: str, line: int) -> int:
        """Return the line that used an id first; ids that only share a hash are kept in memory."""
        query = "SELECT line FROM seen WHERE hash = ?"
        first = int(self._database.execute(query, (hash(identity),)).fetchone()[0])
        if first == line or self._id_at(first) == identity:
            return first
        return self._collided.setdefault(identity, line)

    def _id_at(self, line: int) -> str:
        """Return the id of a line, from the line's block."""
        block = self._blocks[bisect.bisect_right(self._blocks, line, key=lambda start: start[0]) - 1]
        self._log.seek(block[1])
        entries = msgspec.json.decode(self._log.readline(), type=Entries)
        return next(identity for identity, number in entries if number == line)


class RegionNumbers:
    """Numbers the regions of each page, counted from 1, also where they do not follow each other.

    SQLite keeps the last number of each page that is not the current one in a temporary file.
    """

    def __enter__(self) -> "RegionNumbers":
        self._database = private_database(
            "CREATE TABLE numbers (page BLOB PRIMARY KEY, last INTEGER) WITHOUT ROWID"
        )
        self._page, self._last = "", 0
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._database.close()

    def next(self, page: str) -> int:
        """Return the number of a page's next region, given the page's id."""
        if page != self._page:
            self._database.execute(
                "INSERT OR REPLACE INTO numbers VALUES (?, ?)", (self._page.encode(), self._last)
            )
            query = "SELECT last FROM numbers WHERE page = ?"
            known = self._database.execute(query, (page.encode(),)).fetchone()
            self._page, self._last = page, known[0] if known else 0
        self._last += 1
        return self._last


class PageIds:
    """Checks that no item has the id of another document's page: a manifest may give any id.

    SQLite keeps the ids of documents, and those of which an item claims to be a page, in a temporary file.
    """

    def __enter__(self) -> "PageIds":
        self._database = private_database(
            "CREATE TABLE ids (id BLOB PRIMARY KEY, document INTEGER) WITHOUT ROWID"
        )
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._database.close()

    def check(self, item: Item, *, has_pages: bool) -> None:
        """Raise SourceError if the item's id is that of a page of a document, or the other way round.

        The document need not have that page.

        Args:
            has_pages: the item is a document, whose pages get ids of their own
        """
        claimed = claimed_document(item.id)
        if claimed is not None:
            self._add(claimed, item.id, document=False)
        if has_pages:
            self._add(item.id, page_id(item.id, 1), document=True)

    def _add(self, identity: str, page: str, *, document: bool) -> None:
        key = identity.encode()
        self._database.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (key, document))
        (known,) = self._database.execute("SELECT document FROM ids WHERE id = ?", (key,)).fetchone()
        if bool(known) is not document:
            raise SourceError(
                f"the id {page!r} is that of a page of the document {identity!r} too: results are joined on "
                "ids, so give one of them another id"
            )


class PageFiles:
    """The file that describes each page; SQLite keeps them in a temporary file."""

    def __enter__(self) -> "PageFiles":
        self._database = private_database("CREATE TABLE pages (id BLOB PRIMARY KEY, file BLOB) WITHOUT ROWID")
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, page: str, file: str) -> str | None:
        """Note a page's file; return the file that describes the page already, or None."""
        key = page.encode()
        added = self._database.execute("INSERT OR IGNORE INTO pages VALUES (?, ?)", (key, file.encode()))
        if added.rowcount:
            return None
        (first,) = self._database.execute("SELECT file FROM pages WHERE id = ?", (key,)).fetchone()
        return bytes(first).decode()
