"""The samples of a TIFF's page, where Pillow does not know their layout, or gets it wrong.

Pillow decompresses the rows as plain bytes; what the bytes mean is taken from the TIFF 6.0 specification.
"""

from array import array
from itertools import accumulate
from sys import byteorder
from typing import BinaryIO

from PIL import Image

from contract.depth import to_eight_bits
from contract.errors import UnsupportedImageError
from contract.tiff import Directory, tags
from contract.tiff.page_file import open_page

_BYTEWISE = frozenset({tags.RAW, 5, 8, 32773, 32946, 34925, 50000})
"""Compressions of any bytes: none, LZW, deflate, PackBits, LZMA, Zstandard."""


class Samples:
    """The samples of a page, as images of mode L."""

    def __init__(self, file: BinaryIO, directory: Directory) -> None:
        self._file, self._directory = file, directory
        self.size = directory.size
        self._count = directory.number(tags.SAMPLES, 1)
        self._bits = directory.bits[0]
        if min(self.size) < 1:
            raise ValueError("its directory names no size")
        if len(set(directory.bits)) > 1:
            raise UnsupportedImageError(f"samples of {directory.bits} bits")
        if directory.compression not in _BYTEWISE:
            raise UnsupportedImageError(f"compression {directory.compression} of such samples")

    def planes(self, *, scaled: bool) -> list[Image.Image]:
        """Return each sample of all pixels; `scaled` says whether those of less than 8 bits become 0..255."""
        if self._directory.separate and self._count > 1:
            return [self._split(self._plane(number), 1, scaled)[0] for number in range(self._count)]
        return self._split(self._directory, self._count, scaled)

    def subsampled(self, across: int, down: int) -> list[Image.Image]:
        """Return brightness and two colours, stored in blocks: some pixels' brightness, then their colour."""
        laid = self._directory.separate or self._directory.tiled
        if self._bits != 8 or self._count != 3 or laid or min(across, down) < 1:
            raise UnsupportedImageError("subsampled colours in tiles or planes, or not of 8 bits")
        (width, height), block = self.size, across * down + 2
        columns, lines = -(-width // across), -(-height // down)
        rows_per_strip = self._directory.number(tags.ROWS_PER_STRIP, height)
        blocks = self._directory.changed(
            {tags.HEIGHT: (lines,), tags.ROWS_PER_STRIP: (-(-rows_per_strip // down),)}
        )
        data = self._rows(blocks, columns * block)
        full = columns * across, lines * down
        bright = bytearray(full[0] * full[1])
        for line in range(lines):
            row = data[line * columns * block : (line + 1) * columns * block]
            for number in range(across * down):
                begin = (line * down + number // across) * full[0] + number % across
                bright[begin : begin + full[0] - number % across : across] = row[number::block]
        colours = (
            Image.frombytes("L", (columns, lines), data[number::block]).resize(full, Image.Resampling.NEAREST)
            for number in (block - 2, block - 1)
        )
        return [
            plane.crop((0, 0, *self.size)) for plane in (Image.frombytes("L", full, bytes(bright)), *colours)
        ]

    def _plane(self, number: int) -> Directory:
        """Return the directory of one plane: the strips or tiles of a plane follow one another."""
        tiled = self._directory.tiled
        changes = {}
        for tag in (tags.TILE_OFFSETS, tags.TILE_BYTES) if tiled else (tags.STRIP_OFFSETS, tags.STRIP_BYTES):
            values = self._directory.numbers(tag)
            some = len(values) // self._count
            changes[tag] = values[number * some : (number + 1) * some]
        return self._directory.changed(changes)

    def _split(self, directory: Directory, count: int, scaled: bool) -> list[Image.Image]:
        width, height = self.size
        rows = self._rows(directory, -(-width * count * self._bits // 8), count * self._bits)
        predictor = directory.number(tags.PREDICTOR, tags.NO_PREDICTOR)
        if predictor == tags.DIFFERENCES and not directory.tiled and self._bits in _CODES:
            rows = _summed(rows, width * count, count, self._bits, directory.order)
        elif predictor != tags.NO_PREDICTOR:
            raise UnsupportedImageError(f"predictor {predictor} of such samples")
        flat = _eight_bits(rows, (width * count, height), directory, scaled)
        return [Image.frombytes("L", self.size, flat[number::count]) for number in range(count)]

    def _rows(self, directory: Directory, stride: int, pixel_bits: int = 8) -> bytes:
        """Return the bytes of all rows, decompressed; each has `stride` bytes."""
        left_out = (
            tags.PLANAR,
            tags.PREDICTOR,
            tags.EXTRA_SAMPLES,
            tags.SAMPLE_FORMAT,
            tags.SUBSAMPLING,
            tags.ORIENTATION,
            tags.COLOUR_MAP,
        )
        tile = (directory.number(tags.TILE_WIDTH) * pixel_bits // 8,) if directory.tiled else ()
        plain = directory.changed(
            {
                **dict.fromkeys(left_out, ()),
                tags.WIDTH: (stride,),
                tags.TILE_WIDTH: tile,
                tags.BITS: (8,),
                tags.SAMPLES: (1,),
                tags.PHOTOMETRIC: (tags.BLACK_IS_ZERO,),
            }
        )
        with open_page(self._file, plain) as image:
            return image.tobytes()


_CODES = {8: "B", 16: "H", 32: "I"}
"""array's codes of unsigned integers, by their bits."""


def _summed(rows: bytes, width: int, count: int, bits: int, order: str) -> bytes:
    """Return rows of differences to the pixel before as the samples themselves."""
    swapped = bits > 8 and (order == "<") != (byteorder == "little")
    values, highest = array(_CODES[bits], rows), (1 << bits) - 1
    if swapped:
        values.byteswap()
    for start in range(0, len(values), width):
        for first in range(start, start + count):
            sums = accumulate(values[first : start + width : count])
            values[first : start + width : count] = array(_CODES[bits], [total & highest for total in sums])
    if swapped:
        values.byteswap()
    return values.tobytes()


def _eight_bits(rows: bytes, size: tuple[int, int], directory: Directory, scaled: bool) -> bytes:
    """Return samples as 8 bits each: of deeper ones the upper byte; floats and signed as `to_eight_bits`."""
    bits, order = directory.bits[0], directory.order
    kind = directory.number(tags.SAMPLE_FORMAT, tags.UNSIGNED)
    if kind == tags.FLOAT and bits in (32, 64):
        raw = f"F;{bits}{'' if order == '<' else 'B'}F"
        return to_eight_bits(Image.frombytes("F", size, rows, "raw", raw)).tobytes()
    if kind == tags.SIGNED and bits in (16, 32):
        raw = f"I;{bits}{'' if order == '<' else 'B'}S"
        return to_eight_bits(Image.frombytes("I", size, rows, "raw", raw)).tobytes()
    if kind != tags.UNSIGNED:
        raise UnsupportedImageError(f"sample format {kind} of {bits} bits")
    if bits == 8:
        return rows
    if bits in (1, 2, 4):
        if bits == 1 and scaled:
            return Image.frombytes("1", size, rows, "raw", "1").convert("L").tobytes()
        mode = "L" if scaled else "P"
        return Image.frombytes(mode, size, rows, "raw", f"{mode};{bits}").tobytes()
    if bits == 12:
        deep = Image.frombytes("I;16", size, rows, "raw", "I;12").convert("I")
        return deep.point(lambda sample: sample * (1 / 16)).convert("L").tobytes()
    if bits not in (16, 24, 32):
        raise UnsupportedImageError(f"samples of {bits} bits")
    return _upper_bytes(rows, bits // 8, order)


def _upper_bytes(rows: bytes, length: int, order: str) -> bytes:
    """Return the upper byte of each integer; of 32 bits, the highest byte that any sample makes use of."""
    # From the highest byte to the lowest.
    places = range(length - 1, -1, -1) if order == "<" else range(length)
    upper = rows[places[0] :: length]
    if length < 4 or upper.strip(b"\0") or rows[places[1] :: length].strip(b"\0"):
        return upper
    second = rows[places[2] :: length]
    return second if second.strip(b"\0") else rows[places[3] :: length]
