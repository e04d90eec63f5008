"""Manifests of lines: JSONL and CSV."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count, dropwhile, repeat
from typing import Any, TypeVar

import msgspec

from contract.errors import SourceError
from contract.lines import UNREADABLE
from contract.source import STANDARD_INPUT
from producer.sources.manifest_entry import (
    KNOWN,
    ManifestEntry,
    NumberedEntry,
    StrictEntry,
    entry_without_nan,
    metadata_of,
)
from producer.sources.manifest_stream import Readable

MAX_LINE_BYTES = 524_288
"""Size limit of one line in bytes: three texts of maximum length fit, and a polygon with ten times too many
corners, which is an item's error; a binary file named .jsonl does not."""

BLOCK_BYTES = 65_536
"""Bytes read at once: a few hundred lines, so that a slowly arriving manifest is planned as it arrives."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

T = TypeVar("T")


def line_entries(uri: str, stream: Readable, passed_over: Counter[str]) -> Iterator[NumberedEntry]:
    """Yield the entries of a manifest; standard input is JSONL if its first non-blank line begins with {.

    Raises:
        SourceError: a line is malformed
    """
    name, named_csv = shown(uri), uri.removesuffix(".gz").endswith(".csv")
    blocks = _line_blocks(name, stream)
    for first, data in blocks:
        if data.strip():
            rest = chain([(first, data)], blocks)
            is_csv = not data.lstrip().startswith(b"{") if uri == STANDARD_INPUT else named_csv
            yield from (
                _csv_entries(name, dropwhile(_is_blank, _lines(rest)), passed_over)
                if is_csv
                else _jsonl_entries(name, rest, passed_over)
            )
            return
        passed_over["blank_line"] += data.count(b"\n") or 1
    if named_csv:
        raise _no_columns(name)


def _line_blocks(name: str, stream: Readable) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines, each with the number of its first line, counted from 1."""
    number, rest = 1, b""
    while block := stream.read(BLOCK_BYTES):
        data, newline, left = (rest + block).rpartition(b"\n")
        # Only the first line may be longer than a block.
        _check_length(name, number, data.find(b"\n") + 1 or len(data + newline))
        _check_length(name, number + data.count(b"\n") + len(newline), len(left))
        if newline:
            yield number, (data if number > 1 else data.removeprefix(BYTE_ORDER_MARK)) + newline
            number += data.count(b"\n") + 1
        rest = left
    if rest:
        yield number, rest if number > 1 else rest.removeprefix(BYTE_ORDER_MARK)


def _check_length(name: str, number: int, length: int) -> None:
    if length > MAX_LINE_BYTES:
        raise SourceError(f"{name} line {number} is longer than {MAX_LINE_BYTES:,} bytes")


def _jsonl_entries(
    name: str, blocks: Iterator[tuple[int, bytes]], passed_over: Counter[str]
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
                yield number, entry, metadata_of(found, f"{name} line {number}")
            continue
        # The block has a blank line, a last line without newline, or a malformed line, whose error needs its
        # number.
        yield from _single_lines(name, _lines([(first, data)]), passed_over)


def _all_lines(decoder: "msgspec.json.Decoder[T]", data: bytes) -> list[T] | None:
    """Return the lines of a block; None if one of them is of another type."""
    try:
        return decoder.decode_lines(data)
    except UNREADABLE:
        return None


def _single_lines(
    name: str, lines: Iterator[tuple[int, bytes]], passed_over: Counter[str]
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
                raise SourceError(f"{name} line {number}: {error}") from error
        yield number, found[0], metadata_of(found[1], f"{name} line {number}")


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
    name: str, lines: Iterator[tuple[int, bytes]], passed_over: Counter[str]
) -> Iterator[NumberedEntry]:
    newest = [""]

    def noted() -> Iterator[str]:
        for newest[0] in _decoded(name, lines):
            yield newest[0]

    # csv's own limit, which is the process's, is less than a line may have.
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.DictReader(noted(), strict=True)
    try:
        if "uri" not in (reader.fieldnames or ()):
            raise _no_columns(name)
        for row in reader:
            if not any(row.values()):
                passed_over["blank_line"] += 1
                continue
            place = f"{name} line {reader.line_num}"
            if None in row.values() and not newest[0].endswith("\n"):
                raise SourceError(f"{place} ends before its last column: was it cut off?")
            # Under None are the fields after the last column.
            given = {column: text for column, text in row.items() if column and text}
            yield reader.line_num, _row_entry(given), metadata_of(given, place)
    except (csv.Error, msgspec.ValidationError) as error:
        raise SourceError(f"{name} line {reader.reader.line_num}: {error}") from error


def _row_entry(given: dict[str, str]) -> ManifestEntry:
    known: dict[str, Any] = {column: text for column, text in given.items() if column in KNOWN}
    if "region" in known:
        known["region"] = msgspec.Raw(known["region"])
    return msgspec.convert(known, ManifestEntry)


def _no_columns(name: str) -> SourceError:
    return SourceError(f"{name}: the first line must name the columns, `uri` among them")


def _decoded(name: str, lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
    for number, line in lines:
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(f"{name} line {number} is not UTF-8") from error


def shown(uri: str) -> str:
    """Return a manifest's name, for messages."""
    return "standard input" if uri == STANDARD_INPUT else uri
