"""Bilinear scaling of crops and pages, antialiased, in machine code that computes torch's bytes.

Torch's kernel adds value by value. This one is ten times as fast: it goes from bytes to bytes in one call,
releases the GIL, and adds four pixels at once. Floats that are added in another order, or fused in other
places, round to other bytes, and other bytes may give another string. So it keeps torch's order.
`worker.kernels.torch_resample` compares both before use. This module needs no torch: feeders import it.
"""

import functools
import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from worker.kernels.compiled import compiled
from worker.kernels.pixels import Pixels
from worker.kernels.vectors import (
    LANES,
    PIXELS,
    SAMPLES,
    added,
    fused,
    load,
    load_pixels,
    store,
    store_pixels,
    store_planes,
    weighted,
)

MAX_TAPS = 8
"""Maximum input samples per output value in the compiled kernel: a scale of 3.5. Beyond that, the order in
which torch adds depends on the processor's vector instructions."""

GROUP = 4
"""Samples after the first that torch's compiled code takes at once: each is multiplied, then added. The rest
are multiplied and added with one rounding (fused)."""

BAND = 64
"""Rows that are computed at once: what they need of a page fits the processor's caches. A scanned page of
3508 by 2480 takes 11 ms in bands, and 32 ms at once."""

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
    crop = np.ascontiguousarray(crop)
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
    weights, numbers = numba.float32[:, ::1], numba.int64[::1]
    crop = numba.types.Array(numba.uint8, 3, "C", readonly=True)
    piece = numba.uint8[:, :, ::1]
    signature = numba.void(crop, numbers, numbers, weights, numbers, numbers, weights, piece)
    return compiled(_kernel, signature)


def _kernel(
    crop: Pixels, left: Any, wide: Any, across: Floats, top: Any, tall: Any, down: Floats, piece: Pixels
) -> None:
    """Scale along rows, then along columns, then round half to even: a `Resample` with its tables.

    A vector holds the pixels of four rows in one column, and later of four columns in one row.
    """
    height, width = crop.shape[:2]
    rows, lines = crop.reshape(height, 3 * width), np.zeros((PIXELS, 3 * width + 1), np.uint8)
    columns = np.zeros((width + MAX_TAPS) * LANES, np.float32)
    stride = -(-len(left) // PIXELS) * LANES
    scaled = np.empty(-(-height // PIXELS) * PIXELS * stride, np.float32)
    for y in range(0, height, PIXELS):
        for line in range(min(PIXELS, height - y)):
            _copy(rows[y + line], lines[line])
        _turn(lines.reshape(lines.size), lines.shape[1], width, columns)
        if across.shape[1] <= GROUP:
            _scale_rows(columns, left, across, scaled, y * stride, stride)
        else:
            _scale_rows_far(columns, left, wide, across, scaled, y * stride, stride)
    planes, size = piece.reshape(piece.size), piece.shape[1] * piece.shape[2]
    end, last = len(left) // PIXELS * PIXELS, np.empty(3 * PIXELS, np.uint8)
    for y in range(len(top)):
        at, weights, to = top[y] * stride, down[y, : tall[y]], y * piece.shape[2]
        if len(weights) <= GROUP:
            _scale_columns(scaled, at, stride, weights, planes, to, size, end)
        else:
            _scale_columns_far(scaled, at, stride, weights, planes, to, size, end)
        # Behind these the piece, or its memory, may end.
        if end < len(left):
            _scale_columns_far(scaled, at + end * SAMPLES, stride, weights, last, 0, PIXELS, PIXELS)
            for plane in range(3):
                _copy(last[plane * PIXELS : plane * PIXELS + len(left) - end], piece[plane, y, end:])


# Compiled loops see no negative index and count no references only in functions of their own.


@numba.njit(nogil=True)
def _copy(source: Pixels, target: Pixels) -> None:
    for i in range(len(source)):
        target[i] = source[i]


@numba.njit(nogil=True)
def _turn(lines: Pixels, stride: int, width: int, columns: Floats) -> None:
    """Write each column of four lines as a vector."""
    for x in range(width):
        store(columns, x * LANES, load_pixels(lines, 3 * x, stride))


@numba.njit(nogil=True)
def _scale_rows(columns: Floats, first: Any, weights: Floats, scaled: Floats, at: int, stride: int) -> None:
    """Scale four rows where no position has more than GROUP samples; missing ones have no weight."""
    most = weights.shape[1]
    for x in range(len(first)):
        start = first[x] * LANES
        total = weighted(load(columns, start), weights[x, 0])
        if most > 1:
            total = fused(load(columns, start + LANES), weights[x, 1], total)
        if most > 2:
            total = fused(load(columns, start + 2 * LANES), weights[x, 2], total)
        if most > 3:
            total = fused(load(columns, start + 3 * LANES), weights[x, 3], total)
        store_pixels(scaled, at + x * SAMPLES, stride, total)


@numba.njit(nogil=True)
def _scale_rows_far(
    columns: Floats, first: Any, count: Any, weights: Floats, scaled: Floats, at: int, stride: int
) -> None:
    """Scale four rows."""
    for x in range(len(first)):
        start, taps = first[x] * LANES, count[x]
        apart = (taps - 1) // GROUP * GROUP
        total = weighted(load(columns, start), weights[x, 0])
        for tap in range(1, apart + 1):
            total = added(load(columns, start + tap * LANES), weights[x, tap], total)
        for tap in range(apart + 1, taps):
            total = fused(load(columns, start + tap * LANES), weights[x, tap], total)
        store_pixels(scaled, at + x * SAMPLES, stride, total)


@numba.njit(nogil=True)
def _scale_columns(
    scaled: Floats, at: int, stride: int, weights: Floats, planes: Pixels, to: int, size: int, width: int
) -> None:
    """Make a row of bytes of at most GROUP rows."""
    taps = len(weights)
    for x in range(0, width, PIXELS):
        start = at + x * SAMPLES
        total = weighted(load(scaled, start), weights[0])
        if taps > 1:
            total = fused(load(scaled, start + stride), weights[1], total)
        if taps > 2:
            total = fused(load(scaled, start + 2 * stride), weights[2], total)
        if taps > 3:
            total = fused(load(scaled, start + 3 * stride), weights[3], total)
        store_planes(planes, to + x, size, total)


@numba.njit(nogil=True)
def _scale_columns_far(
    scaled: Floats, at: int, stride: int, weights: Floats, planes: Pixels, to: int, size: int, width: int
) -> None:
    """Make a row of bytes of any number of rows."""
    taps = len(weights)
    apart = (taps - 1) // GROUP * GROUP
    for x in range(0, width, PIXELS):
        start = at + x * SAMPLES
        total = weighted(load(scaled, start), weights[0])
        for tap in range(1, apart + 1):
            total = added(load(scaled, start + tap * stride), weights[tap], total)
        for tap in range(apart + 1, taps):
            total = fused(load(scaled, start + tap * stride), weights[tap], total)
        store_planes(planes, to + x, size, total)
