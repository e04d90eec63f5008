"""Manifests: lines or rows with `uri`, optional `id` and `label`, and the `region` of a page.

JSONL and CSV are in storage or on standard input; Parquet and Arrow, which are read by seeking, in storage.
"""

import contextlib
import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count, dropwhile, islice, repeat
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from contract.errors import SourceError, StorageError
from contract.extras import require
from contract.lines import UNREADABLE
from contract.records import MAX_TEXT, Item
from contract.source import STANDARD_INPUT, Source
from contract.storage import Storage, is_remote, join
from producer.sources.base import SourceContext
from producer.sources.manifest_entry import (
    KNOWN,
    ManifestEntry,
    StrictEntry,
    entry_without_nan,
    metadata_of,
)
from producer.sources.manifest_stream import Readable, SourceStream, unpacked
from producer.sources.seen_ids import RegionNumbers, SeenIds

COLUMNS = (".arrow", ".feather", ".parquet")
"""Extensions of manifests in columns. A Parquet file may be a shard too: its source looks at its columns."""

EXTENSIONS = (".jsonl", ".csv", ".jsonl.gz", ".csv.gz", ".arrow", ".feather")

MAX_LINE_BYTES = 524_288
"""Size limit of one line in bytes: three texts of maximum length fit, and a polygon with ten times too many
corners, which is an item's error; a binary file named .jsonl does not."""

BLOCK_BYTES = 65_536
"""Bytes read at once: a few hundred lines, so that a slowly arriving manifest is planned as it arrives."""

FIRST_ENTRIES, BLOCK_ENTRIES = 1_024, 8_192
"""Entries whose ids are looked up in one call: few at first, so that workers can start; then more, which
takes a third less time per entry."""

