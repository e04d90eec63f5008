"""Where a crop is cut into the pieces that a model takes, and how large each becomes: docTR's arithmetic.

Needs no torch, unlike docTR's own: feeders import it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from worker.kernels.pixels import Pixels
from worker.kernels.resample import resample_compiled

Samples = Pixels | Sequence[Pixels]
"""Inputs of a model, (3, height, width) uint8 each: one array of them all, or one for each."""

CropMap = list[Any]
"""docTR's map of a crop to its pieces: it says how to join their strings."""


class PreparedCrop(NamedTuple):
    """A crop ready for batches: its pieces, (3, height, width) uint8 each, and how to join their strings."""

    pieces: list[Pixels]
    crop_map: CropMap


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of some crops, in columns: an object for each crop would cost more than to batch it.

    Args:
        samples: the pieces of all crops, in order
        counts: the number of pieces of each crop; 0 for one that has none, since it cannot be read
        maps: docTR's maps of crops, by their places; of all others the one piece is the whole crop
    """

    samples: Samples
    counts: Sequence[int]
    maps: dict[int, CropMap] = field(default_factory=dict)

    @classmethod
    def of(cls, crops: Sequence[PreparedCrop | None]) -> "Pieces":
        """Return the pieces of crops that were prepared one by one; None for one that cannot be read."""
        samples = [piece for crop in crops if crop for piece in crop.pieces]
        counts = [len(crop.pieces) if crop else 0 for crop in crops]
        maps = {place: crop.crop_map for place, crop in enumerate(crops) if crop and crop.crop_map != [0]}
        return cls(samples, counts, maps)

    @property
    def is_plain(self) -> bool:
        """Whether each crop has one piece, which is the whole crop."""
        return not self.maps and len(self.samples) == len(self.counts) and 0 not in self.counts

    def bounds(self) -> list[tuple[int, int]]:
        """Return where the pieces of each crop begin and end in `samples`."""
        ends = list(accumulate(self.counts))
        return list(zip([0, *ends], ends, strict=False))


class PieceShape(msgspec.Struct, frozen=True):
    """The pieces that a model takes.

    Args:
        height, width: size of a piece in pixels, from the model's `input_shape`
        critical_ratio: width over height beyond which docTR cuts a crop
        target_ratio: width over height of the pieces that it cuts
        overlap_ratio: fraction of a piece that the next one repeats, 0..1
    """

    height: int
    width: int
    critical_ratio: float
    target_ratio: int
    overlap_ratio: float

    def cut(self, crop: Pixels) -> tuple[list[Pixels], CropMap]:
        """Return the parts of a crop, views of it, and their map: one part unless it is wide.

        Args:
            crop: RGB, (height, width, 3) uint8
        """
        height, width = crop.shape[:2]
        if width / height <= self.critical_ratio:
            return [crop], [0]
        across = max(1, math.ceil(height * self.target_ratio))
        overlap = max(0, math.floor(across * self.overlap_ratio))
        if width <= across:
            return [crop], [(0, 1, 0.0)]
        starts = list(range(0, width - across + 1, across - overlap))
        if starts[-1] + across < width:
            starts.append(width - across)
        repeated = (starts[-2] + across - starts[-1]) / across if len(starts) > 1 else 0.0
        parts = [crop[:, start : start + across] for start in starts]
        return parts, [(0, len(parts), repeated)]

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the size that fits a piece at the aspect ratio of a part; docTR's rounding."""
        ratio = height / width
        if ratio == self.height / self.width:
            return self.height, self.width
        if ratio > self.height / self.width:
            return self.height, max(int(self.height / ratio), 1)
        return max(int(self.width * ratio), 1), self.width

    @property
    def size(self) -> int:
        """Bytes of a piece."""
        return 3 * self.height * self.width

    def scale(self, part: Pixels, piece: Pixels) -> bool:
        """Scale a part into a piece, (3, height, width) zeros; return False if only torch can do that."""
        return resample_compiled(part, *self.scaled(*part.shape[:2]), piece)
