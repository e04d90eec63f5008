"""Bytes to the floats that a model was trained on."""

from typing import Any

import numpy as np
import torch

from worker.kernels.pixels import Pixels


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

    def __call__(self, batch: Pixels, memory_format: torch.memory_format) -> torch.Tensor:
        """Return float32 values of a batch, (n, 3, height, width); on a GPU laid out as asked for."""
        if self._device.type == "cpu":
            # By numpy, in this thread: torch's own wait for each other where other work holds the cores.
            values = np.divide(batch, 255, dtype=np.float32)
            values -= self._mean.numpy()
            values /= self._std.numpy()
            return torch.from_numpy(values)
        # Bytes travel, a quarter of the floats; from pinned memory the copy overlaps what the GPU does.
        moved = torch.from_numpy(batch).pin_memory().to(self._device, non_blocking=True)
        scaled = moved.to(torch.float32, memory_format=memory_format).div_(255)
        return scaled.sub_(self._mean).div_(self._std)
