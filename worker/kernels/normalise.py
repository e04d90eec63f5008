"""Normalise bytes to the floats that a model expects."""

from typing import Any

import numpy as np
import torch

from worker.kernels.pixels import Pixels


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
            # With numpy, in this thread: torch's threads wait for each other if other work uses the cores.
            values = np.divide(batch, 255, dtype=np.float32)
            values -= self._mean.numpy()
            values /= self._std.numpy()
            return torch.from_numpy(values)
        # Copy bytes, a quarter of the floats; from pinned memory the copy overlaps with the GPU's work.
        moved = torch.from_numpy(batch).pin_memory().to(self._device, non_blocking=True)
        scaled = moved.to(torch.float32, memory_format=memory_format).div_(255)
        return scaled.sub_(self._mean).div_(self._std)
