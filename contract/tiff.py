"""TIFF files: which of their directories are pages, and one page of them as a file of its own.

Directories are walked here, once. Pillow reaches page n through all pages before it, as libtiff does for
compressed pages, and neither gets past a directory that it cannot decode. A page is copied with its
directory into a classic TIFF of one page, which Pillow decodes. Everything in it is at its old offset plus a
constant, so what was missing or cut off still is.
"""

import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from contract.errors import UnsupportedImageError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")
"""First bytes of a TIFF: both byte orders, classic and big, and two misspellings that Pillow reads."""

Resolution = tuple[float, float]
"""Dots per inch, horizontal and vertical."""

_BIG = 43
"""The version of a BigTIFF, whose offsets have 8 bytes; a classic TIFF has 42."""

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = (
    254,
    255,
    256,
    257,
    258,
    259,
    262,
)
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
SUBSAMPLING = 530

_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another image, and a transparency mask."""

_OLD_REDUCED = 2
"""SubfileType's value for a smaller copy."""

_KEPT = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP}
    | {STRIP_BYTES, X_RESOLUTION, Y_RESOLUTION, PLANAR, 292, 293, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP}
    | {TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, 332, EXTRA_SAMPLES, SAMPLE_FORMAT, 340, 341, 347}
    | {*range(512, 522), 529, SUBSAMPLING, 531, 532, 700, 48129, 50674}
)
"""Tags that a decoder needs for the pixels and their orientation; profiles and private tags are left out."""

_OFFSETS = frozenset({STRIP_OFFSETS, TILE_OFFSETS, 513, 519, 520, 521})
"""Tags whose values are offsets; from 513 on those of JPEG data and tables of compression 6."""

RAW, _OLD_JPEG = 1, 6
"""Values of Compression: none, and the JPEG of TIFF 6.0, whose parts may be anywhere in the file."""

SEPARATE = 2
"""Value of PlanarConfiguration: each sample has its own plane."""

SHORT, LONG, RATIONAL = 3, 4, 5
_SIZES = {
    1: 1,
    2: 1,
    SHORT: 2,
    LONG: 4,
    RATIONAL: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    18: 8,
}
"""Bytes of one value of each type."""
_INTEGERS = {1: "B", SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}

_INCH, _CENTIMETRE = 2, 3
"""Values of ResolutionUnit; 1 says that there is none."""
CENTIMETRES_PER_INCH = 2.54

