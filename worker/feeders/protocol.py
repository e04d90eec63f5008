"""What the device process and its feeders say to each other: JSON of these types, never a pickle.

All of a group is one message each way, with a column per property, since a message per crop would cost more
than the crop.
"""

from typing import Annotated, Literal

import msgspec

from contract.errors import ErrorCode
from worker.kernels.pieces import PieceShape

Place = Annotated[int, msgspec.Meta(ge=0)]
"""The place of an item in its request."""

Bytes = Annotated[int, msgspec.Meta(ge=0)]

FAILED, AS_IT_IS = 0, -1
"""In place of a number of pieces: the item has an error; its pixels follow as they are."""


CHANNELS = 3
"""Bytes per pixel: RGB."""

DEPTH = 3
"""Groups that one feeder has at once: one is decoded and the next ones wait, whose files are fetched, so that
it never waits for the device process."""


class Limits(msgspec.Struct, frozen=True):
    """What one feeder may take.

    Args:
        max_pixels: maximum pixels of one image
        max_memory: memory limit in bytes for decoding, besides what the program itself takes
        max_bytes, max_document_bytes: maximum bytes of one file
        fetch_threads: remote files fetched at once
        slots: slots of the arena
    """

    max_pixels: int
    max_memory: int
    max_bytes: int
    max_document_bytes: int
    fetch_threads: int
    slots: int


class Feed(msgspec.Struct, frozen=True):
    """What all requests of a run have in common.

    Args:
        run: tells runs apart
        roots: canonical roots of the items' files; None if their bytes come with the requests
        attempt: which run of the chunk this is, counted from 1
        remote: files come over a network, so they are fetched ahead
        pieces: the pieces to make of a crop; None to return its pixels
    """

    run: int
    roots: tuple[str, ...] | None
    attempt: int
    remote: bool
    pieces: PieceShape | None


class Request(msgspec.Struct):
    """A group of items.

    Args:
        slot: where the answer goes
        uris: of each item
        pages: of each item, if any has one
        sizes: bytes of each item's file; the files follow
    """

    feed: Feed
    slot: int
    uris: list[str]
    pages: list[int | None] | None = None
    sizes: list[Bytes] | None = None


class Reply(msgspec.Struct):
    """A group's answer; it may end before the last item if the slot is full.

    Args:
        counts: for each item the number of its pieces, FAILED or AS_IT_IS; their bytes follow each other
        size: bytes written
        apart: they are in a file of their own, whose descriptor follows: one item alone is larger than a slot
        overlaps: of items that were cut, the share of the last piece that the one before it has too
        shapes: height and width of pixels as they are
        notes, errors: of items that have one
        failure: name and message of an error that is no single item's
        seconds: for fetching, decoding and preparing
        requests: operation, outcome and retries of each request to storage
    """

    counts: list[Annotated[int, msgspec.Meta(ge=AS_IT_IS)]]
    size: Bytes = 0
    apart: bool = False
    overlaps: dict[Place, float] = {}
    shapes: dict[Place, tuple[int, int]] = {}
    notes: dict[Place, str] = {}
    errors: dict[Place, tuple[ErrorCode, str]] = {}
    failure: tuple[str, str] | None = None
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    requests: list[tuple[str, Literal["ok", "error", "retried"], int]] = []
