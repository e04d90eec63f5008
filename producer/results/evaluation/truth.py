"""Truth: the correct texts of a job's items, from a file, matched by id or by file name."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from contract.errors import (
    OutsideAllowedRootsError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
    TruthError,
)
from contract.kinds.base import Parameters
from contract.kinds.compare import CompareParameters
from contract.records import MAX_TEXT, SHOWN
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.results.evaluation.truth_forms import TruthLine, truth_lines

MAX_TRUTH_BYTES = 128 << 20
"""Maximum bytes of a truth file, which is held in memory: some two million short texts."""

FOLDER = "folder"
"""The `by` that groups items by the folder of their id; any other is a column of the truth."""


class TruthEntry(NamedTuple):
    """One item's correct text, in NFC, and its value in the column of `by`."""

    text: str
    group: str | None = None


class TruthCounts(msgspec.Struct, frozen=True):
    """How a truth file fits a job's items.

    `ambiguous` items have no id in the file and share their file name with another item or entry; `unused`
    entries name no item; `too_long` ones are longer than any label may be, and are left out.
    """

    source: str
    entries: int
    by_id: int = 0
    by_name: int = 0
    ambiguous: int = 0
    unused: int = 0
    repeated: int = 0
    too_long: int = 0


class Truth:
    """The entries of a truth file; `fit` them to the items before looking one up.

    Raises:
        TruthError: two lines give the same item different texts
    """

    def __init__(self, source: str, lines: Iterable[TruthLine]) -> None:
        self.source = source
        self._entries: dict[str, TruthEntry] = {}
        self._names: dict[str, str | None] = {}
        self._repeated = self._too_long = 0
        for line in lines:
            self._add(line)
        self.counts = self._counts(0, 0, 0)

    def _add(self, line: TruthLine) -> None:
        if len(line.text) > MAX_TEXT:
            self._too_long += 1
            return
        entry = TruthEntry(normalised(line.text), line.group and line.group[:SHOWN])
        known = self._entries.setdefault(line.key, entry)
        if known is entry:
            name = name_of(line.key)
            self._names[name] = None if name in self._names else line.key
        elif known.text == entry.text:
            self._repeated += 1
        else:
            where = f"{self.source} {line.where}".strip()
            raise TruthError(
                f"{where}: {line.key[:SHOWN]!r} is {entry.text[:SHOWN]!r} here and {known.text[:SHOWN]!r} "
                "before: leave the right one"
            )

    def fit(self, items: Iterable[tuple[str, str]]) -> TruthCounts:
        """Decide which entries are found by file name: those that no other item or entry could mean.

        Args:
            items: (id, file name) of every item, each once
        """
        by_id: set[str] = set()
        named: Counter[str] = Counter()
        for identity, name in items:
            if identity in self._entries:
                by_id.add(identity)
            elif name in self._names:
                named[name] += 1
        self._names = {
            name: key
            for name, key in self._names.items()
            if named[name] == 1 and key is not None and key not in by_id
        }
        self.counts = self._counts(len(by_id), len(self._names), named.total() - len(self._names))
        return self.counts

    def find(self, identity: str, name: str) -> TruthEntry | None:
        """Return an item's entry, by its id, else by its file name."""
        key = identity if identity in self._entries else self._names.get(name)
        return self._entries[key] if key is not None else None

    def _counts(self, by_id: int, by_name: int, ambiguous: int) -> TruthCounts:
        return TruthCounts(
            source=self.source,
            entries=len(self._entries),
            by_id=by_id,
            by_name=by_name,
            ambiguous=ambiguous,
            unused=len(self._entries) - by_id - by_name,
            repeated=self._repeated,
            too_long=self._too_long,
        )


def load_truth(uri: str, by: str | None, storage: Storage, roots: AllowedRoots | None = None) -> Truth:
    """Return the truth in a file: docTR's labels.json, path<TAB>text, CSV, or JSONL, by its extension.

    Args:
        by: the column whose value each entry keeps; None or `folder` for none
        roots: where the file must be; None for anywhere

    Raises:
        TruthError: the file cannot be read, is not UTF-8, has another form, or has no such column
        OutsideAllowedRootsError: the file is outside the roots
        StorageUnavailableError: storage cannot be reached for now
    """
    try:
        location = uri if roots is None else roots.resolved(uri)
        data = storage.at(location).read(location, MAX_TRUTH_BYTES)
    except (OutsideAllowedRootsError, StorageUnavailableError):
        raise
    except TooManyBytesError as error:
        raise TruthError(
            f"the truth {uri} is larger than {MAX_TRUTH_BYTES >> 20} MiB: leave out the items that the job "
            "does not have, or give the texts as the labels of a manifest"
        ) from error
    except StorageError as error:
        raise TruthError(f"the truth cannot be read: {error}") from error
    column = None if by == FOLDER else by
    truth = Truth(uri, truth_lines(uri, data, column))
    if not truth.counts.entries:
        raise TruthError(f"the truth {uri} has no texts")
    return truth


def check_truth(parameters: Parameters, storage: Storage, roots: AllowedRoots | None = None) -> None:
    """Read the truth of a new compare job, so that a mistake in it shows before the job runs.

    Raises:
        TruthError, OutsideAllowedRootsError, StorageUnavailableError: as `load_truth`
    """
    if isinstance(parameters, CompareParameters) and parameters.truth:
        load_truth(parameters.truth, parameters.by, storage, roots)


def check_by(by: str | None, truth: str | None) -> None:
    """Raise TruthError for a `by` that is a column of no file."""
    if by is not None and by != FOLDER and truth is None:
        raise TruthError(f"by {by!r} is a column of the truth, but no truth is given; '{FOLDER}' needs none")


def normalised(text: str) -> str:
    """Return the text in Unicode's form NFC, so that `é` equals `e` with a combining accent."""
    return unicodedata.normalize("NFC", text)


def folder_of(identity: str) -> str:
    """Return the folder in an item's id; `.` if it has none."""
    return identity.rpartition("/")[0] or "."


def name_of(key: str) -> str:
    """Return the file name at the end of a path of any system."""
    return key.replace("\\", "/").rpartition("/")[2]
