"""Stage 5: pieces of crops to full batches, across the whole chunk."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.images.decode import Pixels

Prediction = tuple[str, float]
"""A string and its confidence in 0..1."""


@dataclass(frozen=True, slots=True)
class PreparedCrop:
    """A crop ready for batches: its pieces, (3, height, width) uint8 each, and how to merge their strings."""

    pieces: list[Pixels]
    crop_map: list[Any]

    def without_pixels(self) -> "PreparedCrop":
        """Return what `join` needs once the pieces are read."""
        return PreparedCrop([], self.crop_map)


@dataclass(frozen=True, slots=True)
class Batch:
    """`pixels`: (n, 3, height, width) uint8; `owners[i]` is the index of the item that piece i belongs to."""

    owners: list[int]
    pixels: Pixels


def batches(pieces: Iterable[tuple[int, Pixels]], size: int) -> Iterator[Batch]:
    """Yield batches of exactly `size` pieces, in order; only the last one may be smaller.

    Args:
        pieces: (owner, piece) pairs; every piece is (3, height, width) uint8
        size: pieces per batch, the contract's `recognition_batch_size`
    """
    owners: list[int] = []
    pixels: Pixels | None = None
    for owner, piece in pieces:
        if pixels is None:
            pixels = np.empty((size, *piece.shape), np.uint8)
        pixels[len(owners)] = piece
        owners.append(owner)
        if len(owners) == size:
            yield Batch(owners, pixels)
            owners, pixels = [], None
    if pixels is not None:
        yield Batch(owners, pixels[: len(owners)])
