"""Connections of the HTTP API: as many as the process can hold, closed if their peer keeps them waiting."""

import asyncio
import contextlib
import resource
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import h11
import msgspec
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from contract.settings import Settings

SLOWEST_BYTES_PER_SECOND = 1024
"""A body may take one more second for each so many bytes that have arrived: any usable network is faster."""

ACCEPTED_AT_ONCE = 128
"""Connections that asyncio accepts before the first of them is counted."""

OWN_DESCRIPTORS = 3 * ACCEPTED_AT_ONCE
"""File descriptors kept for Redis, S3, logs, libraries, and connections that are being accepted or closed."""

DESCRIPTORS_OF_ONE = 2
"""File descriptors of a connection: its socket, and the file that it is sent."""

RETRY_SECONDS = 15
"""`Retry-After` in seconds while too many connections are open."""


@dataclass
class Bounds:
    """What one server's connections may take, and those that wait for a request, the longest wait first.

    Args:
        most: maximum open connections
        receive_seconds: seconds for a request's head, and for its body besides SLOWEST_BYTES_PER_SECOND
        send_seconds: seconds without an answer's bytes being taken
    """

    most: int
    receive_seconds: float
    send_seconds: float
    idle: dict["BoundedProtocol", None] = field(default_factory=dict)

    def protocol(self, **given: Any) -> "BoundedProtocol":
        """Return the protocol of a new connection, for uvicorn."""
        return BoundedProtocol(self, **given)


class Awaited(Enum):
    """What the peer still has to send; the rest of a body is of no use after the answer."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    REST = auto()


class BoundedProtocol(H11Protocol):
    """One connection, closed if its peer does not send a request, or take the answer, in time."""

    def __init__(self, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._awaited = Awaited.NOTHING
        self._since, self._received = 0.0, 0
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; if there are too many, close the one that has waited longest for its peer."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.most:
            longest = next(iter(self._bounds.idle), self)
            longest.refuse(503, "too many connections are open: try again in a while")
        self._follow()

    def data_received(self, data: bytes) -> None:
        """Take some of a request."""
        self._received += len(data)
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._bounds.idle.pop(self, None)
        for timer in (self._receiving, self._sending):
            if timer:
                timer.cancel()

    def pause_writing(self) -> None:
        """Wait for the peer to take what was sent."""
        super().pause_writing()
        self._sending = self.loop.call_later(self._bounds.send_seconds, self._not_taken)

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        if self._sending:
            self._sending.cancel()

    def refuse(self, status: int, detail: str) -> None:
        """Close the connection, and say why if no answer has begun and the peer may expect one."""
        expected = self._received or self._awaited is Awaited.NOTHING
        if expected and not (self._awaited in (Awaited.BODY, Awaited.REST) and self.cycle.response_started):
            self.transport.write(_answer(status, detail))
        self._log(detail)
        self._bounds.idle.pop(self, None)
        self.transport.close()

    def _follow(self) -> None:
        """Start the time again if the peer now has to send something else."""
        awaited = self._now_awaited()
        if awaited is self._awaited:
            return
        if awaited in (Awaited.NOTHING, Awaited.HEAD):
            self._received = 0
        self._awaited, self._since = awaited, self.loop.time()
        self._bounds.idle.pop(self, None)
        if awaited in (Awaited.HEAD, Awaited.REST):
            self._bounds.idle[self] = None
        if self._receiving:
            self._receiving.cancel()
        if awaited is not Awaited.NOTHING:
            self._receiving = self.loop.call_at(self._due(), self._look)

    def _now_awaited(self) -> Awaited:
        state = self.conn.their_state
        if self.transport.is_closing() or state not in (h11.IDLE, h11.SEND_BODY):
            return Awaited.NOTHING
        if state is h11.IDLE:
            return Awaited.HEAD
        return Awaited.REST if self.cycle.response_complete else Awaited.BODY

    def _due(self) -> float:
        """Return when the awaited part of the request must have arrived, by the loop's clock."""
        of_body = self._received / SLOWEST_BYTES_PER_SECOND if self._awaited is Awaited.BODY else 0.0
        return self._since + self._bounds.receive_seconds + of_body

    def _look(self) -> None:
        # While reading is paused it is the application that does not take the body.
        due = self.loop.time() + self._bounds.receive_seconds if self.flow.read_paused else self._due()
        if due > self.loop.time():
            self._receiving = self.loop.call_at(due, self._look)
            return
        self.refuse(408, "the request did not arrive in time")

    def _not_taken(self) -> None:
        self._log("the answer was not taken in time")
        # Closing would wait for the peer.
        self.transport.abort()

    def _log(self, reason: str) -> None:
        client = self.client[0] if self.client else ""
        structlog.get_logger().warning("connection_closed", client=client, reason=reason)


def make_bounds(settings: Settings) -> Bounds:
    """Return the bounds of a server; raises the process's limit of open files as far as it needs and may."""
    wanted = settings.api_max_connections * DESCRIPTORS_OF_ONE + OWN_DESCRIPTORS
    soft, hard = (float("inf") if limit == resource.RLIM_INFINITY else limit for limit in _open_files())
    if soft < wanted and soft < hard:
        # A sandbox may refuse it; then fewer connections are accepted.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(min(wanted, hard)), _open_files()[1]))
            soft = min(wanted, hard)
    most = int(max(1, min(wanted, soft) - OWN_DESCRIPTORS) / DESCRIPTORS_OF_ONE)
    if most < settings.api_max_connections:
        structlog.get_logger().warning("few_connections", most=most, open_files=soft)
    return Bounds(max(1, most), settings.api_receive_seconds, settings.api_send_seconds)


def _answer(status: int, detail: str) -> bytes:
    body = msgspec.json.encode({"detail": detail})
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *([f"retry-after: {RETRY_SECONDS}"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _open_files() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
