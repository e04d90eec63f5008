"""JSON files that are changed in place: what is not replaced stays byte for byte."""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from contract.errors import SourceError
from contract.lines import UNREADABLE
from producer.regions.base import OtherFormatError, Readable, Writable

BLOCK_BYTES = 1 << 20
"""Bytes read at once."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_MEMBER = re.compile(rb'([\s,]*)("(?:[^"\\]|\\.)*")(\s*:\s*)', re.DOTALL)
_OPENING = re.compile(rb"\s*\{")
_GAP = re.compile(rb"[\s,]*")
_CLOSING = re.compile(rb"\s*\}\s*\Z")

T = TypeVar("T")

Span = tuple[int, int]
"""The first byte of a value in a file, and the first byte after it."""


class Edit(NamedTuple):
    """Bytes to write in place of those of a file from `start` to before `end`."""

    start: int
    end: int
    data: bytes


class Members(NamedTuple):
    """Where the values of an object's members are; new ones go to `end`, written as its last one is."""

    spans: dict[str, Span]
    end: int
    separator: bytes
    colon: bytes


def read_whole(file: Readable, limit: int) -> bytes:
    """Return a file's bytes, without a byte order mark.

    Raises:
        SourceError: there are more than `limit` bytes, or they are not UTF-8
    """
    blocks, size = [], 0
    # msgspec looks at what it decodes only, and a copy has the rest too.
    decoder = codecs.getincrementaldecoder("utf-8")()
    while block := file.read(min(BLOCK_BYTES, limit + 1 - size)):
        blocks.append(block)
        size += len(block)
        if size > limit:
            raise SourceError(f"it is larger than {limit >> 20} MiB: split it into several files")
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            raise SourceError(f"it is not UTF-8 ({error}): save it as UTF-8") from error
    return b"".join(blocks).removeprefix(BYTE_ORDER_MARK)


def parsed(data: bytes | memoryview | msgspec.Raw, shape: type[T], what: str) -> T:
    """Return JSON as a value of a type.

    Args:
        what: what the JSON should be, for the message

    Raises:
        OtherFormatError: it is something else
        SourceError: it is no JSON
    """
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise OtherFormatError(f"it is not {what}: {error}") from error
    except UNREADABLE as error:
        raise SourceError(f"it is damaged JSON and not {what}: {error}") from error


def element(data: memoryview | msgspec.Raw, shape: type[T], what: str) -> T:
    """Return a part of a file, whose form as a whole is known, as a value of a type; raises SourceError."""
    try:
        return msgspec.json.decode(data, type=shape)
    except UNREADABLE as error:
        raise SourceError(f"{what} is malformed: {error}") from error


def members(data: memoryview, span: Span) -> Members:
    """Return where the members of an object are; raises SourceError if two have the same name."""
    text = data[span[0] : span[1]]
    values = element(text, dict[str, msgspec.Raw], "an object")
    opening = _OPENING.match(text)
    at = opening.end() if opening else 0
    spans: dict[str, Span] = {}
    separator, colon = b", ", b": "
    # Only the values' lengths are known, and that they come in the order of the text.
    for name, value in values.items():
        match, raw = _MEMBER.match(text, at), memoryview(value)
        if match is None or text[match.end() : match.end() + len(raw)] != raw:
            break
        at = match.end() + len(raw)
        if spans:
            separator = match[1]
        colon = match[3]
        spans[name] = (span[0] + match.end(), span[0] + at)
    if not _CLOSING.match(text, at):
        raise SourceError("a JSON object has two members of the same name: remove one of them")
    return Members(spans, span[0] + at, separator, colon)


def elements(data: memoryview, span: Span) -> Iterator[Span]:
    """Yield where the elements of an array are."""
    text = data[span[0] : span[1]]
    at = 1
    for value in element(text, list[msgspec.Raw], "an array"):
        gap = _GAP.match(text, at)
        assert gap is not None  # it may be empty
        at = gap.end() + len(memoryview(value))
        yield span[0] + gap.end(), span[0] + at


def changes(data: memoryview, span: Span, values: Mapping[str, Any]) -> Iterator[Edit]:
    """Yield the edits that set members of an object; a mapping sets members of an object in it."""
    there = members(data, span)
    known = {name: there.spans[name] for name in values if name in there.spans}
    for name, old in sorted(known.items(), key=lambda one: one[1]):
        new = values[name]
        if isinstance(new, Mapping) and data[old[0]] == ord("{"):
            yield from changes(data, old, new)
        else:
            yield Edit(*old, msgspec.json.encode(new))
    added = [
        there.separator + msgspec.json.encode(name) + there.colon + msgspec.json.encode(value)
        for name, value in values.items()
        if name not in known
    ]
    if added:
        text = b"".join(added)
        yield Edit(there.end, there.end, text if there.spans else text.removeprefix(there.separator))


def write_edited(data: memoryview, edits: Iterable[Edit], target: Writable) -> None:
    """Write a file's bytes with edits, which come in the order of their places."""
    at = 0
    for edit in edits:
        target.write(bytes(data[at : edit.start]))
        target.write(edit.data)
        at = edit.end
    target.write(bytes(data[at:]))
