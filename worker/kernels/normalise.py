"""Bytes to the floats that a model was trained on."""

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch

from worker.kernels.compiled import compiled
from worker.kernels.pixels import Pixels

Floats = npt.NDArray[np.float32]


class Normaliser:
    """Normalises batches on the model's device: docTR's operations in docTR's order, to its bits.

    Args:
        cfg: the model's; `mean` and `std` are per channel, of values in 0..1
    """

    def __init__(self, cfg: dict[str, Any], device: torch.device) -> None:
        self._device = device
        # Made once: a tensor made for each batch would stop a GPU until it is copied there.
        self._mean, self._std = (
            torch.tensor(cfg[name], dtype=torch.float32, device=device).view(-1, 1, 1)
            for name in ("mean", "std")
        )
        if device.type == "cpu":
            self._kernel = _compiled()

    def __call__(self, batch: Pixels, memory_format: torch.memory_format) -> torch.Tensor:
        """Return float32 values of a batch, (n, 3, height, width); on a GPU laid out as asked for."""
        if self._device.type == "cpu":
            values = np.empty(batch.shape, np.float32)
            self._kernel(batch, self._mean.numpy().ravel(), self._std.numpy().ravel(), values)
            return torch.from_numpy(values)
        # Bytes travel, a quarter of the floats; from pinned memory the copy overlaps what the GPU does.
        moved = torch.from_numpy(batch).pin_memory().to(self._device, non_blocking=True)
        scaled = moved.to(torch.float32, memory_format=memory_format).div_(255)
        return scaled.sub_(self._mean).div_(self._std)


@functools.cache
def _compiled() -> Any:
    batch, channels, values = numba.uint8[:, :, :, ::1], numba.float32[::1], numba.float32[:, :, :, ::1]
    return compiled(_kernel, numba.void(batch, channels, channels, values))


def _kernel(batch: Pixels, mean: Floats, std: Floats, values: Floats) -> None:
    """Write (batch / 255 - mean) / std: one way through memory, where numpy's four operations take four."""
    pieces, channels, height, width = batch.shape
    for piece in range(pieces):
        for channel in range(channels):
            for y in range(height):
                for x in range(width):
                    scaled = np.float32(batch[piece, channel, y, x]) / np.float32(255)
                    values[piece, channel, y, x] = (scaled - mean[channel]) / std[channel]
