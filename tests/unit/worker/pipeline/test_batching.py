"""Batches: full ones, in order, across crops."""

import numpy as np
import pytest

from worker.images.decode import Pixels
from worker.pipeline.batching import Batch, batches


def piece(level: int) -> Pixels:
    return np.full((3, 2, 4), level, np.uint8)


def make(owners: list[int], size: int) -> list[Batch]:
    return list(batches(((owner, piece(level)) for level, owner in enumerate(owners)), size))


@pytest.mark.parametrize(
    ("pieces", "size", "sizes"),
    [(0, 4, []), (1, 4, [1]), (4, 4, [4]), (5, 4, [4, 1]), (9, 4, [4, 4, 1]), (3, 1, [1, 1, 1])],
)
def test_all_batches_are_full_but_the_last(pieces: int, size: int, sizes: list[int]) -> None:
    assert [len(batch.owners) for batch in make(list(range(pieces)), size)] == sizes


def test_every_piece_keeps_its_place_and_owner() -> None:
    # given the pieces of three crops, the middle one wide
    owners = [0, 1, 1, 1, 2]

    made = make(owners, 2)

    assert [owner for batch in made for owner in batch.owners] == owners
    assert [int(one[0, 0, 0]) for batch in made for one in batch.pixels] == [0, 1, 2, 3, 4]


def test_batches_are_bytes_not_floats() -> None:
    (batch,) = make([0, 1], 2)

    assert batch.pixels.shape == (2, 3, 2, 4)
    assert batch.pixels.dtype == np.uint8


def test_a_batch_comes_out_before_the_next_piece_is_asked_for() -> None:
    # given a source that must not be read past the first batch
    def pieces() -> object:
        yield 0, piece(0)
        yield 1, piece(1)
        raise AssertionError("read ahead")

    first = next(batches(pieces(), 2))  # type: ignore[arg-type]

    assert first.owners == [0, 1]
