"""TIFF files: which of their directories are pages, and what these say.

Directories are walked here, once. Pillow reaches page n through all pages before it, as libtiff does for
compressed pages, and neither gets past a directory that it cannot decode. So a page is copied into a file of
its own, by `contract.tiff.page_file`.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from contract.tiff import tags

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")
"""First bytes of a TIFF: both byte orders, classic and big, and two misspellings that Pillow reads."""

Resolution = tuple[float, float]
"""Dots per inch, horizontal and vertical."""

_BIG = 43
"""The version of a BigTIFF, whose offsets have 8 bytes; a classic TIFF has 42."""

SHORT, LONG, RATIONAL = 3, 4, 5
_OF_SIZE = {1: (1, 2, 6, 7), 2: (SHORT, 8), 4: (LONG, 9, 11, 13), 8: (RATIONAL, 10, 12, 16, 18)}
SIZES = {kind: size for size, kinds in _OF_SIZE.items() for kind in kinds}
"""Bytes of one value of each type."""
_INTEGERS = {1: "B", SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}

CENTIMETRES_PER_INCH = 2.54


@dataclass(frozen=True)
class Pages:
    """Where the pages of a TIFF are.

    Args:
        order: struct's sign of the byte order
        big: a BigTIFF
        offsets: of the pages' directories, in order; the last one may be damaged
    """

    order: str
    big: bool
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Directory:
    """One directory.

    Args:
        order: struct's sign of the byte order
        entries: tag -> its type, its values' bytes
    """

    order: str
    entries: Mapping[int, tuple[int, bytes]]

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the values of a tag of integers."""
        kind, data = self.entries.get(tag, (0, b""))
        if kind not in _INTEGERS or not data:
            return default
        return struct.unpack(f"{self.order}{len(data) // SIZES[kind]}{_INTEGERS[kind]}", data)

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag of integers."""
        return self.numbers(tag, (default,))[0]

    def changed(self, changes: Mapping[int, tuple[int, ...]]) -> "Directory":
        """Return the directory with other values of some tags; a tag without values is removed."""
        entries = {tag: entry for tag, entry in self.entries.items() if tag not in changes}
        for tag, values in changes.items():
            if values:
                entries[tag] = (LONG, struct.pack(f"{self.order}{len(values)}I", *values))
        return replace(self, entries=entries)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored."""
        return self.number(tags.WIDTH), self.number(tags.HEIGHT)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        given, samples = self.numbers(tags.BITS, (1,)), self.number(tags.SAMPLES, 1)
        return given[:samples] if len(given) >= samples else (given[0],) * samples

    @property
    def compression(self) -> int:
        """How the pixels are compressed; RAW by default."""
        return self.number(tags.COMPRESSION, tags.RAW)

    @property
    def separate(self) -> bool:
        """Whether each sample has its own plane."""
        return self.number(tags.PLANAR, 1) == tags.SEPARATE

    @property
    def orientation(self) -> int:
        """The value of EXIF's orientation, 1 if there is none."""
        return self.number(tags.ORIENTATION, 1)

    @property
    def tiled(self) -> bool:
        """Whether the pixels are in tiles, not in strips of whole rows."""
        return tags.STRIP_OFFSETS not in self.entries and tags.TILE_OFFSETS in self.entries

    @property
    def resolution(self) -> Resolution | None:
        """The page's own resolution, None if it has none."""
        unit = self.number(tags.RESOLUTION_UNIT, tags.INCH)
        sides = tuple(self._ratio(tag) for tag in (tags.X_RESOLUTION, tags.Y_RESOLUTION))
        if unit not in (tags.INCH, tags.CENTIMETRE) or not all(sides):
            return None
        scale = CENTIMETRES_PER_INCH if unit == tags.CENTIMETRE else 1
        return sides[0] * scale, sides[1] * scale

    def _ratio(self, tag: int) -> float:
        kind, data = self.entries.get(tag, (0, b""))
        if kind != RATIONAL or len(data) < SIZES[RATIONAL]:
            return 0.0
        above, below = struct.unpack_from(f"{self.order}2I", data)
        return above / below if below else 0.0


