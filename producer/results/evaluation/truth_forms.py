"""The forms of truth files: bytes to lines, each with its item's key, its text and its value in a column."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from contract.errors import TruthError
from contract.lines import UNREADABLE
from contract.records import SHOWN

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")

KEYS = ("id", "uri", "path", "name", "file", "filename", "image")
"""Columns that name the item; the first one that a file has counts."""

TEXTS = ("label", "text", "truth")
"""Columns with the text; the first one that a file has counts."""

PADDLES_DETECTION = '[{"transcription"'
"""How a text begins in PaddleOCR's label file of whole pages, which has the same form otherwise."""

FORMS = (
    'docTR\'s labels.json of a recognition data set ({"img_1.jpg": "text"}), .jsonl and .csv with id and '
    "label, or lines of path<TAB>text"
)


class TruthLine(NamedTuple):
    """An item's key, its text, its value in the column asked for, and where in the file it is."""

    key: str
    text: str
    group: str | None
    where: str


Lines = Iterator[TruthLine]


def truth_lines(uri: str, data: bytes, column: str | None) -> Lines:
    """Yield the lines of a truth file; its extension decides its form.

    Raises:
        TruthError: the file is not UTF-8, has another form, or has no such column
    """
    suffix = uri.rpartition("/")[2].rpartition(".")[2].lower()
    read = {"json": _labels_json, "jsonl": _jsonl, "csv": _csv}.get(suffix, _tabbed)
    for line in read(uri, _decoded(uri, data), column):
        try:
            (line.key + line.text + (line.group or "")).encode()
        except UnicodeEncodeError as error:
            raise TruthError(f"{uri} {line.where}: not Unicode: half of a surrogate pair") from error
        yield line


def _decoded(uri: str, data: bytes) -> str:
    if data.startswith(UTF_16_MARKS):
        raise TruthError(f"{uri} is UTF-16: save it as UTF-8")
    try:
        text = data.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TruthError(
            f"{uri} line {line} is not UTF-8 (byte 0x{error.object[error.start]:02X}): it may be "
            "Windows-1252 or another encoding; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise TruthError(f"{uri} has zero bytes: it is binary or UTF-16; save it as UTF-8 text")
    return text


def _labels_json(uri: str, text: str, column: str | None) -> Lines:
    if column is not None:
        raise TruthError(f"by {column!r}: {uri} has no columns; use CSV or JSONL")
    try:
        # As pairs: a dictionary would hide that a key is there twice.
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        hint = "; name it .jsonl if it has a JSON object per line" if "Extra data" in str(error) else ""
        raise TruthError(f"{uri} is not JSON ({str(error)[:SHOWN]}){hint}") from error
    if not isinstance(pairs, tuple):
        raise TruthError(f"{uri} has another form: truth can be {FORMS}")
    for key, value in pairs:
        if not isinstance(value, str):
            raise TruthError(f"{uri} has another form: {key[:SHOWN]!r} is no text; truth can be {FORMS}")
        yield TruthLine(key, value, None, "")


def _tabbed(uri: str, text: str, column: str | None) -> Lines:
    if column is not None:
        raise TruthError(f"by {column!r}: {uri} has no columns; use CSV or JSONL")
    for number, line in _numbered(text):
        key, tab, value = line.partition("\t")
        if not tab or not key or value.startswith(PADDLES_DETECTION):
            raise TruthError(f"{uri} line {number} has another form: truth can be {FORMS}")
        yield TruthLine(key, value, None, f"line {number}")


def _jsonl(uri: str, text: str, column: str | None) -> Lines:
    read = msgspec.json.Decoder(dict[str, Any]).decode
    rows = ((number, _parsed(uri, number, line, read)) for number, line in _numbered(text))
    return _rows(uri, rows, column)


def _parsed(uri: str, number: int, line: str, read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read(line)
    except UNREADABLE as error:
        raise TruthError(f"{uri} line {number}: {str(error)[:SHOWN]}") from error


def _csv(uri: str, text: str, column: str | None) -> Lines:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = reader.fieldnames or ()
        for wanted in (KEYS, TEXTS, *([(column,)] if column else [])):
            if not set(wanted) & set(names):
                found = ", ".join(map(str, names))[:SHOWN]
                raise TruthError(f"{uri}: no column is named {' or '.join(wanted)}; it has: {found}")
        # As in manifests, an empty cell is a missing one.
        rows = ((reader.line_num, {name: cell for name, cell in row.items() if cell}) for row in reader)
        yield from _rows(uri, rows, column)
    except csv.Error as error:
        raise TruthError(f"{uri} line {reader.reader.line_num}: {str(error)[:SHOWN]}") from error


def _rows(uri: str, rows: Iterator[tuple[int, dict[str, Any]]], column: str | None) -> Lines:
    """Yield the rows that have a text; a row without one is an item without truth."""
    found = column is None
    for number, row in rows:
        key = next((row[name] for name in KEYS if row.get(name) is not None), None)
        text = next((row[name] for name in TEXTS if row.get(name) is not None), None)
        if not isinstance(key, str) or not isinstance(text, str | None):
            raise TruthError(f"{uri} line {number} has another form: truth can be {FORMS}")
        found = found or column in row
        if text is not None:
            group = row.get(column) if column else None
            yield TruthLine(key, text, None if group is None else str(group), f"line {number}")
    if not found:
        raise TruthError(f"by {column!r}: {uri} has no such column")


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of the lines that are not blank."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if line.strip():
            yield number, line
