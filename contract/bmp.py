"""BMP files that Pillow reads wrong or refuses: two colours, and bit fields in any order."""

import struct

from PIL import Image, ImageMath

SIGNATURE = b"BM"

_FILE_HEADER = 14
"""Bytes before the bitmap's own header."""

_INFO_HEADER, _WITH_MASKS, _WITH_ALPHA = 40, 52, 56
"""Sizes of the bitmap's header: without masks, which then follow it; with three; with one for alpha too."""

_BIT_FIELDS, _ALPHA_BIT_FIELDS = 3, 6
"""Values of biCompression."""

_PALETTES_PILLOW_MISTAKES = frozenset({1, 2})
"""Numbers of colours that Pillow takes for 1 bit per pixel if they are black and white."""

_COLOURS_AT = 46
"""Where the number of colours is, from the file's beginning."""


def mended(data: bytes) -> bytes:
    """Return a BMP that Pillow reads right if it has 4 or 8 bits, and just black and white in its palette."""
    if not data.startswith(SIGNATURE) or len(data) < _FILE_HEADER + _INFO_HEADER:
        return data
    header, bits = struct.unpack_from("<I", data, _FILE_HEADER)[0], struct.unpack_from("<H", data, 28)[0]
    colours = struct.unpack_from("<I", data, _COLOURS_AT)[0]
    if header < _INFO_HEADER or bits not in (4, 8) or colours not in _PALETTES_PILLOW_MISTAKES:
        return data
    # Zero stands for all colours that the bits can tell apart; those behind the palette's end are not used.
    return data[:_COLOURS_AT] + bytes(4) + data[_COLOURS_AT + 4 :]


def size_of_fields(data: bytes) -> tuple[int, int] | None:
    """Return the width and height of a BMP with bit fields; None if it is none, or cut off."""
    if not data.startswith(SIGNATURE) or len(data) < _FILE_HEADER + _INFO_HEADER + 16:
        return None
    header, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", data, _FILE_HEADER)
    fields = header >= _INFO_HEADER and compression in (_BIT_FIELDS, _ALPHA_BIT_FIELDS) and bits in (16, 32)
    return (width, abs(height)) if fields and width > 0 and height else None


def read_fields(data: bytes) -> Image.Image:
    """Return the image of a BMP with bit fields, RGB or RGBA; its masks may be anywhere in a pixel.

    Raises:
        ValueError: the pixels are cut off
    """
    header, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", data, _FILE_HEADER)
    start = struct.unpack_from("<I", data, 10)[0]
    with_alpha = header >= _WITH_ALPHA or (header < _WITH_MASKS and compression == _ALPHA_BIT_FIELDS)
    masks = struct.unpack_from(f"<{4 if with_alpha else 3}I", data, _FILE_HEADER + _INFO_HEADER)
    stride = (width * bits + 31) // 32 * 4
    rows = data[start : start + stride * abs(height)]
    mode = "I" if bits == 32 else "I;16"
    pixels = Image.frombytes(
        mode, (width, abs(height)), rows, "raw", f"I;{bits}", stride, 1 if height < 0 else -1
    ).convert("I")
    used = masks if masks[-1] else masks[:3]
    return Image.merge("RGBA" if len(used) == 4 else "RGB", [_band(pixels, mask) for mask in used])


def _band(pixels: Image.Image, mask: int) -> Image.Image:
    """Return the bits of a mask as 0..255, rounded down as Pillow does."""
    if not mask:
        return Image.new("L", pixels.size)
    shift = (mask & -mask).bit_length() - 1
    length = (mask >> shift).bit_length()
    # Of more than 8 bits the upper ones; so that the product below fits into 32 bits too.
    dropped = max(0, length - 8)
    highest = (1 << (length - dropped)) - 1
    scaled: Image.Image = ImageMath.lambda_eval(
        lambda names: ((names["pixels"] >> (shift + dropped)) & highest) * 255 / highest, pixels=pixels
    )
    return scaled.convert("L")
