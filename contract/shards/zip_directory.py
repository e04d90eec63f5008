"""The central directory of a zip file, one entry after the other (PKWARE's APPNOTE, 4.3.12 to 4.3.16)."""

import struct
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

END, END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\x05\x06"
LOCATOR, LOCATOR_SIGNATURE = struct.Struct("<4sLQL"), b"PK\x06\x07"
END_64, END_64_SIGNATURE = struct.Struct("<4sQ2H2L4Q"), b"PK\x06\x06"
ENTRY, ENTRY_SIGNATURE = struct.Struct("<4s4B4HL2L5H2L"), b"PK\x01\x02"

MAX_COMMENT = 0xFFFF
"""Maximum bytes of the comment at a zip file's end."""

LARGE = 0xFFFFFFFF
"""A number that does not fit, and is in the entry's zip64 field."""

ZIP64_FIELD = 1
"""The number of that field among the extra ones."""

UTF_8 = 0x800
"""The flag of names in UTF-8; others are in code page 437."""


class Listed(NamedTuple):
    """One entry of the directory: sizes in bytes, and the offset of the local header in the file."""

    name: str
    offset: int
    packed: int
    size: int
    method: int
    flags: int
    crc: int
    system: int
    attributes: int


def directory(file: IO[bytes], size: int) -> Iterator[Listed]:
    """Yield the entries of a zip file of `size` bytes, in order, holding one.

    Raises:
        zipfile.BadZipFile: it has no directory, or a damaged one
    """
    start, length, shift = _place(file, size)
    at = start
    while at < start + length:
        file.seek(at)
        head = file.read(ENTRY.size)
        if len(head) < ENTRY.size or not head.startswith(ENTRY_SIGNATURE):
            raise zipfile.BadZipFile(f"its directory is damaged at byte {at:,}")
        fields = ENTRY.unpack(head)
        rest = file.read(sum(fields[12:15]))
        if len(rest) < sum(fields[12:15]):
            raise zipfile.BadZipFile("its directory is cut off")
        yield _listed(fields, rest, shift)
        at += len(head) + len(rest)


def _place(file: IO[bytes], size: int) -> tuple[int, int, int]:
    """Return the directory's start and length, and the bytes before the archive, which no offset counts."""
    tail_length = min(size, END.size + MAX_COMMENT)
    file.seek(size - tail_length)
    tail = file.read(tail_length)
    found = tail.rfind(END_SIGNATURE)
    if found < 0 or len(tail) - found < END.size:
        raise zipfile.BadZipFile("it has no central directory: was it cut off?")
    end = size - tail_length + found
    _, disk, _, _, _, length, offset, _ = END.unpack_from(tail, found)
    if disk not in (0, 0xFFFF):
        raise zipfile.BadZipFile("it is one of several parts: join them")
    file.seek(max(0, end - LOCATOR.size))
    locator = file.read(LOCATOR.size)
    if locator.startswith(LOCATOR_SIGNATURE) and end >= LOCATOR.size + END_64.size:
        end -= LOCATOR.size + END_64.size
        file.seek(end)
        record = file.read(END_64.size)
        if not record.startswith(END_64_SIGNATURE):
            raise zipfile.BadZipFile("its zip64 record is not where it should be")
        length, offset = END_64.unpack(record)[8:10]
    if end - length - offset < 0:
        raise zipfile.BadZipFile("its directory is larger than it: was it cut off?")
    return end - length, length, end - length - offset


def _listed(fields: tuple[int, ...], rest: bytes, shift: int) -> Listed:
    _, _, system, _, _, flags, method, _, _, crc, packed, size, name, extra, _, _, _, attributes, at = fields
    numbers = {"size": size, "packed": packed, "offset": at}
    large = [key for key, value in numbers.items() if value == LARGE]
    if large:
        numbers.update(zip(large, _zip64(rest[name : name + extra], len(large)), strict=True))
    text = rest[:name].decode("utf-8" if flags & UTF_8 else "cp437", "surrogateescape")
    return Listed(
        text,
        numbers["offset"] + shift,
        numbers["packed"],
        numbers["size"],
        method,
        flags,
        crc,
        system,
        attributes,
    )


def _zip64(extra: bytes, count: int) -> tuple[int, ...]:
    """Return the numbers in the zip64 field, in the order of size, packed size and offset."""
    at = 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<2H", extra, at)
        if number == ZIP64_FIELD and length >= 8 * count and at + 4 + length <= len(extra):
            return struct.unpack_from(f"<{count}Q", extra, at + 4)
        at += 4 + length
    raise zipfile.BadZipFile("a file's zip64 field is missing")
