"""Decode small plain PNGs: libdeflate, and PNG's five filters as machine code.

When OpenCV decodes a crop, zlib's inflate takes more than half of the time. libdeflate takes less than half
of that, but needs the whole file and its decoded size, which a crop provides. Files that do not decode
exactly as expected are left to other decoders.
"""

import functools
import struct
from typing import Any

import deflate
import numba
import numpy as np
import numpy.typing as npt

from worker.kernels.compiled import compiled

MAX_BYTES = 1 << 20
"""Maximum bytes of samples: a large crop's. The GIL is held meanwhile, and a page would hold it for long."""

CHANNELS = {0: 1, 2: 3}
"""Samples per pixel of PNG's colour types, grey and RGB."""

Samples = npt.NDArray[np.uint8]


def decode_small(data: bytes) -> Samples | None:
    """Return the pixels, RGB (height, width, 3) uint8; None if the file is large or damaged.

    Args:
        data: an 8-bit grey or RGB PNG whose structure is already checked
    """
    width, height, _, colours, *methods, header_sum = struct.unpack_from(">IIBBBBBI", data, 16)
    channels = CHANNELS[colours]
    stride = 1 + width * channels
    if height * stride > MAX_BYTES or any(methods) or deflate.crc32(data[12:29]) != header_sum:
        return None
    compressed = _compressed(data)
    if compressed is None:
        return None
    try:
        filtered = deflate.zlib_decompress(compressed, height * stride)
    except deflate.DeflateError:
        return None
    if len(filtered) != height * stride:
        return None
    pixels = np.empty((height, width, 3), np.uint8)
    rows = np.frombuffer(filtered, np.uint8).reshape(height, stride)
    return pixels if _compiled()(rows, pixels.reshape(height, 3 * width)) else None


def _compressed(data: bytes) -> bytes | None:
    """Return the data of the IDAT chunks; None if one of them is damaged."""
    parts = []
    at = 33  # after the signature and IHDR
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            end = at + 8 + length
            if deflate.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                return None
            parts.append(data[at + 8 : end])
        at += 12 + length
    return b"".join(parts)


@functools.cache
def _compiled() -> Any:
    rows = numba.types.Array(numba.uint8, 2, "C", readonly=False)
    return compiled(_kernel, numba.boolean(rows, numba.uint8[:, ::1]), nogil=False)


def _kernel(rows: Samples, pixels: Samples) -> bool:
    """Undo each row's filter into a row of pixels, (height, 3 * width); return False for an unknown filter.

    The filters treat each channel alone: grey rows are made RGB first.

    Source: the PNG specification, third edition, section 9.
    """
    length, wide = rows.shape[1] - 1, np.empty(pixels.shape[1], np.uint8)
    above = np.zeros(pixels.shape[1], np.uint8)
    for y in range(len(rows)):
        row = rows[y, 1:]
        if length < len(wide):
            for x in range(length):
                wide[3 * x] = wide[3 * x + 1] = wide[3 * x + 2] = row[x]
            row = wide
        if rows[y, 0] > 4:
            return False
        _unfilter(rows[y, 0], row, above, pixels[y])
        above = pixels[y]
    return True


@numba.njit()
def _unfilter(method: int, row: Samples, above: Samples, target: Samples) -> None:
    if method == 0:
        target[:] = row
    elif method == 1:
        _undo_sub(row, target)
    elif method == 2:
        for i in range(len(target)):
            target[i] = row[i] + above[i]
    elif method == 3:
        _undo_average(row, above, target)
    else:
        _undo_paeth(row, above, target)


# The pixel to the left stays in variables: reading bytes that were just written takes four times as long.


@numba.njit()
def _undo_sub(row: Samples, target: Samples) -> None:
    r = g = b = np.int32(0)
    for x in range(len(target) // 3):
        i = 3 * x
        r, g, b = (r + row[i]) & 255, (g + row[i + 1]) & 255, (b + row[i + 2]) & 255
        target[i], target[i + 1], target[i + 2] = r, g, b


@numba.njit()
def _undo_average(row: Samples, above: Samples, target: Samples) -> None:
    r = g = b = np.int32(0)
    for x in range(len(target) // 3):
        i = 3 * x
        r = (row[i] + ((r + above[i]) >> 1)) & 255
        g = (row[i + 1] + ((g + above[i + 1]) >> 1)) & 255
        b = (row[i + 2] + ((b + above[i + 2]) >> 1)) & 255
        target[i], target[i + 1], target[i + 2] = r, g, b


@numba.njit()
def _undo_paeth(row: Samples, above: Samples, target: Samples) -> None:
    r = g = b = up_left_r = up_left_g = up_left_b = np.int32(0)
    for x in range(len(target) // 3):
        i = 3 * x
        up_r, up_g, up_b = np.int32(above[i]), np.int32(above[i + 1]), np.int32(above[i + 2])
        r = (row[i] + _nearest(r, up_r, up_left_r)) & 255
        g = (row[i + 1] + _nearest(g, up_g, up_left_g)) & 255
        b = (row[i + 2] + _nearest(b, up_b, up_left_b)) & 255
        target[i], target[i + 1], target[i + 2] = r, g, b
        up_left_r, up_left_g, up_left_b = up_r, up_g, up_b


@numba.njit()
def _nearest(left: Any, up: Any, up_left: Any) -> Any:
    """Return Paeth's choice of three int32: the one nearest to left + up - up_left."""
    to_left, to_up, to_up_left = abs(up - up_left), abs(left - up_left), abs(left + up - up_left - up_left)
    if to_left <= to_up and to_left <= to_up_left:
        return left
    return up if to_up <= to_up_left else up_left
