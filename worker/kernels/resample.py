"""Bilinear scaling of crops and pages, antialiased, in machine code that computes torch's bytes.

Torch's kernel adds value by value. This one is four times as fast: it goes from bytes to bytes in one call,
releases the GIL, and adds row by row. Floats that are added in another order, or fused in other places, round
to other bytes, and other bytes may give another string. So it keeps torch's order.
`worker.kernels.torch_resample` compares both before use. This module needs no torch: feeders import it.
"""

import functools
import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import intrinsic

from worker.kernels.compiled import compiled
from worker.kernels.pixels import Pixels

MAX_TAPS = 8
"""Maximum input samples per output value in the compiled kernel: a scale of 3.5. Beyond that, the order in
which torch adds depends on the processor's vector instructions."""

GROUP = 4
"""Samples after the first that torch's compiled code takes at once: each is multiplied, then added. The rest
are multiplied and added with one rounding (fused)."""

BAND = 64
"""Rows that are computed at once: what they need of a page fits the processor's caches. A scanned page of
3508 by 2480 takes 29 ms in bands, and 195 ms at once."""

TABLES = 4_096
"""Cached weight tables of crops, one or two kilobytes each: crops share heights and many widths."""

Floats = npt.NDArray[np.float32]
Table = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]
"""For each output position: its first sample, the number of samples, and their weights, (n, taps) float32."""


def resample_compiled(crop: Pixels, height: int, width: int, piece: Pixels) -> bool:
    """Scale a crop or page, (h, w, 3) uint8, into the upper left corner of a piece, (3, H, W) uint8.

    Return False, with the piece unchanged, for a scale that only torch computes to torch's bytes.
    """
    table = _kept_table if height <= BAND else _table
    across, down = table(crop.shape[1], width), table(crop.shape[0], height)
    # For a single column torch uses another layout and adds in another order.
    if width == 1 or max(across[2].shape[1], down[2].shape[1]) > MAX_TAPS:
        return False
    if height <= BAND and piece.flags.c_contiguous:
        _compiled()(crop, *across, *down, piece)
        return True
    for start in range(0, height, BAND):
        first, count, weights = (column[start : start + BAND] for column in down)
        top, bottom = first[0], first[-1] + count[-1]
        band = np.empty((3, len(first), width), np.uint8)
        _compiled()(crop[top:bottom], *across, first - top, count, weights, band)
        piece[:, start : start + len(first), :width] = band
    return True


@functools.lru_cache(TABLES)
def _kept_table(samples: int, positions: int) -> Table:
    return _table(samples, positions)


def _table(samples: int, positions: int) -> Table:
    """Return torch's weights of `samples` values for each of `positions`; its arithmetic, including rounding.

    Source: `_compute_indices_min_size_weights_aa` in ATen's UpSampleKernel.cpp.
    """
    scale = np.float32(samples) / np.float32(positions)
    support, shrink = max(scale, np.float32(1)), np.float32(1 / max(float(scale), 1.0))
    centre = (float(scale) * (np.arange(positions) + 0.5)).astype(np.float32)
    first = np.maximum(((centre - support).astype(np.float64) + 0.5).astype(np.int64), 0)
    count = np.minimum(((centre + support).astype(np.float64) + 0.5).astype(np.int64), samples) - first
    count = np.clip(count, 1, 2 * math.ceil(support) + 1)
    taps = np.arange(count.max())
    distance = ((first[:, None] + taps).astype(np.float32) - centre[:, None]).astype(np.float64) + 0.5
    weights = np.maximum(1 - np.abs((distance * float(shrink)).astype(np.float32)), np.float32(0))
    weights[taps >= count[:, None]] = 0
    # Added one by one, as torch does; weights after the last sample are 0.
    sums = np.add.accumulate(weights, axis=1, dtype=np.float32)[:, -1:]
    return first, count, weights / sums


@functools.cache
def _compiled() -> Any:
    floats, numbers = numba.float32[:, ::1], numba.int64[::1]
    crop = numba.types.Array(numba.uint8, 3, "A", readonly=True)  # views and buffers of any kind
    piece = numba.uint8[:, :, ::1]
    signature = numba.void(crop, numbers, numbers, floats, numbers, numbers, floats, piece)
    return compiled(_kernel, signature)


@intrinsic
def _fused(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """Return a * b + c with one rounding, all float32."""
    signature = numba.float32(numba.float32, numba.float32, numba.float32)
    return signature, lambda _context, builder, _signature, values: builder.fma(*values)


@numba.njit(nogil=True)
def _blend(rows: Floats, first: Any, count: Any, weights: Floats, blended: Floats) -> None:
    """Write the weighted sum of neighbouring `rows` to each row of `blended`."""
    for position in range(len(first)):
        target, taps = blended[position], count[position]
        source, weight = rows[first[position]], weights[position, 0]
        for i in range(len(target)):
            target[i] = source[i] * weight
        apart = (taps - 1) // GROUP * GROUP
        for tap in range(1, apart + 1):
            source, weight = rows[first[position] + tap], weights[position, tap]
            for i in range(len(target)):
                target[i] += source[i] * weight
        for tap in range(apart + 1, taps):
            source, weight = rows[first[position] + tap], weights[position, tap]
            for i in range(len(target)):
                target[i] = _fused(source[i], weight, target[i])  # type: ignore[call-arg]


@numba.njit(nogil=True)
def _turned(crop: Pixels) -> Any:
    """Return the crop's columns as rows of floats, plane after plane: (width, 3 * height) float32."""
    height, width = crop.shape[:2]
    turned = np.empty((width, 3 * height), np.float32)
    for x in range(width):
        for plane in range(3):
            for y in range(height):
                turned[x, plane * height + y] = crop[y, x, plane]
    return turned


@numba.njit(nogil=True)
def _turned_back(turned: Floats, height: int) -> Any:
    """Return (height, 3 * width) float32 from (width, 3 * height)."""
    width = len(turned)
    rows = np.empty((height, 3 * width), np.float32)
    for plane in range(3):
        for y in range(height):
            for x in range(width):
                rows[y, plane * width + x] = turned[x, plane * height + y]
    return rows


def _kernel(
    crop: Pixels,
    left: Any,
    wide: Any,
    across: Floats,
    top: Any,
    tall: Any,
    down: Floats,
    piece: Pixels,
) -> None:
    """Scale along rows, then along columns, then round half to even: a `Resample` with its tables.

    The crop is transposed for the first pass, so that both passes add values that are adjacent in memory.
    """
    height, width = len(top), len(left)
    columns = np.empty((width, 3 * crop.shape[0]), np.float32)
    _blend(_turned(crop), left, wide, across, columns)
    scaled = np.empty((height, 3 * width), np.float32)
    _blend(_turned_back(columns, crop.shape[0]), top, tall, down, scaled)
    for y in range(height):
        for plane in range(3):
            for x in range(width):
                piece[plane, y, x] = np.uint8(np.rint(scaled[y, plane * width + x]))
