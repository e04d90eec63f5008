"""Crops are classified in batches and turned; what fails in a batch is classified alone."""

import threading
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pytest

from contract.errors import ErrorCode, ItemError
from contract.records import Item
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Crop
from worker.kinds.upright import upright_crops
from worker.models.orientation import BATCH_SIZES, CROP_ORIENTATION
from worker.pipeline.run import ChunkRun

SIZE = BATCH_SIZES[CROP_ORIENTATION]

DEGREES = [0, -90, 180, 90]
"""docTR's classes."""


class Classifier:
    """Says of a crop the class that is its first pixel's red; fails on a batch with a `broken` one."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.broken: set[int] = set()

    def __call__(self, images: list[Pixels]) -> Any:
        self.sizes.append(len(images))
        classes = [int(image[0, 0, 0]) for image in images]
        if self.broken & set(classes):
            raise RuntimeError("device-side assert")
        return classes, [DEGREES[found] for found in classes], [1.0] * len(classes)


@pytest.fixture
def run(pool: Executor) -> ChunkRun:
    return ChunkRun(
        fetch=lambda _: b"", decode=lambda *_: None, attempt=1, pool=pool, window=8, stop=threading.Event()
    )  # type: ignore[arg-type, return-value]


def crop_of(found: int) -> tuple[Crop, list[Pixels]]:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0, 0] = found
    return Crop(Item(str(found), "/a.png")), [pixels]


def test_crops_are_turned_in_batches_and_lines_know_their_angle(run: ChunkRun) -> None:
    classify = Classifier()
    failed = Crop(Item("bad", "/bad.png"), ItemError(ErrorCode.NOT_FOUND, "none"))
    cut = [*(crop_of(number % 4) for number in range(SIZE)), (failed, []), crop_of(1)]

    made = list(upright_crops(iter(cut), classify, lambda pixels: pixels, run))

    assert [crop.item for crop, _ in made] == [crop.item for crop, _ in cut]
    assert [crop.angle for crop, _ in made[:4]] == DEGREES
    # What docTR calls -90 degrees was turned by three quarters counter-clockwise.
    assert [pixels[0].shape[:2] for _, pixels in made[:4]] == [(2, 3), (3, 2), (2, 3), (3, 2)]
    assert np.array_equal(made[1][1][0], np.rot90(cut[1][1][0], 3))
    assert made[SIZE] == (failed, [])
    assert sorted(classify.sizes) == [1, SIZE]


def test_a_crop_that_fails_alone_costs_itself_only(run: ChunkRun) -> None:
    classify = Classifier()
    classify.broken = {3}

    made = list(upright_crops(iter([crop_of(0), crop_of(3), crop_of(2)]), classify, lambda _: 1, run))

    assert [crop.angle for crop, _ in made] == [0, None, 180]
    error = made[1][0].error
    assert error is not None
    assert error.code is ErrorCode.RECOGNITION_FAILED
    assert "without detect_orientation" in error.message
