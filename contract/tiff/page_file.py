"""One page of a TIFF as a file of its own, which Pillow decodes.

Everything in it is at its old offset plus a constant, so what was missing or cut off still is.
"""

import mmap
import struct
from collections.abc import Iterable
from typing import IO, BinaryIO, cast

from PIL import Image

from contract.errors import UnsupportedImageError
from contract.tiff import LONG, SIZES, Directory, length_of, tags

_ALIGNED = 16
"""Pages are moved by a multiple of this number of bytes, so that samples stay aligned."""


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
    size = length_of(file)
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


def open_page(file: BinaryIO, directory: Directory) -> Image.Image:
    """Return a page opened by Pillow; errors as for `page_file`, and those of Pillow's plugin."""
    # A map of memory has the methods of a file.
    return Image.open(cast("IO[bytes]", page_file(file, directory)), formats=["TIFF"])


def _head(directory: Directory, shift: int) -> bytes:
    """Return the header, the one directory, and the values that do not fit into it."""
    order, entries = directory.order, sorted(directory.entries.items())
    after = 8 + 2 + 12 * len(entries) + 4
    block, values = bytearray(struct.pack(f"{order}H", len(entries))), bytearray()
    for tag, (kind, data) in entries:
        if tag in tags.OFFSETS or kind in (13, 16, 18):
            numbers = directory.numbers(tag)
            moved = (number + (shift if tag in tags.OFFSETS else 0) for number in numbers)
            kind, data = LONG, b"".join(struct.pack(f"{order}I", min(number, 2**32 - 1)) for number in moved)
        count = len(data) // SIZES[kind]
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
    if directory.compression == tags.OLD_JPEG:
        return [(0, size)]
    tiled = directory.tiled
    starts = directory.numbers(tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS)
    if not starts:
        raise ValueError("its directory names no pixels")
    lengths: Iterable[int] = directory.numbers(tags.TILE_BYTES if tiled else tags.STRIP_BYTES)
    lengths = list(lengths)[: len(starts)]
    lengths += [0] * (len(starts) - len(lengths))
    least = _raw_bytes(directory) if directory.compression == tags.RAW else 0
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
        width, height = directory.number(tags.TILE_WIDTH), directory.number(tags.TILE_HEIGHT)
    else:
        height = min(height, directory.number(tags.ROWS_PER_STRIP, height))
    bits = max(directory.bits) if directory.separate else sum(directory.bits)
    return -(-width * bits // 8) * height
