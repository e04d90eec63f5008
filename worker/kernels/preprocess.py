"""Step 5's other half: prepare a crop's pixels as the pieces that a model takes, bit for bit as docTR does.

docTR's `Resize` casts, interpolates, rounds, casts back and pads. Each step is a torch operation on a new
tensor, and the element-wise ones wake all of torch's threads for ten microseconds of work. Here one call does
all of it in the calling thread.
"""

from typing import Any, NamedTuple

import numpy as np
from doctr.models.recognition.predictor._utils import split_crops

from worker.kernels.pixels import Pixels
from worker.kernels.resample import make_resample

CropMap = list[Any]
"""docTR's map of a crop to its pieces: it says how to join their strings."""


class PreparedCrop(NamedTuple):
    """A crop ready for batches: its pieces, (3, height, width) uint8 each, and how to join their strings."""

    pieces: list[Pixels]
    crop_map: CropMap


class Preprocessor:
    """Makes pieces of one size; stateless, so thread-safe.

    Args:
        height, width: size of a piece in pixels, from the model's `input_shape`
        critical_ratio: width over height beyond which docTR cuts a crop
        target_ratio: width over height of the pieces that it cuts
        overlap_ratio: fraction of a piece that the next one repeats, 0..1
    """

    def __init__(
        self, height: int, width: int, critical_ratio: float, target_ratio: int, overlap_ratio: float
    ) -> None:
        self._height, self._width = height, width
        self._critical_ratio = critical_ratio
        self._target_ratio = target_ratio
        self._overlap_ratio = overlap_ratio
        self._resample = make_resample()

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces for the model; a wide crop has several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        height, width = pixels.shape[:2]
        if width / height <= self._critical_ratio:
            return PreparedCrop([self.resize(pixels)], [0])
        crops, crop_map, _ = split_crops(
            [pixels], self._critical_ratio, self._target_ratio, self._overlap_ratio
        )
        return PreparedCrop([self.resize(crop) for crop in crops], crop_map)

    def resize(self, crop: Pixels) -> Pixels:
        """Return a piece, (3, height, width) uint8: the crop in the upper left corner, black padding."""
        height, width = self._scaled(*crop.shape[:2])
        piece = np.zeros((3, self._height, self._width), np.uint8)
        self._resample(crop, height, width, piece)
        return piece

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the size that fits a piece at the crop's aspect ratio; docTR's arithmetic and rounding."""
        ratio = height / width
        if ratio == self._height / self._width:
            return self._height, self._width
        if ratio > self._height / self._width:
            return self._height, max(int(self._height / ratio), 1)
        return max(int(self._width * ratio), 1), self._width
