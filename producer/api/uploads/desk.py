"""The upload desk: sends files of HTTP requests to the workers, and answers to the waiting requests."""

import asyncio
import contextlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog
from celery import Celery

from contract.broker.app import send_nudge
from contract.broker.uploads import Answer, MediaType, Ticket, Upload, Uploads
from contract.counting import counted
from contract.errors import TraceOcrError
from contract.kinds.base import Kind, Parameters
from contract.records import MAX_TEXT, Nudge
from contract.region import Region
from contract.settings import Settings

POLL_SECONDS = 1.0
"""Longest wait for answers before the thread checks its stop signal again."""

PAUSE_SECONDS = 1.0
"""Pause in seconds after Redis fails."""


class BusyError(TraceOcrError):
    """Too many uploads wait for the workers."""


class TooSlowError(TraceOcrError):
    """No worker answered in time."""


class SenderGoneError(TraceOcrError):
    """The sender closed its connection; nobody gets the answer."""


@dataclass(frozen=True)
class File:
    """One file of a request; `regions` are the parts that are read, None for all of it."""

    name: str
    media_type: MediaType
    data: bytes
    regions: tuple[Region, ...] | None = None

    @property
    def parts(self) -> int:
        """How much it counts while it waits: as much as one file for each region."""
        return max(1, len(self.regions or ()))


@dataclass
class UploadDesk:
    """Sends uploads and returns their answers; one per process, with a thread that fetches answers.

    Args:
        uploads: the queue of uploads
        app: publishes nudges
    """

    settings: Settings
    uploads: Uploads
    app: Celery
    sender: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self._pending: dict[str, asyncio.Future[Answer]] = {}
        self._held = Counter[str]()
        self._held_bytes = Counter[str]()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to fetch answers for the requests of an event loop."""
        self._thread = threading.Thread(target=self._fetch, args=(loop,), name="answers", daemon=True)
        self._thread.start()

    def fetches_answers(self) -> bool:
        """Return whether answers are being fetched: without them, every request with files times out."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stop fetching answers."""
        self._stop.set()

    async def read(
        self,
        files: list[File],
        kind: Kind,
        parameters: Parameters,
        caller: str,
        gone: Callable[[], Coroutine[Any, Any, None]],
    ) -> list[Answer]:
        """Return the answers to the files, in order. Files whose answer nobody gets are withdrawn.

        Args:
            caller: name of the API key; empty if no key is required
            gone: called once; returns when the sender has closed its connection

        Raises:
            BusyError: too many uploads wait already, of all senders or of this one
            TooSlowError: no worker answered within `api_request_seconds`
            SenderGoneError: the sender is gone
            BrokerError, redis.RedisError: Redis cannot be reached
        """
        with self._admitted(caller, sum(file.parts for file in files), sum(len(file.data) for file in files)):
            uploads = self._tickets(files, parameters.model_dump(mode="json"))
            nudge = Nudge(kind.name, getattr(parameters, kind.batch))
            loop = asyncio.get_running_loop()
            waiting = {one.ticket.id: loop.create_future() for one in uploads}
            self._pending.update(waiting)
            try:
                await asyncio.to_thread(self._send, uploads, nudge)
                return await self._answers(list(waiting.values()), gone)
            finally:
                for one in waiting:
                    self._pending.pop(one, None)
                unanswered = [one for one in uploads if not _has_answer(waiting[one.ticket.id])]
                if unanswered:
                    # Not awaited: this request may be cancelled already.
                    loop.run_in_executor(None, self._withdraw, kind.name, unanswered)

    async def _answers(
        self, waiting: list["asyncio.Future[Answer]"], gone: Callable[[], Coroutine[Any, Any, None]]
    ) -> list[Answer]:
        answered, left = asyncio.create_task(_all(waiting)), asyncio.create_task(gone())
        try:
            done, _ = await asyncio.wait(
                {answered, left},
                timeout=self.settings.api_request_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            left.cancel()
            answered.cancel()
        if answered in done:
            return answered.result()
        if left in done:
            raise SenderGoneError("the sender closed the connection before its answer")
        raise TooSlowError(
            f"no worker answered within {self.settings.api_request_seconds:g} s: try again later, or "
            "submit the files as a job"
        )

    @contextlib.contextmanager
    def _admitted(self, caller: str, parts: int, size: int) -> Iterator[None]:
        """Count a request's parts and bytes for a block; raises BusyError if there is no room for them."""
        settings = self.settings
        held = self._held_bytes.total()
        if held and held + size > settings.api_queue_bytes:
            raise BusyError("too many bytes wait for workers: try again in a while")
        # A key that waits for nothing may send one request of any size within the limits of a request.
        if caller and self._held[caller]:
            share = settings.api_key_share
            too_many = self._held[caller] + parts > share * settings.api_queue_limit
            if too_many or self._held_bytes[caller] + size > share * settings.api_queue_bytes:
                held_parts = counted(self._held[caller], "file or region", "files or regions")
                raise BusyError(
                    f"the key {caller} has {held_parts} waiting for workers: wait for the answers before "
                    "sending more"
                )
        self._held[caller] += parts
        self._held_bytes[caller] += size
        try:
            yield
        finally:
            self._held[caller] -= parts
            self._held_bytes[caller] -= size

    def _tickets(self, files: list[File], parameters: dict[str, object]) -> list[Upload]:
        settings = self.settings
        deadline = time.time() + settings.api_request_seconds
        return [
            Upload(
                Ticket(
                    uuid.uuid4().hex,
                    self.sender,
                    file.name[:MAX_TEXT],
                    file.media_type,
                    deadline,
                    settings.api_max_pages,
                    parameters,
                    settings.api_max_pixels,
                    file.regions,
                ),
                file.data,
            )
            for file in files
        ]

    def _send(self, uploads: list[Upload], nudge: Nudge) -> None:
        if self.uploads.waiting() + len(uploads) > self.settings.api_queue_limit:
            raise BusyError("too many files wait for workers: try again in a while")
        self.uploads.send(nudge.kind, uploads)
        # One nudge per batch, so that several workers share the uploads.
        for _ in range(0, len(uploads), nudge.batch_size):
            send_nudge(self.app, self.settings.namespace, nudge)

    def _withdraw(self, kind: str, uploads: list[Upload]) -> None:
        try:
            self.uploads.withdraw(kind, [upload.ticket for upload in uploads])
        except redis.RedisError as error:
            # They expire with their deadline.
            structlog.get_logger().warning("uploads_not_withdrawn", uploads=len(uploads), error=str(error))

    def _fetch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                answers = self.uploads.next_answers(self.sender, POLL_SECONDS)
                if answers and not loop.is_closed():
                    loop.call_soon_threadsafe(self._hand_out, answers)
            except redis.RedisError as error:
                structlog.get_logger().warning("answers_not_fetched", error=str(error))
                self._stop.wait(PAUSE_SECONDS)
            # Any exception: without this thread every request with files would time out.
            except Exception:
                structlog.get_logger().exception("answers_not_fetched")
                self._stop.wait(PAUSE_SECONDS)

    def _hand_out(self, answers: list[Answer]) -> None:
        for answer in answers:
            waiting = self._pending.get(answer.id)
            if waiting and not waiting.done():
                waiting.set_result(answer)


async def _all(waiting: "list[asyncio.Future[Answer]]") -> list[Answer]:
    return [await one for one in waiting]


def _has_answer(future: "asyncio.Future[Answer]") -> bool:
    return future.done() and not future.cancelled()
