"""Crops are classified in batches and turned; what fails in a batch is classified alone."""

import threading
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pytest

from contract.errors import ErrorCode, ItemError
from contract.records import Item
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Crops, Cut
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


def crop_of(found: int) -> Cut[Pixels]:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0, 0] = found
    return Crops([Item(str(found), "/a.png")]), [pixels]


def test_crops_are_turned_in_batches_and_lines_know_their_angle(run: ChunkRun) -> None:
    classify = Classifier()
    error = ItemError(ErrorCode.NOT_FOUND, "none")
    failed = Crops([Item("bad", "/bad.png"), Item("9", "/9.tif")], {0: error}, {1: "first of 2 frames"})
    cut = [*(crop_of(number % 4) for number in range(SIZE - 1)), (failed, [None, crop_of(1)[1][0]])]

    (crops, made), (last, others) = upright_crops(iter(cut), classify, lambda pixels: pixels, run)

    assert [*crops.items, *last.items] == [item for group, _ in cut for item in group.items]
    assert [crops.angles[place] for place in range(4)] == DEGREES
    # What docTR calls -90 degrees was turned by three quarters counter-clockwise.
    assert [pixels.shape[:2] for pixels in made[:4]] == [(2, 3), (3, 2), (2, 3), (3, 2)]  # type: ignore[union-attr]
    assert np.array_equal(made[1], np.rot90(cut[1][1][0], 3))  # type: ignore[arg-type]
    assert (crops.errors, made[-1]) == ({SIZE - 1: error}, None)
    assert (last.notes, last.angles, len(others)) == ({0: "first of 2 frames"}, {0: -90}, 1)
    assert sorted(classify.sizes) == [1, SIZE - 1]


def test_a_crop_that_fails_alone_costs_itself_only(run: ChunkRun) -> None:
    classify = Classifier()
    classify.broken = {3}

    ((crops, made),) = upright_crops(iter([crop_of(0), crop_of(3), crop_of(2)]), classify, lambda _: 1, run)

    assert (crops.angles, made) == ({0: 0, 2: 180}, [1, None, 1])
    error = crops.errors[1]
    assert error.code is ErrorCode.RECOGNITION_FAILED
    assert "without detect_orientation" in error.message
