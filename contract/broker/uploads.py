"""Uploads: files sent over HTTP that wait for a worker, and the answers to them.

A job's items are in storage; an upload is only in Redis, and only as long as its sender waits. All senders'
uploads of one kind share a list, and a worker takes as many at once as its batch holds: this is how small
requests share batches. The queue carries only a nudge: a message that uploads wait.

Keys, below the namespace:
  uploads:<kind>           list    one Ticket each, as JSON; pushed on the right, popped on the left
  upload:<id>              string  the file's bytes, empty once a worker has them; expires with the ticket,
                                   and is deleted when its sender has an answer or no longer waits
  answers:<sender>         list    one Answer each, as JSON; expires if the sender does not fetch it
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import msgspec
import structlog

from contract.kinds import KINDS
from contract.lines import UNREADABLE
from contract.records import SHOWN, Text
from contract.region import Region

if TYPE_CHECKING:
    from redis import Redis

ANSWERS_SECONDS = 60
"""Seconds until answers expire that their sender does not fetch."""

MEDIA_TYPES = ("image/jpeg", "image/png", "application/pdf")
"""The media types that the Trace OCR API accepts."""

MediaType = Literal["image/jpeg", "image/png", "application/pdf"]
Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Ticket(msgspec.Struct, frozen=True):
    """One waiting upload. After `deadline`, in Unix seconds, its sender no longer waits for the answer.

    `parameters` holds all parameters of the upload's kind. `max_pixels` limits the pixels of all its pages
    together. `regions` are the parts of an image that are read; None for the whole image.
    """

    id: Token
    sender: Token
    name: Text
    media_type: MediaType
    deadline: float
    max_pages: Annotated[int, msgspec.Meta(ge=1)]
    parameters: dict[str, Any] = {}
    max_pixels: Annotated[int, msgspec.Meta(ge=1)] | None = None
    regions: tuple[Region, ...] | None = None


class Upload(msgspec.Struct, frozen=True):
    """A ticket with the bytes of its file."""

    ticket: Ticket
    data: bytes


class Answer(msgspec.Struct, frozen=True):
    """The result of an upload: one JSON line per page or region (an image is one page), or the error.

    The line of a region that the image does not have is an error line. `fault` says whether the upload or the
    server caused the error.
    """

    id: str
    lines: tuple[msgspec.Raw, ...] = ()
    error: str = ""
    fault: Literal["", "upload", "server"] = ""


class Uploads:
    """The uploads of one Redis database.

    Args:
        redis: a client with decode_responses=False
        namespace: the settings' namespace
        clock: Unix seconds
    """

    def __init__(self, redis: "Redis", namespace: str, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._prefix = namespace + ":"
        self._clock = clock

    def waiting(self) -> int:
        """Return how many uploads of all kinds wait for a worker."""
        pipeline = self._redis.pipeline(transaction=False)
        for kind in KINDS:
            pipeline.llen(self._list(kind))
        return sum(cast("list[int]", pipeline.execute()))

    def send(self, kind: str, uploads: list[Upload], *, again: bool = False) -> None:
        """Add uploads to the list of their kind.

        Args:
            again: a worker puts back what it has taken; what was withdrawn since stays withdrawn
        """
        pipeline = self._redis.pipeline(transaction=True)
        for upload in uploads:
            ticket = upload.ticket
            seconds = max(1, math.ceil(ticket.deadline - self._clock()))
            pipeline.set(self._data(ticket.id), upload.data, ex=seconds, xx=again)
            pipeline.rpush(self._list(kind), msgspec.json.encode(ticket))
        # The list must expire with its tickets if no worker takes them.
        last = max((upload.ticket.deadline for upload in uploads), default=0.0)
        pipeline.expire(self._list(kind), max(1, math.ceil(last - self._clock())))
        pipeline.execute()

    def take(self, kind: str, count: int) -> list[Upload]:
        """Return up to `count` uploads, oldest first; drops those that nobody waits for."""
        taken: list[Upload] = []
        while len(taken) < count:
            asked = count - len(taken)
            tickets = self._tickets(kind, asked)
            if tickets is None:
                break
            taken += self._with_data([ticket for ticket in tickets if ticket.deadline > self._clock()])
        return taken

    def answer(self, sender: str, answers: list[Answer]) -> None:
        """Send answers to the sender that waits for them."""
        key = self._answers(sender)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.delete(*(self._data(answer.id) for answer in answers))
        pipeline.rpush(key, *(msgspec.json.encode(answer) for answer in answers))
        pipeline.expire(key, ANSWERS_SECONDS)
        pipeline.execute()

    def next_answers(self, sender: str, timeout: float, most: int = 256) -> list[Answer]:
        """Wait up to `timeout` seconds for an answer; return it with up to `most` others that are ready.

        Entries that are no answers are dropped.
        """
        key = self._answers(sender)
        first = cast("tuple[bytes, bytes] | None", self._redis.blpop([key], timeout=timeout))
        if first is None:
            return []
        more = cast("list[bytes] | None", self._redis.lpop(key, most)) or []
        return list(_decoded([first[1], *more], Answer, key))

    def withdraw(self, kind: str, tickets: Sequence[Ticket]) -> None:
        """Remove uploads that nobody waits for: they no longer count, and a worker that has some stops."""
        pipeline = self._redis.pipeline(transaction=True)
        for ticket in tickets:
            pipeline.lrem(self._list(kind), 1, msgspec.json.encode(ticket))  # type: ignore[arg-type]
            pipeline.delete(self._data(ticket.id))
        pipeline.execute()

    def waited_for(self, tickets: Sequence[Ticket]) -> set[str]:
        """Return the ids of the taken uploads whose sender still waits."""
        pipeline = self._redis.pipeline(transaction=False)
        for ticket in tickets:
            pipeline.exists(self._data(ticket.id))
        there = pipeline.execute()
        return {ticket.id for ticket, is_there in zip(tickets, there, strict=True) if is_there} - {
            ticket.id for ticket in tickets if ticket.deadline <= self._clock()
        }

    def _tickets(self, kind: str, count: int) -> list[Ticket] | None:
        """Return the next tickets, or None if the list is empty; drops entries that are no tickets."""
        values = cast("list[bytes] | None", self._redis.lpop(self._list(kind), count))
        return list(_decoded(values, Ticket, self._list(kind))) if values else None

    def _with_data(self, tickets: list[Ticket]) -> list[Upload]:
        """Take the uploads' bytes; their keys stay, empty, for as long as their senders wait."""
        pipeline = self._redis.pipeline(transaction=False)
        for ticket in tickets:
            pipeline.set(self._data(ticket.id), b"", xx=True, keepttl=True, get=True)
        # A key of another type is an error in its place, and no reason to lose the other uploads.
        taken = pipeline.execute(raise_on_error=False)
        return [
            Upload(ticket, data)
            for ticket, data in zip(tickets, taken, strict=True)
            if isinstance(data, bytes)
        ]

    def _list(self, kind: str) -> str:
        return f"{self._prefix}uploads:{kind}"

    def _data(self, identity: str) -> str:
        return f"{self._prefix}upload:{identity}"

    def _answers(self, sender: str) -> str:
        return f"{self._prefix}answers:{sender}"


E = TypeVar("E", Ticket, Answer)


def _decoded(values: Iterable[bytes], kind: type[E], key: str) -> Iterator[E]:
    """Yield the entries of a list; what is not of their type is dropped with a log line."""
    for value in values:
        try:
            yield msgspec.json.decode(value, type=kind)
        except UNREADABLE as error:
            structlog.get_logger().error("entry_dropped", key=key, error=str(error)[:SHOWN])