def pages_of(file: BinaryIO, most: int) -> Pages:
    """Return where the pages of a TIFF are.

    Smaller copies and masks are no pages, unless nothing else is there. A directory that extends past the
    file's end is the document's last page, since none beyond can be found.

    Args:
        most: stop after more than this number of directories

    Raises:
        ValueError: no TIFF, or cut off in its header
    """
    header = file.read(16)
    if not header.startswith(SIGNATURES):
        raise ValueError("no TIFF header")
    order, big = "<" if header.startswith(b"II") else ">", _BIG in header[2:4]
    if len(header) < (16 if big else 8):
        raise ValueError("cut off in its header")
    first = struct.unpack_from(order + ("Q" if big else "I"), header, 8 if big else 4)[0]
    found = list(_walk(file, order, big, first, most))
    pages = [offset for offset, is_page in found if is_page] or [offset for offset, _ in found]
    return Pages(order, big, tuple(pages))


def directory_of(file: BinaryIO, pages: Pages, number: int) -> Directory:
    """Return the directory of a page, counted from 1.

    Raises:
        ValueError: the directory is damaged
        IndexError: there is no such page
    """
    size = length_of(file)
    block = _entries(file, pages.order, pages.big, pages.offsets[number - 1], size)
    if block is None:
        raise ValueError("its directory is damaged or cut off")
    entries: dict[int, tuple[int, bytes]] = {}
    for tag, kind, count, inline in _unpacked(block[0], pages):
        length = count * SIZES.get(kind, 0)
        if tag not in tags.KEPT or tag in entries or not length:
            continue
        if length <= len(inline):
            entries[tag] = (kind, inline[:length])
            continue
        at = struct.unpack(pages.order + ("Q" if pages.big else "I"), inline)[0]
        if at + length > size:
            raise ValueError(f"the values of tag {tag} are cut off")
        file.seek(at)
        entries[tag] = (kind, file.read(length))
    return Directory(pages.order, entries)


def _walk(file: BinaryIO, order: str, big: bool, first: int, most: int) -> Iterator[tuple[int, bool]]:
    """Yield each directory's offset, and whether it is a page."""
    size = length_of(file)
    # Sound directories do not overlap; without this, a small file could make us read gigabytes.
    budget, seen, offset = size, set[int](), first
    while offset and offset not in seen and len(seen) <= most:
        seen.add(offset)
        block = _entries(file, order, big, offset, min(size, offset + budget))
        if block is None:
            yield offset, True
            return
        budget -= len(block[0])
        yield offset, _is_page(block[0], Pages(order, big, ()))
        offset = block[1]


def _entries(file: BinaryIO, order: str, big: bool, offset: int, end: int) -> tuple[bytes, int] | None:
    """Return a directory's entries and the offset of the next one; None if it extends past the end."""
    count_code, entry, link = ("Q", 20, "Q") if big else ("H", 12, "I")
    start, link_bytes = offset + struct.calcsize(order + count_code), struct.calcsize(order + link)
    if start + link_bytes > end:
        return None
    file.seek(offset)
    count = struct.unpack(order + count_code, file.read(start - offset))[0]
    length = count * entry
    if not count or start + length > end:
        return None
    block = file.read(length + link_bytes)
    # A link that is cut off or missing leads nowhere.
    following = struct.unpack(order + link, block[length:])[0] if len(block) == length + link_bytes else 0
    return block[:length], following


def _unpacked(block: bytes, pages: Pages) -> Iterator[tuple[int, int, int, bytes]]:
    return struct.iter_unpack(pages.order + ("HHQ8s" if pages.big else "HHI4s"), block)


def _is_page(block: bytes, pages: Pages) -> bool:
    for tag, kind, count, inline in _unpacked(block, pages):
        if tag in (tags.NEW_SUBFILE_TYPE, tags.SUBFILE_TYPE) and kind in (SHORT, LONG) and count:
            value = struct.unpack_from(pages.order + _INTEGERS[kind], inline)[0]
            if tag == tags.SUBFILE_TYPE:
                return bool(value != tags.OLD_REDUCED)
            return not value & (tags.REDUCED | tags.MASK)
    return True


def length_of(file: BinaryIO) -> int:
    """Return the bytes of a file."""
    return file.seek(0, os.SEEK_END)
