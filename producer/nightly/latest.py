"""The newest line of every item: a merge of a night's lines into those of the nights before, in one pass.

Doing it again, also over its own outcome, changes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from contract.documents import claimed_document
from contract.errors import ErrorCode, JobError, ObjectMissingError
from contract.records import failure_of, identity_of
from contract.workspace import Workspace, intact
from producer.nightly.files import LineWriter, Nights, read_lines, written
from producer.nightly.records import Entry, Night

Lines = dict[str, bytes]
"""Lines by their ids, in the order of pages."""


class Tombstone(msgspec.Struct, frozen=True):
    """What is left of the line of an item that is no longer in the source."""

    id: str
    deleted: str


@dataclass(frozen=True)
class Left:
    """What a merge leaves: its entries, in a file."""

    entries: int
    present: int
    sha256: str


def merge_latest(
    night: Night, nights: Nights, workspace: Workspace, state: str, check: Callable[[], None], *, pages: bool
) -> Left:
    """Merge a complete night into `latest.jsonl` and `latest-errors.jsonl`, and write what it leaves.

    Args:
        state: the name of the file of entries that it writes
        check: called before files are replaced; raises if they must not be
        pages: lines are of pages, and entries are documents

    Raises:
        JobError: a file is damaged, or the night does not hold the lines of its items
    """
    key = _document_of if pages else _itself
    results, errors = _Groups(nights, workspace.results, key), _Groups(nights, workspace.errors, key)
    old, old_errors = _Groups(nights, nights.latest, key), _Groups(nights, nights.latest_errors, key)
    merger, present = _Merger(night), 0
    with ExitStack() as stack:
        kept = stack.enter_context(written(nights.store, nights.path(state)))
        failed = stack.enter_context(written(nights.store, nights.latest_errors))
        read = stack.enter_context(written(nights.store, nights.latest))
        for entry in _with_unknown(nights.entries(night.entries), old, old_errors, night):
            outcome = merger.merge(
                entry, _Found(*(one.take(entry.id) for one in (results, errors, old, old_errors)))
            )
            kept.write(outcome.entry)
            _write(read, outcome.lines)
            _write(failed, outcome.errors)
            present += entry.gone is None
        for lines in (results, errors):
            if lines.head is not None:
                raise JobError(
                    f"{lines.uri} holds {lines.head!r}, which its night did not read: was it replaced?"
                )
        kept.flush()
        check()
    return Left(kept.count, present, kept.sha256)


def _write(writer: LineWriter, lines: Lines) -> None:
    for line in lines.values():
        writer.write_line(line)


@dataclass(frozen=True)
class _Found:
    """The lines of one item: of its night, and of the nights before."""

    results: Lines
    errors: Lines
    old: Lines
    old_errors: Lines


@dataclass(frozen=True)
class _Outcome:
    entry: Entry
    lines: Lines
    errors: Lines


@dataclass(frozen=True)
class _Merger:
    night: Night
    encode: Callable[[object], bytes] = field(default_factory=lambda: msgspec.json.Encoder().encode)

    def merge(self, entry: Entry, found: _Found) -> _Outcome:
        if entry.gone:
            return self._gone(entry, found)
        if entry.read:
            if not found.results and not found.errors:
                raise JobError(f"night {self.night.night} has no line of {entry.id!r}, which it read")
            return _Outcome(_judged(entry, found.errors), found.results, found.errors)
        tonight = found.results.keys() | found.errors.keys()
        if not tonight:
            return _Outcome(entry, found.old, found.old_errors)
        lines = {**_without(found.old, tonight), **found.results}
        errors = {**_without(found.old_errors, tonight), **found.errors}
        return _Outcome(_judged(entry, errors), _by_page(lines), _by_page(errors))

    def _gone(self, entry: Entry, found: _Found) -> _Outcome:
        if self.night.on_delete == "keep" or entry.gone != self.night.night:
            return _Outcome(entry, found.old, found.old_errors)
        lines = {name: self.encode(Tombstone(name, self.night.night)) for name in found.old}
        return _Outcome(Entry(entry.id, gone=entry.gone, deleted=True), lines, {})


def _judged(entry: Entry, errors: Lines) -> Entry:
    """Return what an item that was read leaves: how often it failed, and in which pages."""
    failed = tuple(sorted(_page(name) for name in errors if name != entry.id))
    late = bool(errors) and all(_is_late(line) for line in errors.values())
    failures = max(1, entry.failures + (not late)) if errors else 0
    return msgspec.structs.replace(entry, read=False, failures=failures, late=late, pages=failed)


def _is_late(line: bytes) -> bool:
    failure = failure_of(line)
    return failure is not None and failure.code is ErrorCode.DEADLINE


def _without(lines: Lines, names: set[str]) -> Lines:
    return {name: line for name, line in lines.items() if name not in names}


def _by_page(lines: Lines) -> Lines:
    return dict(sorted(lines.items(), key=lambda one: _page(one[0])))


def _page(identity: str) -> int:
    digits = identity.rpartition("=")[2]
    return int(digits) if claimed_document(identity) is not None else 0


def _document_of(identity: str) -> str:
    claimed = claimed_document(identity)
    return identity if claimed is None else claimed


def _itself(identity: str) -> str:
    return identity


class _Groups:
    """The lines of a sorted file, item by item; a missing file has none."""

    def __init__(self, nights: Nights, uri: str, key: Callable[[str], str]) -> None:
        self.uri = uri
        self._groups = groupby(self._named(nights, uri), lambda one: key(one[0]))
        self.head: str | None = None
        self._lines: Lines = {}
        self._advance()

    def take(self, identity: str) -> Lines:
        """Return the lines of an item; none if the next ones are of another item."""
        if self.head != identity:
            return {}
        lines = self._lines
        self._advance()
        return lines

    def _advance(self) -> None:
        before = self.head
        found = next(self._groups, None)
        self.head, self._lines = (None, {}) if found is None else (found[0], dict(found[1]))
        if before is not None and self.head is not None and before >= self.head:
            raise JobError(f"{self.uri} is damaged: {self.head!r} is not in order; put it back from a copy")

    @staticmethod
    def _named(nights: Nights, uri: str) -> Iterator[tuple[str, bytes]]:
        try:
            with intact(uri):
                for line in read_lines(nights.store, uri):
                    yield identity_of(line), line
        except ObjectMissingError:
            return


def _with_unknown(
    entries: Iterator[Entry], old: _Groups, old_errors: _Groups, night: Night
) -> Iterator[Entry]:
    """Yield the entries, and one for lines of earlier nights without an entry: their state was lost."""
    for entry in entries:
        yield from _unknown(old, old_errors, night, entry.id)
        yield entry
    yield from _unknown(old, old_errors, night, None)


def _unknown(old: _Groups, old_errors: _Groups, night: Night, until: str | None) -> Iterator[Entry]:
    while heads := [one.head for one in (old, old_errors) if one.head is not None]:
        first = min(heads)
        if until is not None and first >= until:
            return
        yield Entry(first, gone=night.night)
