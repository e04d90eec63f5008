"""Step 5's other half: prepare a crop's pixels as the pieces that a model takes, bit for bit as docTR does.

docTR's `Resize` casts, interpolates, rounds, casts back and pads. Each step is a torch operation on a new
tensor, and the element-wise ones wake all of torch's threads for ten microseconds of work. Here one call does
all of it in the calling thread.
"""

import numpy as np

from worker.kernels.pieces import PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kernels.scaling import by_torch, make_resample


class Preprocessor:
    """Makes pieces of one shape, whatever their scale; stateless, so thread-safe."""

    def __init__(self, shape: PieceShape) -> None:
        self.shape = shape
        self._resample = make_resample()

    @property
    def compiled(self) -> bool:
        """Whether the compiled kernel is used: it makes the same pieces in a process without torch."""
        return self._resample is not by_torch

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces for the model; a wide crop has several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        parts, crop_map = self.shape.cut(pixels)
        return PreparedCrop([self.resize(part) for part in parts], crop_map)

    def resize(self, crop: Pixels) -> Pixels:
        """Return a piece, (3, height, width) uint8: the crop in the upper left corner, black padding."""
        height, width = self.shape.scaled(*crop.shape[:2])
        piece = np.zeros((3, self.shape.height, self.shape.width), np.uint8)
        self._resample(crop, height, width, piece)
        return piece
