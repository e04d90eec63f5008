"""Groups of items on their way through feeders: what is asked, what came back, and who is to blame."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import msgspec

from contract import errors
from contract.errors import ErrorCode, ItemError, StorageError
from contract.records import Item
from worker.feeders.answers import Fed, fed_of, joined
from worker.feeders.arena import Bytes
from worker.feeders.protocol import Feed, Reply, Request

Finish = Callable[[Fed], Any]
"""(the items) -> the group's result; called by a feeder's keeper."""

Add = Callable[[str, float], None]
"""Adds seconds to a stage."""


class Group:
    """Some items of a run; its future's result is what `finish` makes of them.

    Args:
        items: the items
        feed: how they are fed
        finish: makes the result
        add: called with a stage and its seconds
        files: their bytes, if `feed` has no roots
    """

    def __init__(
        self,
        items: Sequence[Item],
        feed: Feed,
        finish: Finish,
        add: Add,
        files: Sequence[bytes] | None = None,
    ) -> None:
        self.items, self.feed, self.files = items, feed, files
        self.future: Future[Any] = Future()
        self._finish, self._add = finish, add
        self._taken: list[tuple[Sequence[int], Fed]] = []
        self._left = len(items)
        self._lock = threading.Lock()

    @property
    def over(self) -> bool:
        """Whether nobody waits for the group any more."""
        return self.future.done()

    def missing(self) -> Sequence[int]:
        """Return the places of the items that nothing is known of yet."""
        known = {place for places, _ in self._taken for place in places}
        places = range(len(self.items))
        return [place for place in places if place not in known] if known else places

    def take(self, places: Sequence[int], fed: Fed) -> bool:
        """Note what came of items; return whether they were the last ones."""
        with self._lock:
            self._taken.append((places, fed))
            self._left -= len(places)
            return not self._left

    @property
    def needs_pixels(self) -> bool:
        """Whether an item came as it is, so that finishing it takes time and memory."""
        return any(fed.pixels for _, fed in self._taken)

    def finish(self) -> None:
        """Set the result."""
        with suppress(InvalidStateError):
            try:
                self.future.set_result(self._finish(joined(self._taken)))
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

    def fed(self, reply: Reply, data: Bytes) -> Fed:
        """Return what is in an answer, of the first items at least; raises as `fed_of`."""
        return fed_of(reply, data, len(self.places), self.group.feed.pieces)

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


def timed_out(excess: str) -> ItemError:
    """Return the error of an item whose decoding took too long."""
    return ItemError(
        ErrorCode.TIMED_OUT,
        f"decoding the image {excess}: save it again from the original",
    )
