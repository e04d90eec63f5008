"""Uploads: from the queue to their answers. The same stages as a chunk, with Redis in place of storage."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pydantic
import structlog

from contract.broker.uploads import Answer, Upload
from contract.errors import (
    ErrorCode,
    InterruptedChunkError,
    ItemError,
    ModelUnavailableError,
    UnfitWorkerError,
)
from contract.kinds import KINDS
from contract.kinds.base import Kind, Parameters
from contract.lines import ErrorLine, Line
from contract.records import Item, Nudge
from contract.scratch import scratch_folder
from worker.images.decode import File
from worker.jobs.context import WorkerContext
from worker.jobs.senders import LOOK_SECONDS, AbandonedUploadsError, Senders
from worker.jobs.upload_pages import Page, UploadPages, portions
from worker.kinds import make_pipeline
from worker.monitoring.metrics import UPLOAD
from worker.pipeline.run import ChunkRun, Pipeline

MAX_ROUNDS = 16
"""Maximum batches of uploads read for one nudge. Further uploads have their own nudges; without a limit, jobs
would wait as long as uploads keep coming."""


def read_uploads(nudge: Nudge, context: WorkerContext) -> dict[str, object]:
    """Read the waiting uploads of the nudge's kind, batch by batch; return what Flower shows of it.

    A nudge whose worker died leaves its uploads behind, so each one reads all waiting uploads, not only its
    own, unless it is the chunks' turn.

    Raises:
        InterruptedChunkError: the worker is stopping; the uploads it has taken wait again
        UnfitWorkerError: this process cannot read any upload; the uploads it has taken wait again
    """
    counts: Counter[str] = Counter(ok=0, failed=0)
    for number in range(MAX_ROUNDS):
        if number and context.share.uploads_must_end():
            break
        uploads = context.uploads.take(nudge.kind, nudge.batch_size)
        if not uploads:
            break
        for sender, answers in _by_sender(uploads, _answers(uploads, nudge, context)).items():
            context.uploads.answer(sender, answers)
            for answer in answers:
                counts["failed" if answer.error else "ok"] += 1
    return dict(counts)


def _answers(uploads: list[Upload], nudge: Nudge, context: WorkerContext) -> list[Answer]:
    """Return one answer per upload; on an error every sender still gets an answer."""
    answers: dict[str, Answer] = {}
    senders = Senders(context.uploads, [upload.ticket for upload in uploads])
    for parameters, alike in _alike(uploads, KINDS[nudge.kind], answers):
        try:
            read = _Reading(alike, KINDS[nudge.kind], parameters, senders, context).answers()
        except (InterruptedChunkError, UnfitWorkerError):
            context.uploads.send(nudge.kind, uploads, again=True)
            raise
        except AbandonedUploadsError as error:
            structlog.get_logger().info("uploads_abandoned", worker=context.name, uploads=len(alike))
            read = _failed(alike, str(error))
        except ModelUnavailableError as error:
            read = _failed(alike, str(error))
        except Exception:
            structlog.get_logger().exception("uploads_failed", worker=context.name, uploads=len(alike))
            read = _failed(alike, "reading the file failed: the worker's log says why")
        answers.update((answer.id, answer) for answer in read)
    return [answers[upload.ticket.id] for upload in uploads]


def _alike(
    uploads: list[Upload], kind: Kind, answers: dict[str, Answer]
) -> Iterator[tuple[Parameters, list[Upload]]]:
    """Yield groups of uploads with the same parameters; the oldest upload's tuning applies to its group.

    An upload whose parameters are not those of its kind gets its answer here.
    """
    alike: dict[bytes, tuple[Parameters, list[Upload]]] = {}
    for upload in uploads:
        try:
            parameters = kind.parameters.model_validate(upload.ticket.parameters)
        except pydantic.ValidationError as error:
            structlog.get_logger().error("upload_dropped", upload=upload.ticket.id, error=str(error))
            answers[upload.ticket.id] = _failed([upload], "the upload's parameters are not valid")[0]
            continue
        key = msgspec.json.encode(kind.identity(parameters), order="sorted")
        alike.setdefault(key, (parameters, []))[1].append(upload)
    yield from alike.values()


class _Reading:
    """One reading of uploads with the same parameters."""

    def __init__(
        self,
        uploads: list[Upload],
        kind: Kind,
        parameters: Parameters,
        senders: Senders,
        context: WorkerContext,
    ) -> None:
        self._uploads, self._senders, self._context = uploads, senders, context
        self._pipeline: Pipeline = make_pipeline(kind.name, parameters, context.models)
        self._max_pixels = context.settings.max_pixels
        self._documents: dict[int, Path] = {}

    def answers(self) -> list[Answer]:
        """Return one answer per upload; raises AbandonedUploadsError if no sender waits any more."""
        refusals: dict[int, Answer] = {}
        pages: list[Page] = []
        with scratch_folder() as folder:
            found = UploadPages(
                self._context.decoders, self._pipeline.decoding.resolution, self._max_pixels, folder
            )
            self._documents = found.documents
            for index, upload in enumerate(self._uploads):
                try:
                    pages += found.of(index, upload)
                except ItemError as error:
                    refusals[index] = _refusal(upload, error.message)
            lines = [line for portion in portions(pages, self._max_pixels) for line in self._lines(portion)]
        owned: dict[int, list[Line]] = {index: [] for index in range(len(self._uploads))}
        for page, line in zip(pages, lines, strict=True):
            owned[int(page.item.id)].append(line)
        return [refusals.get(index) or _answer(self._uploads[index], read) for index, read in owned.items()]

    def _lines(self, pages: list[Page]) -> list[Line]:
        context, pipeline = self._context, self._pipeline
        large = any(page.large for page in pages)
        with context.watchdog.watching() as moved:

            def alive() -> None:
                moved()
                self._senders.check()

            run = context.make_run(pipeline, self._fetch, alive)
            with self._alone(run) if large else contextlib.nullcontext():
                lines = list(pipeline.run([page.item for page in pages], run))
        context.metrics.read(UPLOAD, run.timings, pipeline.batch_size)
        failed = sum(isinstance(line, ErrorLine) for line in lines)
        context.metrics.items(UPLOAD, len(lines) - failed, failed)
        context.pace.count(len(lines))
        return lines

    @contextlib.contextmanager
    def _alone(self, run: ChunkRun) -> Iterator[None]:
        """Keep other large images out for a block; raises as `run.check_alive` while it waits."""
        lock = self._context.large_images
        while not lock.acquire(timeout=LOOK_SECONDS):
            run.check_alive()
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, item: Item) -> File:
        """Return a page's file; raises ItemError if its sender no longer waits, so that it is not decoded."""
        index = int(item.id)
        if not self._senders.wait_for(self._uploads[index].ticket):
            raise ItemError(ErrorCode.TIMED_OUT, "its sender no longer waits")
        return self._documents.get(index) or self._uploads[index].data


def _answer(upload: Upload, lines: list[Line]) -> Answer:
    read = []
    for line in lines:
        # One region that its image does not have costs its own element; the image has the others.
        bad_region = isinstance(line, ErrorLine) and line.error.code is ErrorCode.BAD_REGION
        if isinstance(line, ErrorLine) and not bad_region:
            return _refusal(upload, line.error.message)
        read.append(msgspec.Raw(msgspec.json.encode(line)))
    return Answer(upload.ticket.id, tuple(read))


def _refusal(upload: Upload, message: str) -> Answer:
    return Answer(upload.ticket.id, error=f"{upload.ticket.name}: {message}", fault="upload")


def _failed(uploads: list[Upload], reason: str) -> list[Answer]:
    return [Answer(upload.ticket.id, error=reason, fault="server") for upload in uploads]


def _by_sender(uploads: list[Upload], answers: list[Answer]) -> dict[str, list[Answer]]:
    grouped: dict[str, list[Answer]] = {}
    for upload, answer in zip(uploads, answers, strict=True):
        grouped.setdefault(upload.ticket.sender, []).append(answer)
    return grouped
