"""What feeders made of some items, in columns.

An object for each item would cost the device process more than to batch its pieces.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from contract.errors import ItemError
from worker.feeders.arena import Bytes
from worker.feeders.protocol import AS_IT_IS, FAILED, Reply
from worker.kernels.pieces import Pieces, PieceShape, Samples
from worker.kernels.pixels import Pixels

V = TypeVar("V")


class InvalidReplyError(Exception):
    """A feeder's answer contradicts itself; it counts as a crash."""


@dataclass(slots=True)
class Fed:
    """Some items that follow each other; what is said of few of them is by place.

    Args:
        pieces: of each item; none of one with an error, or that comes as it is
        pixels: of items that come as they are, RGB (height, width, 3) uint8
        notes: of items whose file has more than was read
        errors: of items that cannot be read
    """

    pieces: Pieces
    pixels: dict[int, Pixels] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    errors: dict[int, ItemError] = field(default_factory=dict)

    @classmethod
    def failed(cls, error: ItemError) -> "Fed":
        """Return one item that cannot be read."""
        return cls(Pieces([], [0]), errors={0: error})

    @property
    def count(self) -> int:
        """The number of items."""
        return len(self.pieces.counts)


def fed_of(reply: Reply, data: Bytes, most: int, shape: PieceShape | None) -> Fed:
    """Return the items in an answer; their arrays are views of its bytes.

    Args:
        most: the number of items that were asked for
        shape: of their pieces; None if their pixels were asked for

    Raises:
        InvalidReplyError: it is no answer to this request
    """
    counts = reply.counts
    if not 0 < len(counts) <= most or (shape is None and max(counts) > 0):
        raise InvalidReplyError
    _check_places(reply)
    left = _Left(data)
    if AS_IT_IS in counts:
        samples, pixels = _split(reply, left, shape)
        counts = [max(count, 0) for count in counts]
    else:
        samples, pixels = left.pieces(sum(counts), shape), {}
    left.check_empty()
    maps = {place: [(0, counts[place], overlap)] for place, overlap in reply.overlaps.items()}
    errors = {place: ItemError(*error) for place, error in reply.errors.items()}
    return Fed(Pieces(samples, counts, maps), pixels, reply.notes, errors)


def joined(parts: Sequence[tuple[Sequence[int], Fed]]) -> Fed:
    """Return the items of several answers as one.

    Args:
        parts: the places of items in what is returned, with the items; each place once
    """
    if len(parts) == 1:
        return parts[0][1]
    samples, counts = list[Pixels](), list[int]()
    whole = Fed(Pieces(samples, counts))
    bounds = [fed.pieces.bounds() for _, fed in parts]
    order = sorted(
        (place, number, own) for number, (places, _) in enumerate(parts) for own, place in enumerate(places)
    )
    for place, number, own in order:
        fed, (start, end) = parts[number][1], bounds[number][own]
        samples.extend(fed.pieces.samples[start:end])
        counts.append(end - start)
        _move(own, fed.pieces.maps, place, whole.pieces.maps)
        _move(own, fed.pixels, place, whole.pixels)
        _move(own, fed.notes, place, whole.notes)
        _move(own, fed.errors, place, whole.errors)
    return whole


def _move(own: int, source: dict[int, V], place: int, target: dict[int, V]) -> None:
    if own in source:
        target[place] = source[own]


def _check_places(reply: Reply) -> None:
    """Raise InvalidReplyError unless what is said of few items agrees with what came of them."""
    count_of = dict(enumerate(reply.counts)).get
    failed = reply.counts.count(FAILED) == len(reply.errors)
    cut = sum(count > 1 for count in reply.counts) <= len(reply.overlaps)
    if (
        not (failed and cut)
        or any(count_of(place) != FAILED for place in reply.errors)
        or any(count_of(place, FAILED) < 1 for place in reply.overlaps)
    ):
        raise InvalidReplyError


def _split(reply: Reply, left: "_Left", shape: PieceShape | None) -> tuple[Samples, dict[int, Pixels]]:
    """Return the pieces, and the pixels of the items that come as they are."""
    samples: list[Pixels] = []
    pixels: dict[int, Pixels] = {}
    for place, count in enumerate(reply.counts):
        if count == AS_IT_IS:
            pixels[place] = left.take(*reply.shapes.get(place, (0, 0)), 3)
        else:
            samples.extend(left.pieces(count, shape))
    return samples, pixels


class _Left:
    """The bytes of an answer that are not taken yet."""

    def __init__(self, data: Bytes) -> None:
        self._data = data

    def take(self, *form: int) -> Pixels:
        """Return the next bytes in a form; raises InvalidReplyError if there are too few."""
        size = math.prod(form)
        taken, self._data = self._data[:size], self._data[size:]
        if min(form) < 1 or len(taken) != size:
            raise InvalidReplyError
        return taken.reshape(form)

    def pieces(self, count: int, shape: PieceShape | None) -> Samples:
        """Return the next pieces; raises as `take`."""
        return self.take(count, 3, shape.height, shape.width) if shape and count else []

    def check_empty(self) -> None:
        """Raise InvalidReplyError if bytes are left."""
        if len(self._data):
            raise InvalidReplyError
