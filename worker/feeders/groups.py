"""Groups of items on their way through feeders: what is asked, what came back, and who is to blame."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np

from contract import errors
from contract.errors import ErrorCode, ItemError, StorageError
from contract.records import Item
from worker.feeders.arena import Bytes
from worker.feeders.protocol import AS_IT_IS, FAILED, Feed, Reply, Request
from worker.kernels.pieces import PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels

WHOLE = [0]
"""The map of a crop of one piece; never changed."""


class Fed(NamedTuple):
    """An item that a feeder has decoded: as pieces, or its pixels where the feeder cannot make them."""

    note: str | None
    crop: PreparedCrop | None
    pixels: Pixels | None


class InvalidReplyError(Exception):
    """A feeder's answer contradicts itself; it counts as a crash."""


Finish = Callable[[list[Fed | ItemError]], Any]
"""(outcomes of the items) -> the group's result; called by a feeder's keeper."""

Add = Callable[[str, float], None]
"""Adds seconds to a stage."""


class Group:
    """Some items of a run; its future's result is what `finish` makes of their outcomes.

    Args:
        items: the items
        feed: how they are fed
        finish: makes the result
        add: called with a stage and its seconds
        files: their bytes, if `feed` has no roots
        known: outcomes of items that no feeder is asked for, by their places
    """

    def __init__(
        self,
        items: Sequence[Item],
        feed: Feed,
        finish: Finish,
        add: Add,
        files: Sequence[bytes] | None = None,
        known: Mapping[int, Fed | ItemError] = MappingProxyType({}),
    ) -> None:
        self.items, self.feed, self.files = items, feed, files
        self.future: Future[Any] = Future()
        self._finish, self._add = finish, add
        self._outcomes: list[Fed | ItemError | None] = [known.get(place) for place in range(len(items))]
        self._left = len(items) - len(known)
        self._lock = threading.Lock()

    @property
    def over(self) -> bool:
        """Whether nobody waits for the group any more."""
        return self.future.done()

    def unknown(self) -> list[int]:
        """Return the places of the items without an outcome."""
        return [place for place, outcome in enumerate(self._outcomes) if outcome is None]

    def take(self, places: Sequence[int], outcomes: Sequence[Fed | ItemError]) -> bool:
        """Note the outcomes of items; return whether it was the last one."""
        with self._lock:
            for place, outcome in zip(places, outcomes, strict=True):
                self._outcomes[place] = outcome
            self._left -= len(outcomes)
            return not self._left

    @property
    def needs_pixels(self) -> bool:
        """Whether an item came as it is, so that finishing it takes time and memory."""
        return any(isinstance(one, Fed) and one.pixels is not None for one in self._outcomes)

    def finish(self) -> None:
        """Set the result."""
        with suppress(InvalidStateError):
            try:
                self.future.set_result(self._finish(self._outcomes))  # type: ignore[arg-type]
            except Exception as error:
                self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        """Set an error that is no single item's."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def count(self, seconds: tuple[float, float, float]) -> None:
        """Add a feeder's seconds to the run's."""
        for stage, taken in zip(("fetch", "decode", "preprocess"), seconds, strict=True):
            self._add(stage, taken)


class Part:
    """Items of a group that one feeder is asked for.

    Args:
        group: the group
        places: of the items in their group
        crashes: feeders that died while they had this part alone
    """

    def __init__(self, group: Group, places: Sequence[int], crashes: int = 0) -> None:
        self.group, self.places, self.crashes = group, places, crashes

    def request(self, slot: int) -> tuple[bytes, bytes]:
        """Return the request as JSON, and its data."""
        items = [self.group.items[place] for place in self.places]
        request = Request(self.group.feed, slot, [item.uri for item in items])
        if any(item.page for item in items):
            request.pages = [item.page for item in items]
        data = b""
        if self.group.files is not None:
            files = [self.group.files[place] for place in self.places]
            request.sizes = list(map(len, files))
            data = b"".join(files)
        return msgspec.json.encode(request), data

    def outcomes(self, reply: Reply, data: Bytes) -> list[Fed | ItemError]:
        """Return the outcomes in an answer; raises InvalidReplyError if it is not one to this request."""
        if not 0 < len(reply.counts) <= len(self.places):
            raise InvalidReplyError
        shape = self.group.feed.pieces
        if shape and reply.is_plain:
            return _plain(len(reply.counts), data, shape)
        made: list[Fed | ItemError] = []
        start = 0
        for place, count in enumerate(reply.counts):
            note = reply.notes.get(place)
            if count == FAILED:
                made.append(_error(reply, place))
                continue
            if count == AS_IT_IS:
                pixels, start = _pixels(reply, data, place, start)
                made.append(Fed(note, None, pixels))
                continue
            if shape is None or start + count * shape.size > len(data):
                raise InvalidReplyError
            end = start + count * shape.size
            pieces = list(data[start:end].reshape(count, 3, shape.height, shape.width))
            overlap = reply.overlaps.get(place)
            crop_map = WHOLE if overlap is None else [(0, count, overlap)]
            if overlap is None and count != 1:
                raise InvalidReplyError
            made.append(Fed(note, PreparedCrop(pieces, crop_map), None))
            start = end
        return made

    def rest(self, taken: int) -> "Part":
        """Return the items after the first ones as a part."""
        return Part(self.group, self.places[taken:])

    def without(self, place: int) -> list["Part"]:
        """Return the other items as a part, if there are any."""
        others = [other for number, other in enumerate(self.places) if number != place]
        return [Part(self.group, others)] if others else []


def failure_of(name: str, message: str) -> Exception:
    """Return a feeder's error that is no single item's: by its type if it is one of storage."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, StorageError):
        return kind(message)
    return RuntimeError(f"a feeder failed: {name}: {message}")


def crashed(what: str) -> ItemError:
    """Return the error of an item that crashes feeders."""
    return ItemError(
        ErrorCode.WORKER_CRASHED,
        f"decoding the image {what}: save it again from the original, or leave it out",
    )


def timed_out(seconds: float) -> ItemError:
    """Return the error of an item whose decoding took too long."""
    return ItemError(
        ErrorCode.TIMED_OUT,
        f"decoding the image took longer than {seconds:g} s: save it again from the original",
    )


def _plain(count: int, data: Bytes, shape: PieceShape) -> list[Fed | ItemError]:
    """Return the outcomes of items of one piece each, as most are: in a tenth of the time."""
    if len(data) != count * shape.size:
        raise InvalidReplyError
    pieces = data.reshape(count, 3, shape.height, shape.width)
    return [Fed(None, PreparedCrop([piece], WHOLE), None) for piece in pieces]


def _error(reply: Reply, place: int) -> ItemError:
    if place not in reply.errors:
        raise InvalidReplyError
    return ItemError(*reply.errors[place])


def _pixels(reply: Reply, data: Bytes, place: int, start: int) -> tuple[Pixels, int]:
    height, width = reply.shapes.get(place, (0, 0))
    end = start + height * width * 3
    if min(height, width) < 1 or end > len(data):
        raise InvalidReplyError
    return np.asarray(data[start:end].reshape(height, width, 3)), end
