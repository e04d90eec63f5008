"""A page of a TIFF as an image: by Pillow if it knows the layout of the samples, else from the samples here.

Pillow has a list of layouts. It gets the pixels of some on it wrong, and refuses others. Of those, Pillow
decompresses the rows as plain bytes; what the bytes mean is taken from the TIFF 6.0 specification.
"""

from array import array
from itertools import accumulate
from sys import byteorder
from typing import IO, BinaryIO, cast

from PIL import Image, ImageChops, UnidentifiedImageError

from contract.depth import to_eight_bits
from contract.errors import UnsupportedImageError
from contract.rgb import lab_to_rgb
from contract.tiff import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA_SAMPLES,
    HEIGHT,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RAW,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    SEPARATE,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUBSAMPLING,
    TILE_BYTES,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
    page_file,
)

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
"""Values of PhotometricInterpretation: what the samples of a pixel mean."""

_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
"""Samples of a pixel for each of them; more are extra samples."""

_BYTEWISE = frozenset({RAW, 5, 8, 32773, 32946, 34925, 50000})
"""Compressions of any bytes: none, LZW, deflate, PackBits, LZMA, Zstandard."""

ASSOCIATED, UNASSOCIATED = 1, 2
"""Values of ExtraSamples: alpha that the colours are multiplied by, and alpha that they are not."""

_NO_PREDICTOR, _DIFFERENCES = 1, 2
"""Values of Predictor; the second one stores differences between neighbours in a row."""

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
"""Values of SampleFormat."""

_SIGN = 0x80
"""The highest bit of a byte."""


def read_page(file: BinaryIO, directory: Directory) -> Image.Image:
    """Return the image of a directory, with its orientation still to be applied.

    Raises:
        UnsupportedImageError: the layout of the samples is not supported
        Exception: the page is damaged; Pillow's plugin raises many types
    """
    directory = _with_deep_map(directory)
    if not _misread(directory):
        try:
            image: Image.Image = _opened(file, directory)
        except UnidentifiedImageError:
            # Pillow does not know the layout.
            pass
        else:
            lost = directory.number(EXTRA_SAMPLES) == ASSOCIATED and _is_all_zero(image)
            # Colours times an alpha that is 0 everywhere: the alpha was never meant.
            return read_page(file, directory.changed({EXTRA_SAMPLES: (UNASSOCIATED,)})) if lost else image
    image = _composed(_Samples(file, directory), directory)
    image.getexif()[ORIENTATION] = directory.number(ORIENTATION, 1)
    return image


def _opened(file: BinaryIO, directory: Directory) -> Image.Image:
    # A map of memory has the methods of a file.
    return Image.open(cast("IO[bytes]", page_file(file, directory)), formats=["TIFF"])


def _with_deep_map(directory: Directory) -> Directory:
    """Return the directory with colours of 16 bits in its map: some writers store 8, as libtiff knows too."""
    colours = directory.numbers(COLOUR_MAP)
    if not colours or max(colours) > 255:
        return directory
    return directory.changed({COLOUR_MAP: tuple(colour * 257 for colour in colours)})


def _misread(directory: Directory) -> bool:
    """Return whether Pillow decodes the page and gets it wrong."""
    bits, meaning = max(directory.bits), directory.number(PHOTOMETRIC)
    raw = directory.number(COMPRESSION, RAW) == RAW
    if directory.number(PLANAR, 1) == SEPARATE and directory.number(SAMPLES, 1) > 1:
        plain = bits == 8 and directory.number(EXTRA_SAMPLES) != ASSOCIATED
        odd = _COLOURS.get(meaning) == 1 or (meaning == YCBCR and directory.number(SAMPLES) > 3)
        return odd or (raw and (meaning not in (RGB, CMYK) or not plain))
    if raw and meaning == YCBCR:
        return directory.numbers(SUBSAMPLING, (2, 2)) != (1, 1)
    kind = directory.number(SAMPLE_FORMAT, _UNSIGNED)
    # libtiff swaps the bytes of compressed samples, and Pillow then does it again.
    swapped = directory.order == ">" and not raw and bits >= 16 and kind != _UNSIGNED
    return (
        bits == 12
        or (bits == 32 and kind == _UNSIGNED)
        or swapped
        or (meaning == WHITE_IS_ZERO and bits >= 16)
    )


def _is_all_zero(image: Image.Image) -> bool:
    """Return whether the last band, the alpha, is 0 everywhere."""
    image.load()
    return image.getchannel(len(image.getbands()) - 1).getextrema() == (0, 0)