STEP_ENTRIES, BLOCK_REGION_BYTES = 64, 16 << 20
"""Entries read between two looks at how many bytes the regions of a block have, and the bytes that end it."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


T = TypeVar("T")

NumberedEntry = tuple[int, ManifestEntry, msgspec.Raw | None]
"""Number of the line or row, counted from 1, entry, and metadata."""


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
                        f"{_shown(uri)}: {_place(uri)}s {repeated[number]} and {number} have the same id "
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
            f"{_shown(uri)} {_place(uri)} {number}: the URI is longer than {MAX_TEXT:,} characters"
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
        yield _entries(uri, stream, passed_over)


@contextlib.contextmanager
def _opened(uri: str, storage: Storage, stdin: IO[bytes]) -> Iterator[Readable]:
    if uri == STANDARD_INPUT:
        with unpacked(_shown(uri), stdin) as stream:
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


def _entries(uri: str, stream: Readable, passed_over: Counter[str]) -> Iterator[NumberedEntry]:
    """Yield (line number, entry); standard input is JSONL if its first non-blank line begins with {."""
    named_csv = uri.removesuffix(".gz").endswith(".csv")
    blocks = _line_blocks(uri, stream)
    for first, data in blocks:
        if data.strip():
            rest = chain([(first, data)], blocks)
            is_csv = not data.lstrip().startswith(b"{") if uri == STANDARD_INPUT else named_csv
            yield from (
                _csv_entries(uri, dropwhile(_is_blank, _lines(rest)), passed_over)
                if is_csv
                else _jsonl_entries(uri, rest, passed_over)
            )
            return
        passed_over["blank_line"] += data.count(b"\n") or 1
    if named_csv:
        raise SourceError(f"{_shown(uri)}: the first line must name the columns, `uri` among them")


def _line_blocks(uri: str, stream: Readable) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines, each with the number of its first line, counted from 1."""
    number, rest = 1, b""
    while block := stream.read(BLOCK_BYTES):
        data, newline, left = (rest + block).rpartition(b"\n")
        # Only the first line may be longer than a block.
        _check_length(uri, number, data.find(b"\n") + 1 or len(data + newline))
        _check_length(uri, number + data.count(b"\n") + len(newline), len(left))
        if newline:
            yield number, (data if number > 1 else data.removeprefix(BYTE_ORDER_MARK)) + newline
            number += data.count(b"\n") + 1
        rest = left
    if rest:
        yield number, rest if number > 1 else rest.removeprefix(BYTE_ORDER_MARK)


def _check_length(uri: str, number: int, length: int) -> None:
    if length > MAX_LINE_BYTES:
        raise SourceError(f"{_shown(uri)} line {number} is longer than {MAX_LINE_BYTES:,} bytes")


def _jsonl_entries(
    uri: str, blocks: Iterator[tuple[int, bytes]], passed_over: Counter[str]
) -> Iterator[NumberedEntry]:
    for first, data in blocks:
        lines = data.count(b"\n")
        entries = _all_lines(_STRICT, data)
        if entries is not None and len(entries) == lines:
            yield from zip(count(first), entries, repeat(None))
            continue
        described, fields = _all_lines(_LENIENT, data), _all_lines(_FIELDS, data)
        if described is not None and fields is not None and len(described) == len(fields) == lines:
            for number, entry, found in zip(count(first), described, fields):
                yield number, entry, metadata_of(found, f"{_shown(uri)} line {number}")
            continue
        # The block has a blank line, a last line without newline, or a malformed line, whose error needs its
        # number.
        yield from _single_lines(uri, _lines([(first, data)]), passed_over)


def _all_lines(decoder: "msgspec.json.Decoder[T]", data: bytes) -> list[T] | None:
    """Return the lines of a block; None if one of them is of another type."""
    try:
        return decoder.decode_lines(data)
    except UNREADABLE:
        return None


def _single_lines(
    uri: str, lines: Iterator[tuple[int, bytes]], passed_over: Counter[str]
) -> Iterator[NumberedEntry]:
    for number, line in lines:
        if not line.strip():
            passed_over["blank_line"] += 1
            continue
        found: tuple[ManifestEntry, Mapping[str, object]] | None
        try:
            found = _LENIENT.decode(line), _FIELDS.decode(line)
        except UNREADABLE as error:
            found = entry_without_nan(line)
            if found is None:
                raise SourceError(f"{_shown(uri)} line {number}: {error}") from error
        yield number, found[0], metadata_of(found[1], f"{_shown(uri)} line {number}")


_STRICT = msgspec.json.Decoder(StrictEntry)
_LENIENT = msgspec.json.Decoder(ManifestEntry)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _is_blank(line: tuple[int, bytes]) -> bool:
    return not line[1].strip()


def _lines(blocks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line with its newline)."""
    for first, data in blocks:
        *lines, last = data.split(b"\n")
        for number, line in enumerate(lines, first):
            yield number, line + b"\n"
        if last:
            yield first + len(lines), last


def _csv_entries(
    uri: str, lines: Iterator[tuple[int, bytes]], passed_over: Counter[str]
) -> Iterator[NumberedEntry]:
    newest = [""]

    def noted() -> Iterator[str]:
        for newest[0] in _decoded(uri, lines):
            yield newest[0]

    # csv's own limit, which is the process's, is less than a line may have.
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.DictReader(noted(), strict=True)
    try:
        if "uri" not in (reader.fieldnames or ()):
            raise SourceError(f"{_shown(uri)}: the first line must name the columns, `uri` among them")
        columns = [name for name in reader.fieldnames or () if name and name not in KNOWN]
        for row in reader:
            if not any(row.values()):
                passed_over["blank_line"] += 1
                continue
            if None in row.values() and not newest[0].endswith("\n"):
                raise SourceError(
                    f"{_shown(uri)} line {reader.line_num} ends before its last column: was it cut off?"
                )
            known: dict[str, Any] = {
                name: row[name] for name in ManifestEntry.__struct_fields__ if row.get(name)
            }
            if "region" in known:
                known["region"] = msgspec.Raw(known["region"])
            entry = msgspec.convert(known, ManifestEntry)
            further = {name: row[name] for name in columns if row[name]}
            yield reader.line_num, entry, metadata_of(further, f"{_shown(uri)} line {reader.line_num}")
    except (csv.Error, msgspec.ValidationError) as error:
        raise SourceError(f"{_shown(uri)} line {reader.reader.line_num}: {error}") from error


def _decoded(uri: str, lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
    for number, line in lines:
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(f"{_shown(uri)} line {number} is not UTF-8") from error


def _shown(uri: str) -> str:
    return "standard input" if uri == STANDARD_INPUT else uri


def _place(uri: str) -> str:
    return "row" if uri.endswith(COLUMNS) else "line"
