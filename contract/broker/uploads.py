"""Uploads: files sent over HTTP that wait for a worker, and the way of their text back.

A job's items lie in storage; an upload lives in Redis alone, for as long as its sender waits. Many senders'
uploads lie in one list, per recognition architecture or kind of pages, and a worker takes as many at once as
its batch holds: that is how small requests share batches. The queue carries only a nudge that something is
there.

Keys, below the namespace:
  uploads:<kind>           list    one Ticket each, as JSON; sent on the right, taken on the left
  upload:<id>              string  the file's bytes; expires with the ticket
  answers:<sender>         list    one Answer each, as JSON; expires when nobody asks for it
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec

from contract.kinds import KINDS
from contract.lines import UNREADABLE
from contract.records import Text

if TYPE_CHECKING:
    from redis import Redis

ANSWERS_SECONDS = 60
"""Seconds that answers outlive a sender that no longer asks for them."""

MEDIA_TYPES = ("image/jpeg", "image/png", "application/pdf")
"""What the contract's endpoints take."""

MediaType = Literal["image/jpeg", "image/png", "application/pdf"]
Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Ticket(msgspec.Struct, frozen=True):
    """One upload that waits; `deadline` in Unix seconds, after which nobody waits for its answer.

    `parameters` are its kind's, all of them.
    """

    id: Token
    sender: Token
    name: Text
    media_type: MediaType
    deadline: float
    max_pages: Annotated[int, msgspec.Meta(ge=1)]
    parameters: dict[str, Any] = {}


class Upload(msgspec.Struct, frozen=True):
    """An upload in a worker's hands."""

    ticket: Ticket
    data: bytes


class Answer(msgspec.Struct, frozen=True):
    """What became of an upload: a line of JSON for each page, an image having one; or why there are none.

    `fault` says whose: the upload's own, or the server's.
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
        """Return how many uploads wait for a worker, whatever for."""
        pipeline = self._redis.pipeline(transaction=False)
        for kind in KINDS:
            pipeline.llen(self._list(kind))
        return sum(cast("list[int]", pipeline.execute()))

    def send(self, kind: str, uploads: list[Upload]) -> None:
        """Add uploads to those that wait for the same."""
        pipeline = self._redis.pipeline(transaction=True)
        for upload in uploads:
            ticket = upload.ticket
            seconds = max(1, math.ceil(ticket.deadline - self._clock()))
            pipeline.set(self._data(ticket.id), upload.data, ex=seconds)
            pipeline.rpush(self._list(kind), msgspec.json.encode(ticket))
        # A list that no worker takes from must not outlive its tickets.
        last = max((upload.ticket.deadline for upload in uploads), default=0.0)
        pipeline.expire(self._list(kind), max(1, math.ceil(last - self._clock())))
        pipeline.execute()

    def take(self, kind: str, count: int) -> list[Upload]:
        """Return up to `count` uploads, oldest first; those that nobody waits for any more are dropped."""
        taken: list[Upload] = []
        while len(taken) < count:
            asked = count - len(taken)
            tickets = self._tickets(kind, asked)
            if tickets is None:
                break
            taken += self._with_data([ticket for ticket in tickets if ticket.deadline > self._clock()])
        return taken

    def answer(self, sender: str, answers: list[Answer]) -> None:
        """Send answers to the one who waits for them."""
        key = self._answers(sender)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.rpush(key, *(msgspec.json.encode(answer) for answer in answers))
        pipeline.expire(key, ANSWERS_SECONDS)
        pipeline.execute()

    def next_answers(self, sender: str, timeout: float, most: int = 256) -> list[Answer]:
        """Wait up to `timeout` seconds for answers; return those that are there, at most `most` more."""
        key = self._answers(sender)
        first = cast("tuple[bytes, bytes] | None", self._redis.blpop([key], timeout=timeout))
        if first is None:
            return []
        more = cast("list[bytes] | None", self._redis.lpop(key, most)) or []
        return [msgspec.json.decode(value, type=Answer) for value in (first[1], *more)]

    def _tickets(self, kind: str, count: int) -> list[Ticket] | None:
        """Return the next tickets, None if there are none; what is no ticket is passed over."""
        values = cast("list[bytes] | None", self._redis.lpop(self._list(kind), count))
        if not values:
            return None
        tickets = []
        for value in values:
            try:
                tickets.append(msgspec.json.decode(value, type=Ticket))
            except UNREADABLE:
                continue
        return tickets

    def _with_data(self, tickets: list[Ticket]) -> list[Upload]:
        pipeline = self._redis.pipeline(transaction=False)
        for ticket in tickets:
            pipeline.getdel(self._data(ticket.id))
        return [
            Upload(ticket, data)
            for ticket, data in zip(tickets, pipeline.execute(), strict=True)
            if data is not None
        ]

    def _list(self, kind: str) -> str:
        return f"{self._prefix}uploads:{kind}"

    def _data(self, identity: str) -> str:
        return f"{self._prefix}upload:{identity}"

    def _answers(self, sender: str) -> str:
        return f"{self._prefix}answers:{sender}"
