"""A feeder's answer: columns of its items, views of its bytes; what contradicts itself is refused."""

from typing import Any

import numpy as np
import pytest

from contract.errors import ErrorCode, ItemError
from worker.feeders.answers import Fed, InvalidReplyError, fed_of, joined
from worker.feeders.protocol import AS_IT_IS, FAILED, Reply
from worker.kernels.pieces import Pieces, PieceShape

SHAPE = PieceShape(2, 4, 8, 6, 0.5)

NOT_FOUND = ErrorCode.NOT_FOUND, "there is none"


def numbered(size: int) -> Any:
    return np.arange(size, dtype=np.uint8)


def test_pieces_are_views_of_the_answers_bytes() -> None:
    data = numbered(3 * SHAPE.size)

    fed = fed_of(Reply([1, 1, 1]), data, 3, SHAPE)

    assert np.shares_memory(fed.pieces.samples, data)
    assert np.array_equal(fed.pieces.samples, data.reshape(3, 3, 2, 4))
    assert fed.pieces.is_plain


def test_each_item_has_what_was_said_of_it() -> None:
    # given an item as it is, one with an error, one of two pieces, and one whose file has more
    reply = Reply(
        [AS_IT_IS, FAILED, 2, 1],
        shapes={0: (1, 2)},
        errors={1: NOT_FOUND},
        overlaps={2: 0.25},
        notes={3: "first of 2 frames"},
    )
    data = numbered(6 + 3 * SHAPE.size)

    fed = fed_of(reply, data, 5, SHAPE)

    assert fed.count == 4
    assert fed.pieces.counts == [0, 0, 2, 1]
    assert np.array_equal(fed.pieces.samples, data[6:].reshape(3, 3, 2, 4))
    assert fed.pieces.maps == {2: [(0, 2, 0.25)]}
    assert {place: pixels.tolist() for place, pixels in fed.pixels.items()} == {0: [[[0, 1, 2], [3, 4, 5]]]}
    assert fed.notes == {3: "first of 2 frames"}
    assert {place: (error.code, error.message) for place, error in fed.errors.items()} == {1: NOT_FOUND}


@pytest.mark.parametrize(
    "reply",
    [
        Reply([]),
        Reply([1, 1, 1, 1]),
        Reply([1]),
        Reply([1, 1, 1]),
        Reply([2]),
        Reply([1, FAILED, 1]),
        Reply([1, 1], errors={1: NOT_FOUND}),
        Reply([1, FAILED, 1], errors={0: NOT_FOUND}),
        Reply([1, FAILED, 1], errors={7: NOT_FOUND}),
        Reply([1, 1], overlaps={7: 0.5}),
        Reply([1, FAILED, 1], errors={1: NOT_FOUND}, overlaps={1: 0.5}),
        Reply([1, AS_IT_IS]),
        Reply([1, AS_IT_IS], shapes={1: (-2, -4)}),
        Reply([1, AS_IT_IS], shapes={1: (2, 5)}),
        Reply([AS_IT_IS], shapes={0: (1, 1)}),
        Reply([AS_IT_IS], shapes={0: (1, 1)}, overlaps={0: 0.5}),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(reply: Reply) -> None:
    with pytest.raises(InvalidReplyError):
        fed_of(reply, numbered(2 * SHAPE.size), 3, SHAPE)


def test_pieces_that_were_not_asked_for_are_refused() -> None:
    with pytest.raises(InvalidReplyError):
        fed_of(Reply([1, 1]), numbered(2 * SHAPE.size), 3, None)


def test_answers_to_parts_of_a_group_are_joined_in_the_order_of_its_items() -> None:
    data = numbered(4 * SHAPE.size)
    pieces = data.reshape(4, 3, 2, 4)
    error = ItemError(*NOT_FOUND)

    whole = joined(
        [
            ([1, 4], Fed(Pieces(pieces[:3], [2, 1], {0: [(0, 2, 0.5)]}), notes={1: "first of 2 frames"})),
            ([2], Fed.failed(error)),
            (range(3, 4), Fed(Pieces([], [0]), pixels={0: pieces[0]})),
            ([0], Fed(Pieces(pieces[3:], [1]))),
        ]
    )

    assert whole.pieces.counts == [1, 2, 0, 0, 1]
    assert np.array_equal(whole.pieces.samples, pieces[[3, 0, 1, 2]])
    assert whole.pieces.maps == {1: [(0, 2, 0.5)]}
    assert (whole.errors, whole.notes) == ({2: error}, {4: "first of 2 frames"})
    assert list(whole.pixels) == [3]