_ALIGNED = 16
"""Pages are moved by a multiple of this number of bytes, so that samples stay aligned."""


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
        return struct.unpack(f"{self.order}{len(data) // _SIZES[kind]}{_INTEGERS[kind]}", data)

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
        return self.number(WIDTH), self.number(HEIGHT)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        given, samples = self.numbers(BITS, (1,)), self.number(SAMPLES, 1)
        return given[:samples] if len(given) >= samples else (given[0],) * samples

    @property
    def tiled(self) -> bool:
        """Whether the pixels are in tiles, not in strips of whole rows."""
        return STRIP_OFFSETS not in self.entries and TILE_OFFSETS in self.entries

    @property
    def resolution(self) -> Resolution | None:
        """The page's own resolution, None if it has none."""
        unit = self.number(RESOLUTION_UNIT, _INCH)
        sides = tuple(self._ratio(tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
        if unit not in (_INCH, _CENTIMETRE) or not all(sides):
            return None
        scale = CENTIMETRES_PER_INCH if unit == _CENTIMETRE else 1
        return sides[0] * scale, sides[1] * scale

    def _ratio(self, tag: int) -> float:
        kind, data = self.entries.get(tag, (0, b""))
        if kind != RATIONAL or len(data) < _SIZES[RATIONAL]:
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
    size = _length(file)
    block = _entries(file, pages.order, pages.big, pages.offsets[number - 1], size)
    if block is None:
        raise ValueError("its directory is damaged or cut off")
    entries: dict[int, tuple[int, bytes]] = {}
    for tag, kind, count, inline in _unpacked(block[0], pages):
        length = count * _SIZES.get(kind, 0)
        if tag not in _KEPT or tag in entries or not length:
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


class PageFile(mmap.mmap):
    """A file of one page in memory; of the original only what belongs to the page takes up memory."""

    def getvalue(self) -> "PageFile":
        """Return the bytes; Pillow's way to decode compressed pages from memory."""
        return self


def page_file(file: BinaryIO, directory: Directory) -> PageFile:
    """Return a classic TIFF of one page, in the file's byte order.

    Raises:
        ValueError: the directory names no pixels
        UnsupportedImageError: an offset is beyond 4 GiB
    """
    size = _length(file)
    head_bytes = len(_head(directory, 0))
    shift = -(-head_bytes // _ALIGNED) * _ALIGNED
    ranges = _ranges(directory, size)
    if shift + size >= 1 << 32:
        raise UnsupportedImageError("a TIFF of more than 4 GiB")
    page = PageFile(-1, shift + size)
    page[:head_bytes] = _head(directory, shift)
    with memoryview(page) as view:
        for start, end in ranges:
            file.seek(start)
            file.readinto(view[shift + start : shift + end])  # type: ignore[attr-defined]
    return page


def _walk(file: BinaryIO, order: str, big: bool, first: int, most: int) -> Iterator[tuple[int, bool]]:
    """Yield each directory's offset, and whether it is a page."""
    size = _length(file)
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
        if tag in (NEW_SUBFILE_TYPE, SUBFILE_TYPE) and kind in (SHORT, LONG) and count:
            value = struct.unpack_from(pages.order + _INTEGERS[kind], inline)[0]
            return not (value & (_REDUCED | _MASK) if tag == NEW_SUBFILE_TYPE else value == _OLD_REDUCED)
    return True


def _head(directory: Directory, shift: int) -> bytes:
    """Return the header, the one directory, and the values that do not fit into it."""
    order, entries = directory.order, sorted(directory.entries.items())
    after = 8 + 2 + 12 * len(entries) + 4
    block, values = bytearray(struct.pack(f"{order}H", len(entries))), bytearray()
    for tag, (kind, data) in entries:
        if tag in _OFFSETS or kind in (13, 16, 18):
            numbers = directory.numbers(tag)
            moved = (number + (shift if tag in _OFFSETS else 0) for number in numbers)
            kind, data = LONG, b"".join(struct.pack(f"{order}I", min(number, 2**32 - 1)) for number in moved)
        count = len(data) // _SIZES[kind]
        if len(data) > 4:
            inline = struct.pack(f"{order}I", after + len(values))
            values += data + bytes(len(data) % 2)
        else:
            inline = data.ljust(4, b"\0")
        block += struct.pack(f"{order}HHI", tag, kind, count) + inline
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8) + bytes(block) + bytes(4) + bytes(values)


def _ranges(directory: Directory, size: int) -> list[tuple[int, int]]:
    """Return the parts of the file, (start, end), that hold the page's pixels; sorted, and none overlap."""
    if directory.number(COMPRESSION, RAW) == _OLD_JPEG:
        return [(0, size)]
    tiled = directory.tiled
    starts = directory.numbers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    if not starts:
        raise ValueError("its directory names no pixels")
    lengths: Iterable[int] = directory.numbers(TILE_BYTES if tiled else STRIP_BYTES)
    lengths = list(lengths)[: len(starts)]
    lengths += [0] * (len(starts) - len(lengths))
    least = _raw_bytes(directory) if directory.number(COMPRESSION, RAW) == RAW else 0
    # A length of zero stands for one that is not known.
    pairs = (
        (start, start + max(length, least) if length or least else size)
        for start, length in zip(starts, lengths, strict=True)
    )
    merged: list[tuple[int, int]] = []
    for start, end in sorted((start, min(end, size)) for start, end in pairs if start < size):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _raw_bytes(directory: Directory) -> int:
    """Return the bytes of one uncompressed strip or tile; Pillow reads as many, whatever length is given."""
    width, height = directory.size
    if directory.tiled:
        width, height = directory.number(TILE_WIDTH), directory.number(TILE_HEIGHT)
    else:
        height = min(height, directory.number(ROWS_PER_STRIP, height))
    bits = max(directory.bits) if directory.number(PLANAR, 1) == SEPARATE else sum(directory.bits)
    return -(-width * bits // 8) * height


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
