"""Which ids a manifest has given already, in bounded memory."""

import bisect
import sqlite3
import tempfile
from types import TracebackType

import msgspec

CACHE_KIB = 16_384
"""KiB of hashes that SQLite keeps in memory; the rest lies in a temporary file, so memory stays flat."""

INSERT_BLOCK = "INSERT OR IGNORE INTO seen SELECT value, ? + key FROM json_each(?) ORDER BY value, key"

Entries = list[tuple[str, int]]
"""Ids, each with its line, counted from 1."""


class SeenIds:
    """A set of ids with the line of each.

    SQLite holds hashes of 64 bits, a third of the ids' size: past its cache every insertion is a page read
    and written. The ids themselves are appended to a file, to be looked at where two hashes agree.
    """

    def __enter__(self) -> "SeenIds":
        # An empty name is a private database that SQLite spills to a temporary file.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, line INTEGER)")
        self._database.execute("BEGIN")
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
        """Note ids in the order of their lines; return the lines whose id is not new, each with who had it.

        Of several such lines only the first one's answer is sure.
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
            # One statement in the tree's own order takes half the time of one for each.
            self._database.execute(INSERT_BLOCK, (first, msgspec.json.encode(hashes).decode()))
        else:
            rows = zip(hashes, (line for _, line in entries), strict=True)
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)

    def _first_line_of(self, identity: str, line: int) -> int:
        """Return the line that had an id first; those that only share a hash are kept in memory."""
        query = "SELECT line FROM seen WHERE hash = ?"
        first = int(self._database.execute(query, (hash(identity),)).fetchone()[0])
        if first == line or self._id_at(first) == identity:
            return first
        return self._collided.setdefault(identity, line)

    def _id_at(self, line: int) -> str:
        """Return the id of a line, from the block that it came in."""
        block = self._blocks[bisect.bisect_right(self._blocks, line, key=lambda start: start[0]) - 1]
        self._log.seek(block[1])
        entries = msgspec.json.decode(self._log.readline(), type=Entries)
        return next(identity for identity, number in entries if number == line)
