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
"""Maximum bytes of samples: a large crop's. libdeflate holds the GIL, and a page would hold it for long."""

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
    return pixels if _compiled()(rows, channels, pixels) else None


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
    rows, pixels = numba.types.Array(numba.uint8, 2, "C", readonly=False), numba.uint8[:, :, ::1]
    return compiled(_kernel, numba.boolean(rows, numba.int64, pixels))


def _kernel(rows: Samples, channels: int, pixels: Samples) -> bool:
    """Undo each row's filter in place, then write it to the pixels; return False for an unknown filter.

    Source: the PNG specification, third edition, section 9.
    """
    length = rows.shape[1] - 1
    above = np.zeros(length, np.uint8)
    for y in range(len(rows)):
        row = rows[y, 1:]
        if not _unfiltered(rows[y, 0], row, above, channels):
            return False
        above = row
        for x in range(length // channels):
            for plane in range(3):
                pixels[y, x, plane] = row[x * channels + plane % channels]
    return True


@numba.njit(nogil=True)
def _unfiltered(method: int, row: Samples, above: Samples, channels: int) -> bool:
    if method == 1:
        for i in range(channels, len(row)):
            row[i] += row[i - channels]
    elif method == 2:
        for i in range(len(row)):
            row[i] += above[i]
    elif method == 3:
        _undo_average(row, above, channels)
    elif method == 4:
        _undo_paeth(row, above, channels)
    return method <= 4


@numba.njit(nogil=True)
def _undo_average(row: Samples, above: Samples, channels: int) -> None:
    for i in range(len(row)):
        left = np.int32(row[i - channels]) if i >= channels else np.int32(0)
        row[i] += np.uint8((left + np.int32(above[i])) >> 1)


@numba.njit(nogil=True)
def _undo_paeth(row: Samples, above: Samples, channels: int) -> None:
    for i in range(min(channels, len(row))):
        row[i] += above[i]
    for i in range(channels, len(row)):
        a, b, c = np.int32(row[i - channels]), np.int32(above[i]), np.int32(above[i - channels])
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - c - c)
        nearest = a if to_a <= to_b and to_a <= to_c else b if to_b <= to_c else c
        row[i] += np.uint8(nearest)
