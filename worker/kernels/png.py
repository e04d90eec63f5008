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
from worker.kernels.vectors import black, load_pixel, mean, nearest, plus, store_pixel

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
    # A byte more than the pixels: vectors write one behind the last pixel.
    samples = np.empty(height * width * 3 + 1, np.uint8)
    if not _compiled()(np.frombuffer(filtered, np.uint8), height, samples):
        return None
    return samples[:-1].reshape(height, width, 3)


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
    filtered, samples = numba.types.Array(numba.uint8, 1, "C", readonly=False), numba.uint8[::1]
    return compiled(_kernel, numba.boolean(filtered, numba.int64, samples), nogil=False)


def _kernel(filtered: Samples, height: int, samples: Samples) -> bool:
    """Undo each row's filter into a row of RGB samples; return False for an unknown filter.

    The filters treat each channel alone: grey rows are made RGB first.

    Source: the PNG specification, third edition, section 9.

    Args:
        filtered: each row with its filter's number; a bytearray's, which has a byte behind its last one
        samples: one more than the image's
    """
    rows, wide = filtered.reshape(height, len(filtered) // height), (len(samples) - 1) // height
    grey = rows.shape[1] - 1 < wide
    above, row = np.zeros(wide + 1, np.uint8), np.zeros(wide + 1, np.uint8)
    for y in range(height):
        if rows[y, 0] > 4:
            return False
        target = samples[y * wide : (y + 1) * wide]
        if grey:
            _widen(rows[y, 1:], row)
            _unfilter(rows[y, 0], row, above, target)
        else:
            _unfilter(rows[y, 0], rows[y, 1:], above, target)
        above = target
    return True


@numba.njit()
def _widen(grey: Samples, row: Samples) -> None:
    for x in range(len(grey)):
        row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = grey[x]


@numba.njit()
def _unfilter(method: int, row: Samples, above: Samples, target: Samples) -> None:
    if method == 0:
        for i in range(len(target)):
            target[i] = row[i]
    elif method == 1:
        _undo_sub(row, target)
    elif method == 2:
        for i in range(len(target)):
            target[i] = row[i] + above[i]
    elif method == 3:
        _undo_average(row, above, target)
    else:
        _undo_paeth(row, above, target)


# The pixel to the left stays in a variable: reading bytes that were just written takes four times as long.


@numba.njit()
def _undo_sub(row: Samples, target: Samples) -> None:
    left = black()
    for x in range(0, len(target), 3):
        left = plus(left, load_pixel(row, x))
        store_pixel(target, x, left)


@numba.njit()
def _undo_average(row: Samples, above: Samples, target: Samples) -> None:
    left = black()
    for x in range(0, len(target), 3):
        left = plus(mean(left, load_pixel(above, x)), load_pixel(row, x))
        store_pixel(target, x, left)


@numba.njit()
def _undo_paeth(row: Samples, above: Samples, target: Samples) -> None:
    left = up_left = black()
    for x in range(0, len(target), 3):
        up = load_pixel(above, x)
        left = plus(nearest(left, up, up_left), load_pixel(row, x))
        store_pixel(target, x, left)
        up_left = up
