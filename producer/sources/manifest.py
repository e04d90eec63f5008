"""Manifests: lines or rows with `uri`, optional `id` and `label`, and the `region` of a page.

JSONL and CSV are in storage or on standard input; Parquet and Arrow, which are read by seeking, in storage.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from contract.errors import SourceError, StorageError
from contract.extras import require
from contract.records import MAX_TEXT, Item
from contract.source import STANDARD_INPUT, Source
from contract.storage import Storage, is_remote, join
from producer.sources.base import SourceContext
from producer.sources.manifest_entry import ManifestEntry, NumberedEntry
from producer.sources.manifest_stream import Readable, SourceStream, unpacked
from producer.sources.manifest_text import line_entries, shown
from producer.sources.seen_ids import RegionNumbers, SeenIds

COLUMNS = (".arrow", ".feather", ".parquet")
"""Extensions of manifests in columns. A Parquet file may be a shard too: its source looks at its columns."""

EXTENSIONS = (".jsonl", ".csv", ".jsonl.gz", ".csv.gz", ".arrow", ".feather")

FIRST_ENTRIES, BLOCK_ENTRIES = 1_024, 8_192
"""Entries whose ids are looked up in one call: few at first, so that workers can start; then more, which
takes a third less time per entry."""

STEP_ENTRIES, BLOCK_REGION_BYTES = 64, 16 << 20
"""Entries read between two looks at how many bytes the regions of a block have, and the bytes that end it."""


class Manifest:
    """A list of items, which may lie anywhere below the allowed roots."""

    named = f"a manifest ({', '.join(EXTENSIONS)})"

    def match(self, text: str) -> Source | None:
        """Return the manifest that the text names: `-` for standard input, else a file by its extension."""
        if text == STANDARD_INPUT:
            return Source(type="manifest", uri=text, confined=False)
        if not text.endswith(EXTENSIONS):
            return None
        if is_remote(text):
            return Source(type="manifest", uri=text, confined=False)
        path = os.path.realpath(text)
        return Source(type="manifest", uri=path, confined=False) if Path(path).is_file() else None

    def root(self, uri: str) -> str:
        """Return the manifest's folder; for standard input, the working folder."""
        return str(Path.cwd()) if uri == STANDARD_INPUT else uri.rpartition("/")[0] or "/"

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the manifest's items, in order."""
        location = uri if uri == STANDARD_INPUT else context.locate(uri)
        return read_manifest(
            uri, self.root(uri), context.storage, context.stdin, context.passed_over, location
        )


SOURCE = Manifest()


def read_manifest(
    uri: str,
    base: str,
    storage: Storage,
    stdin: IO[bytes],
    passed_over: Counter[str],
    location: str | None = None,
) -> Iterator[Item]:
    """Yield the manifest's items, in order; relative URIs start from `base`.

    Args:
        location: the form to open of the URI; by default the URI

    Raises:
        SourceError: a line is malformed, or two lines have the same id; the message gives the line numbers
    """
    prefix = join(base, "")
    found = _read(uri, location or uri, storage, stdin, passed_over)
    with found as entries, SeenIds() as seen, RegionNumbers() as numbers:
        for block in _blocks(entries):
            ids = [
                entry.region_id(numbers) if entry.has_region else entry.id or entry.uri
                for _, entry, _ in block
            ]
            repeated = seen.add(
                [(identity, number) for identity, (number, _, _) in zip(ids, block, strict=True)]
            )
            failing = min(repeated, default=0)
            for identity, (number, entry, metadata) in zip(ids, block, strict=True):
                if number == failing:
                    raise SourceError(
                        f"{shown(uri)}: {_place(uri)}s {repeated[number]} and {number} have the same id "
                        f"{identity!r}: results are joined on ids, so give each its own id"
                    )
                item = _item(uri, number, entry, identity, prefix)
                yield msgspec.structs.replace(item, metadata=metadata) if metadata else item


def _item(uri: str, number: int, entry: ManifestEntry, identity: str, prefix: str) -> Item:
    resolved = entry.uri
    if not resolved.startswith("/") and "://" not in resolved:
        resolved = prefix + resolved.removeprefix("./")
    if len(resolved) > MAX_TEXT:
        raise SourceError(
            f"{shown(uri)} {_place(uri)} {number}: the URI is longer than {MAX_TEXT:,} characters"
        )
    if not entry.has_region:
        return Item(identity, resolved, label=entry.label)
    return Item(identity, resolved, entry.label, entry.page_number, entry.region_value())


def _blocks(entries: Iterator[NumberedEntry]) -> Iterator[list[NumberedEntry]]:
    """Yield lists of entries; entries before a malformed line are yielded before its error is raised."""
    failure: SourceError | None = None
    size = FIRST_ENTRIES
    while failure is None:
        block: list[NumberedEntry] = []
        try:
            _fill(block, entries, size)
        except SourceError as error:
            failure = error
        if not block and failure is None:
            return
        yield block
        size = BLOCK_ENTRIES
    raise failure


def _fill(block: list[NumberedEntry], entries: Iterator[NumberedEntry], size: int) -> None:
    """Add up to `size` entries to a block: fewer if their regions are large."""
    held = 0
    while len(block) < size and held < BLOCK_REGION_BYTES:
        before = len(block)
        block.extend(islice(entries, min(STEP_ENTRIES, size - before)))
        if len(block) == before:
            return
        held += sum(len(entry.region) + len(metadata or b"") for _, entry, metadata in block[before:])


@contextlib.contextmanager
def _read(
    uri: str, location: str, storage: Storage, stdin: IO[bytes], passed_over: Counter[str]
) -> Iterator[Iterator[NumberedEntry]]:
    """Open a manifest, and yield its entries with the numbers of their lines or rows."""
    if uri.endswith(COLUMNS):
        require("pyarrow", "columns", "manifests in columns", SourceError)
        from producer.sources.manifest_columns import column_entries

        yield column_entries(uri, location, storage)
        return
    with _opened(location, storage, stdin) as stream:
        yield line_entries(uri, stream, passed_over)


@contextlib.contextmanager
def _opened(uri: str, storage: Storage, stdin: IO[bytes]) -> Iterator[Readable]:
    if uri == STANDARD_INPUT:
        with unpacked(shown(uri), stdin) as stream:
            yield stream
        return
    try:
        opened = storage.at(uri).reader(uri)
        packed = SourceStream(uri, storage.at(uri), opened.__enter__())
    except StorageError as error:
        raise SourceError(f"the manifest cannot be read: {error}") from error
    try:
        with unpacked(uri, packed) as stream:
            yield stream
    finally:
        opened.__exit__(None, None, None)


def _place(uri: str) -> str:
    return "row" if uri.endswith(COLUMNS) else "line"
