"""Scaling as torch does it, and whether the compiled kernel computes the same bytes on this machine."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from worker.kernels.pixels import Pixels
from worker.kernels.resample import resample_compiled

PROBES = (
    (32, 128), (31, 90), (20, 60), (8, 40), (33, 100), (40, 160), (48, 201), (65, 130), (77, 300), (90, 350),
    (100, 380), (111, 440), (118, 472), (2, 2), (12, 70), (57, 33),
)  # fmt: skip
"""Heights and widths of test crops whose scales need 1 to 8 samples; integer and fractional scales."""

PAGE = (1300, 1000), (1024, 787)
"""The size of a test page, and what it is scaled to."""


def resample_by_torch(crop: Pixels, height: int, width: int, piece: Pixels) -> None:
    """Scale as docTR's `Resize` does; a `worker.kernels.scaling.Resample`."""
    # Cast and round in numpy: torch's own cast and rounding would wake its threads.
    values = crop.transpose(2, 0, 1).astype(np.float32, order="C")
    if values.shape[1:] != (height, width):
        values = interpolate(
            torch.from_numpy(values)[None],
            size=(height, width),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )[0].numpy()
        np.rint(values, out=values)
    piece[:, :height, :width] = values


def kernel_agrees() -> bool:
    """Return whether the compiled kernel computes torch's bytes on this machine."""
    crops = (((height, width), (32, max(1, min(128, 32 * width // height)))) for height, width in PROBES)
    return all(_is_same(*probe) for probe in (*crops, PAGE))


def _is_same(size: tuple[int, int], scaled: tuple[int, int]) -> bool:
    crop = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ours, torchs = np.zeros((2, 3, *scaled), np.uint8)
    if not resample_compiled(crop, *scaled, ours):
        # Torch scales these anyway.
        return True
    resample_by_torch(crop, *scaled, torchs)
    return np.array_equal(ours, torchs)
