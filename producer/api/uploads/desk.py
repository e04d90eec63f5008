"""The upload desk: sends files of HTTP requests to the workers, and answers to the waiting requests."""

import asyncio
import threading
import time
import uuid
from dataclasses import dataclass, field

import redis
import structlog
from celery import Celery

from contract.broker.app import send_nudge
from contract.broker.uploads import Answer, MediaType, Ticket, Upload, Uploads
from contract.errors import TraceOcrError
from contract.kinds.base import Kind, Parameters
from contract.records import MAX_TEXT, Nudge
from contract.settings import Settings

POLL_SECONDS = 1.0
"""Longest wait for answers before the thread checks its stop signal again."""

PAUSE_SECONDS = 1.0
"""Pause in seconds after Redis fails."""


class BusyError(TraceOcrError):
    """Too many uploads wait for the workers."""


class TooSlowError(TraceOcrError):
    """No worker answered in time."""


@dataclass(frozen=True)
class File:
    """One file of a request."""

    name: str
    media_type: MediaType
    data: bytes


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
        self._held_bytes = 0
        self._stop = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to fetch answers for the requests of an event loop."""
        threading.Thread(target=self._fetch, args=(loop,), name="answers", daemon=True).start()

    def close(self) -> None:
        """Stop fetching answers."""
        self._stop.set()

    async def read(self, files: list[File], kind: Kind, parameters: Parameters) -> list[Answer]:
        """Return the answers to the files, in order.

        Raises:
            BusyError: too many uploads wait already
            TooSlowError: no worker answered within `api_request_seconds`
            BrokerError, redis.RedisError: Redis cannot be reached
        """
        size = sum(len(file.data) for file in files)
        if self._held_bytes and self._held_bytes + size > self.settings.api_queue_bytes:
            raise BusyError("too many bytes wait for workers: try again in a while")
        self._held_bytes += size
        uploads = self._tickets(files, parameters.model_dump(mode="json"))
        nudge = Nudge(kind.name, getattr(parameters, kind.batch))
        loop = asyncio.get_running_loop()
        waiting = [self._pending.setdefault(one.ticket.id, loop.create_future()) for one in uploads]
        try:
            await asyncio.to_thread(self._send, uploads, nudge)
            async with asyncio.timeout(self.settings.api_request_seconds):
                return list(await asyncio.gather(*waiting))
        except TimeoutError:
            raise TooSlowError(
                f"no worker answered within {self.settings.api_request_seconds:g} s: try again later, or "
                "submit the files as a job"
            ) from None
        finally:
            self._held_bytes -= size
            for one in uploads:
                self._pending.pop(one.ticket.id, None)

    def _tickets(self, files: list[File], parameters: dict[str, object]) -> list[Upload]:
        deadline, pages = time.time() + self.settings.api_request_seconds, self.settings.api_max_pages
        return [
            Upload(
                Ticket(
                    uuid.uuid4().hex,
                    self.sender,
                    file.name[:MAX_TEXT],
                    file.media_type,
                    deadline,
                    pages,
                    parameters,
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

    def _fetch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                answers = self.uploads.next_answers(self.sender, POLL_SECONDS)
            except redis.RedisError as error:
                structlog.get_logger().warning("answers_not_fetched", error=str(error))
                self._stop.wait(PAUSE_SECONDS)
                continue
            if answers and not loop.is_closed():
                loop.call_soon_threadsafe(self._hand_out, answers)

    def _hand_out(self, answers: list[Answer]) -> None:
        for answer in answers:
            waiting = self._pending.get(answer.id)
            if waiting and not waiting.done():
                waiting.set_result(answer)
