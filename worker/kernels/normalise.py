"""Normalise bytes to the floats that a model expects."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from worker.kernels.compiled import compiled
from worker.kernels.pixels import Pixels

Floats = npt.NDArray[np.float32]


class Normaliser:
    """Normalises batches in the calling thread: docTR's operations in docTR's order, to the same bits.

    Torch's threads would wait for each other if other work uses the cores.

    Args:
        mean, std: per channel, of values in 0..1
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)

    def __call__(self, batch: Pixels) -> Floats:
        """Return a batch as float32, (n, 3, height, width)."""
        values = np.empty(batch.shape, np.float32)
        flat = (*batch.shape[:2], math.prod(batch.shape[2:]))
        samples = np.ascontiguousarray(batch).reshape(flat)
        _compiled()(samples, self._mean, self._std, values.reshape(flat))
        return values


@functools.cache
def _compiled() -> Any:
    samples = numba.types.Array(numba.uint8, 3, "C", readonly=True)
    floats = numba.float32[::1]
    return compiled(_kernel, numba.void(samples, floats, floats, numba.float32[:, :, ::1]))


def _kernel(samples: Pixels, mean: Floats, std: Floats, values: Floats) -> None:
    """Normalise (n, channels, pixels) in one pass; the same three roundings as in three passes."""
    for i in range(len(samples)):
        for channel in range(len(mean)):
            row, target = samples[i, channel], values[i, channel]
            shift, scale = mean[channel], std[channel]
            for x in range(len(row)):
                target[x] = (np.float32(row[x]) / np.float32(255) - shift) / scale
