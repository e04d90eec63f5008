"""Pieces: bit for bit those that docTR makes of the same crop."""

from typing import Any

import numpy as np
import pytest
import torch
from doctr.models.recognition.predictor._utils import split_crops
from doctr.transforms import Resize
from doctr.utils import Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.kernels.pieces import PieceShape
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import Preprocessor

SHAPE = PieceShape(32, 128, critical_ratio=8, target_ratio=6, overlap_ratio=0.5)
OURS = Preprocessor(SHAPE)


def resized_by_doctr(crop: Pixels, size: tuple[int, int] = (32, 128)) -> Pixels:
    tensor = torch.from_numpy(crop.copy()).permute(2, 0, 1)
    resized: Pixels = Resize(size, preserve_aspect_ratio=True)(Sample(image=tensor)).image.numpy()
    return resized


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """The hardest case for rounding: no two neighbours alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(st.integers(2, 200), st.integers(2, 1_000), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_every_size_is_resized_as_doctr_does(height: int, width: int, seed: int) -> None:
    crop = noise(height, width, seed)

    assert np.array_equal(OURS.resize(crop), resized_by_doctr(crop))


@pytest.mark.parametrize(
    ("height", "width"),
    [(32, 128), (64, 256), (16, 64), (32, 100), (10, 128), (200, 2), (2, 200), (33, 129), (31, 127)],
)
def test_sizes_at_the_edge(height: int, width: int) -> None:
    crop = noise(height, width)

    assert np.array_equal(OURS.resize(crop), resized_by_doctr(crop))


def test_a_model_of_another_size() -> None:
    crop = noise(40, 90)

    ours = Preprocessor(PieceShape(64, 256, 8, 6, 0.5)).resize(crop)

    assert np.array_equal(ours, resized_by_doctr(crop, (64, 256)))


def test_black_and_white_stay_so() -> None:
    crop = np.zeros((20, 60, 3), np.uint8)
    crop[:, ::2] = 255

    assert np.array_equal(OURS.resize(crop), resized_by_doctr(crop))


@pytest.mark.parametrize("layout", ["a view", "read-only", "columns first"])
def test_the_memory_behind_the_pixels_does_not_matter(layout: str) -> None:
    crop: Any = noise(40, 90)
    if layout == "a view":
        crop = noise(80, 180)[::2, ::2]
    elif layout == "read-only":
        crop.flags.writeable = False
    else:
        crop = np.asfortranarray(crop)

    assert np.array_equal(OURS.resize(crop), resized_by_doctr(crop))


@pytest.mark.parametrize("width", [256, 257, 400, 1_000, 5_000])
def test_wide_crops_are_cut_where_doctr_cuts_them(width: int) -> None:
    crop = noise(32, width)
    crops, crop_map, _ = split_crops([crop], 8, 6, 0.5)

    prepared = OURS.prepare(crop)

    assert prepared.crop_map == crop_map
    assert len(prepared.pieces) == len(crops)
    assert all(
        np.array_equal(ours, resized_by_doctr(theirs))
        for ours, theirs in zip(prepared.pieces, crops, strict=True)
    )


@given(st.integers(1, 60), st.integers(1, 4_000), st.sampled_from([(8, 6, 0.5), (4, 5, 0.25), (3, 2, 0.9)]))
@settings(max_examples=300, deadline=None)
def test_crops_of_every_size_are_cut_where_doctr_cuts_them(
    height: int, width: int, ratios: tuple[float, int, float]
) -> None:
    crop = np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3)
    crops, crop_map, _ = split_crops([crop], *ratios)

    parts, ours = PieceShape(32, 128, *ratios).cut(crop)  # type: ignore[arg-type]

    assert ours == crop_map
    assert all(np.array_equal(part, theirs) for part, theirs in zip(parts, crops, strict=True))


@pytest.mark.parametrize(("size", "slow"), [((32, 100), False), ((11, 47), False), ((300, 600), True)])
def test_without_torch_a_piece_is_the_same_or_none(size: tuple[int, int], slow: bool) -> None:
    crop, piece = noise(*size), np.zeros((3, 32, 128), np.uint8)

    scaled = SHAPE.scale(crop, piece)

    assert scaled != slow
    assert np.array_equal(piece, np.zeros_like(piece) if slow else OURS.resize(crop))


def test_pieces_are_bytes() -> None:
    (piece,) = OURS.prepare(noise(20, 50)).pieces

    assert (piece.shape, piece.dtype) == ((3, 32, 128), np.uint8)
