"""Normalise bytes to the floats that a model expects."""

import functools
import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch

from worker.kernels.compiled import compiled
from worker.kernels.pixels import Pixels

Floats = npt.NDArray[np.float32]


class Normaliser:
    """Normalises batches on the model's device: docTR's operations in docTR's order, to the same bits.

    Args:
        cfg: the model's `cfg`; `mean` and `std` are per channel, of values in 0..1
        device: the model's device
    """

    def __init__(self, cfg: dict[str, Any], device: torch.device) -> None:
        self._device = device
        # Made once: a new tensor for each batch would stall a GPU until it is copied there.
        self._mean, self._std = (
            torch.tensor(cfg[name], dtype=torch.float32, device=device).view(-1, 1, 1)
            for name in ("mean", "std")
        )

    def __call__(self, batch: Pixels, memory_format: torch.memory_format) -> torch.Tensor:
        """Return a batch as float32, (n, 3, height, width); on a GPU in the requested memory format."""
        if self._device.type == "cpu":
            # In this thread: torch's threads wait for each other if other work uses the cores.
            values = np.empty(batch.shape, np.float32)
            flat = (*batch.shape[:2], math.prod(batch.shape[2:]))
            samples = np.ascontiguousarray(batch).reshape(flat)
            _compiled()(samples, self._mean.numpy().ravel(), self._std.numpy().ravel(), values.reshape(flat))
            return torch.from_numpy(values)
        # Copy bytes, a quarter of the floats; from pinned memory the copy overlaps with the GPU's work.
        moved = torch.from_numpy(batch).pin_memory().to(self._device, non_blocking=True)
        scaled = moved.to(torch.float32, memory_format=memory_format).div_(255)
        return scaled.sub_(self._mean).div_(self._std)


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