class _Samples:
    """The samples of a page, as images of mode L."""

    def __init__(self, file: BinaryIO, directory: Directory) -> None:
        self._file, self._directory = file, directory
        self.size = directory.size
        self._count = directory.number(SAMPLES, 1)
        self._bits = directory.bits[0]
        if min(self.size) < 1:
            raise ValueError("its directory names no size")
        if len(set(directory.bits)) > 1:
            raise UnsupportedImageError(f"samples of {directory.bits} bits")
        if directory.number(COMPRESSION, RAW) not in _BYTEWISE:
            raise UnsupportedImageError(f"compression {directory.number(COMPRESSION)} of such samples")

    def planes(self, *, scaled: bool) -> list[Image.Image]:
        """Return each sample of all pixels; `scaled` says whether those of less than 8 bits become 0..255."""
        if self._directory.number(PLANAR, 1) == SEPARATE and self._count > 1:
            return [self._split(self._plane(number), 1, scaled)[0] for number in range(self._count)]
        return self._split(self._directory, self._count, scaled)

    def subsampled(self, across: int, down: int) -> list[Image.Image]:
        """Return brightness and two colours, stored in blocks: some pixels' brightness, then their colour."""
        planar = self._directory.number(PLANAR, 1) == SEPARATE
        if self._bits != 8 or self._count != 3 or planar or self._directory.tiled or min(across, down) < 1:
            raise UnsupportedImageError("subsampled colours in tiles or planes, or not of 8 bits")
        (width, height), block = self.size, across * down + 2
        columns, lines = -(-width // across), -(-height // down)
        rows_per_strip = self._directory.number(ROWS_PER_STRIP, height)
        blocks = self._directory.changed({HEIGHT: (lines,), ROWS_PER_STRIP: (-(-rows_per_strip // down),)})
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
        for tag in (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES):
            values = self._directory.numbers(tag)
            some = len(values) // self._count
            changes[tag] = values[number * some : (number + 1) * some]
        return self._directory.changed(changes)

    def _split(self, directory: Directory, count: int, scaled: bool) -> list[Image.Image]:
        width, height = self.size
        rows = self._rows(directory, -(-width * count * self._bits // 8), count * self._bits)
        predictor = directory.number(PREDICTOR, _NO_PREDICTOR)
        if predictor == _DIFFERENCES and not directory.tiled and self._bits in _CODES:
            rows = _summed(rows, width * count, count, self._bits, directory.order)
        elif predictor != _NO_PREDICTOR:
            raise UnsupportedImageError(f"predictor {predictor} of such samples")
        flat = _eight_bits(rows, (width * count, height), directory, scaled)
        return [Image.frombytes("L", self.size, flat[number::count]) for number in range(count)]

    def _rows(self, directory: Directory, stride: int, pixel_bits: int = 8) -> bytes:
        """Return the bytes of all rows, decompressed; each has `stride` bytes."""
        left_out = (PLANAR, PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING, ORIENTATION, COLOUR_MAP)
        plain = directory.changed(
            {
                **dict.fromkeys(left_out, ()),
                WIDTH: (stride,),
                TILE_WIDTH: (directory.number(TILE_WIDTH) * pixel_bits // 8,) if directory.tiled else (),
                BITS: (8,),
                SAMPLES: (1,),
                PHOTOMETRIC: (BLACK_IS_ZERO,),
            }
        )
        with _opened(self._file, plain) as image:
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
    kind = directory.number(SAMPLE_FORMAT, _UNSIGNED)
    if kind == _FLOAT and bits in (32, 64):
        raw = f"F;{bits}{'' if order == '<' else 'B'}F"
        return to_eight_bits(Image.frombytes("F", size, rows, "raw", raw)).tobytes()
    if kind == _SIGNED and bits in (16, 32):
        raw = f"I;{bits}{'' if order == '<' else 'B'}S"
        return to_eight_bits(Image.frombytes("I", size, rows, "raw", raw)).tobytes()
    if kind != _UNSIGNED:
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


def _composed(samples: _Samples, directory: Directory) -> Image.Image:
    meaning = directory.number(PHOTOMETRIC)
    if meaning not in _COLOURS or (meaning == PALETTE and directory.bits[0] > 8):
        raise UnsupportedImageError(f"photometric interpretation {meaning} of {directory.bits[0]} bits")
    blocks = directory.numbers(SUBSAMPLING, (2, 2)) if meaning == YCBCR else (1, 1)
    planes = (
        samples.planes(scaled=meaning != PALETTE) if blocks == (1, 1) else samples.subsampled(*blocks[:2])
    )
    colours, others = planes[: _COLOURS[meaning]], planes[_COLOURS[meaning] :]
    if len(colours) < _COLOURS[meaning]:
        raise UnsupportedImageError(f"{len(colours)} samples of photometric interpretation {meaning}")
    image = _coloured(meaning, colours, directory)
    if meaning == PALETTE:
        # Numbers of colours are not scaled, alpha is.
        others = [
            plane.point(lambda sample: sample * 255 // (2 ** directory.bits[0] - 1)) for plane in others
        ]
    extra = directory.numbers(EXTRA_SAMPLES, (UNASSOCIATED,) if meaning == RGB else ())
    alphas = [
        (kind, plane)
        for kind, plane in zip(extra, others, strict=False)
        if kind in (ASSOCIATED, UNASSOCIATED)
    ]
    # Inks times alpha are what is seen on white paper.
    if not alphas or (meaning == CMYK and alphas[0][0] == ASSOCIATED):
        return image
    return _with_alpha(image, *alphas[0], multiplied=meaning != PALETTE)


def _coloured(meaning: int, planes: list[Image.Image], directory: Directory) -> Image.Image:
    """Return planes as an image of mode L or RGB."""
    if meaning in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return ImageChops.invert(planes[0]) if meaning == WHITE_IS_ZERO else planes[0]
    if meaning == PALETTE:
        colours = directory.numbers(COLOUR_MAP)
        size = len(colours) // 3
        image = planes[0].copy()
        image.putpalette([colours[band * size + number] >> 8 for number in range(size) for band in range(3)])
        return image.convert("RGB")
    if meaning == LAB:
        bright, *signed = planes
        shifted = [plane.point(lambda sample: sample ^ _SIGN) for plane in signed]
        return lab_to_rgb(Image.merge("LAB", [bright, *shifted]))
    return Image.merge({RGB: "RGB", CMYK: "CMYK", YCBCR: "YCbCr"}[meaning], planes).convert("RGB")


def _with_alpha(image: Image.Image, kind: int, alpha: Image.Image, *, multiplied: bool) -> Image.Image:
    if kind == ASSOCIATED and multiplied and alpha.getextrema() != (0, 0):
        mode, plain = ("La", "LA") if image.mode == "L" else ("RGBa", "RGBA")
        return Image.merge(mode, [*image.split(), alpha]).convert(plain)
    image.putalpha(alpha)
    return image
