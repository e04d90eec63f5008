"""Search the lines of a merged file, a bounded part of it at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from contract.storage import Store

SCAN_BYTES = 1 << 25
"""Bytes that one call looks at, at most: less than a tenth of a second on a local disk."""

BLOCK = 1 << 22
"""Bytes that are read at once; more if a line is longer."""


class Hit(NamedTuple):
    """A line that was found, without its newline, and the position of its first byte."""

    position: int
    line: bytes


@dataclass(frozen=True)
class Wanted:
    """Which lines are looked for: those that hold `needle` as bytes and that `accepts` returns true for.

    A line without the needle is not decoded, which makes a search as fast as the storage.
    """

    needle: bytes = b""
    accepts: Callable[[bytes], bool] = lambda _: True


def in_json(text: str) -> bytes:
    """Return a text as it is within a string of a line."""
    return msgspec.json.encode(text)[1:-1]


def scan(store: Store, uri: str, size: int, start: int, count: int, wanted: Wanted) -> tuple[list[Hit], int]:
    """Return the next lines that are wanted, and where to go on: at `size` when nothing is left.

    Args:
        size: length of the file in bytes
        start: position of a line; of a byte within one, the next line is the first that is looked at
        count: maximum number of lines
    """
    hits: list[Hit] = []
    position = _line_from(store, uri, start) if 0 < start < size else min(start, size)
    end = min(size, position + SCAN_BYTES)
    while position < end:
        block = _whole_lines(store, uri, position, size)
        for offset, line in _matches(block, wanted.needle):
            if wanted.accepts(line):
                hits.append(Hit(position + offset, line))
                if len(hits) == count:
                    return hits, position + offset + len(line) + 1
        position += len(block)
    return hits, position


def _line_from(store: Store, uri: str, start: int) -> int:
    """Return the position of the first line that begins at `start` or later."""
    position = start - 1
    while data := store.read_range(uri, position, BLOCK):
        found = data.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(data)
    return position


def _whole_lines(store: Store, uri: str, position: int, size: int) -> bytes:
    length = BLOCK
    while True:
        data = store.read_range(uri, position, length)
        end = data.rfind(b"\n") + 1
        if end or position + length >= size:
            # The last line of a file that was cut has no newline.
            return data[:end] or data
        length *= 2


def _matches(block: bytes, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a block that hold the needle, with their offsets."""
    begin = 0
    while begin < len(block):
        found = block.find(needle, begin) if needle else begin
        if found < 0:
            return
        begin = block.rfind(b"\n", begin, found) + 1 or begin
        end = block.find(b"\n", found)
        end = len(block) if end < 0 else end
        yield begin, block[begin:end]
        begin = end + 1
