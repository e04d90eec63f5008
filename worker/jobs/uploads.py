"""Uploads: from the queue to their answers. The same stages as a chunk, with Redis in place of storage."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
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
from worker.images.decode import File
from worker.jobs.context import WorkerContext
from worker.kinds import make_pipeline
from worker.monitoring.metrics import UPLOAD
from worker.pipeline.run import Pipeline

MAX_ROUNDS = 16
"""Maximum batches of uploads read for one nudge. Further uploads have their own nudges; without a limit, jobs
would wait as long as uploads keep coming."""


def read_uploads(nudge: Nudge, context: WorkerContext) -> dict[str, object]:
    """Read the waiting uploads of the nudge's kind, batch by batch; return what Flower shows of it.

    A nudge whose worker died leaves its uploads behind, so each one reads all waiting uploads, not only its
    own.

    Raises:
        InterruptedChunkError: the worker is stopping; the uploads it has taken wait again
        UnfitWorkerError: this process cannot read any upload; the uploads it has taken wait again
    """
    counts: Counter[str] = Counter(ok=0, failed=0)
    for _ in range(MAX_ROUNDS):
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
    try:
        answers: dict[str, Answer] = {}
        kind = KINDS[nudge.kind]
        for parameters, alike in _alike(uploads, kind):
            answers.update((answer.id, answer) for answer in _read(alike, kind, parameters, context))
        return [answers[upload.ticket.id] for upload in uploads]
    except (InterruptedChunkError, UnfitWorkerError):
        context.uploads.send(nudge.kind, uploads)
        raise
    except ModelUnavailableError as error:
        return [Answer(upload.ticket.id, error=str(error), fault="server") for upload in uploads]
    except Exception:
        structlog.get_logger().exception("uploads_failed", worker=context.name, uploads=len(uploads))
        reason = "reading the file failed: the worker's log says why"
        return [Answer(upload.ticket.id, error=reason, fault="server") for upload in uploads]


def _alike(uploads: list[Upload], kind: Kind) -> Iterator[tuple[Parameters, list[Upload]]]:
    """Yield groups of uploads with the same parameters; the oldest upload's tuning applies to its group."""
    alike: dict[bytes, tuple[Parameters, list[Upload]]] = {}
    for upload in uploads:
        parameters = kind.parameters.model_validate(upload.ticket.parameters)
        key = msgspec.json.encode(kind.identity(parameters), order="sorted")
        alike.setdefault(key, (parameters, []))[1].append(upload)
    yield from alike.values()


def _read(uploads: list[Upload], kind: Kind, parameters: Parameters, context: WorkerContext) -> list[Answer]:
    pipeline = make_pipeline(kind.name, parameters, context.models)
    refusals: dict[int, Answer] = {}
    items: list[Item] = []
    with tempfile.TemporaryDirectory(prefix="trace-ocr-upload-") as folder:
        documents: dict[int, Path] = {}
        for index, upload in enumerate(uploads):
            if upload.ticket.media_type == "application/pdf":
                documents[index] = Path(folder, f"{index}.pdf")
                documents[index].write_bytes(upload.data)
            try:
                items += _pages(index, upload, documents.get(index), context)
            except ItemError as error:
                refusals[index] = _refusal(upload, error.message)
        lines = _lines(
            items, lambda item: documents.get(int(item.id)) or uploads[int(item.id)].data, pipeline, context
        )
    owned: dict[int, list[Line]] = {index: [] for index in range(len(uploads))}
    for item, line in zip(items, lines, strict=True):
        owned[int(item.id)].append(line)
    return [refusals.get(index) or _answer(uploads[index], read) for index, read in owned.items()]


def _pages(index: int, upload: Upload, document: Path | None, context: WorkerContext) -> Iterator[Item]:
    """Yield the upload's pages as items; the id of each is the upload's index. An image is one page."""
    ticket = upload.ticket
    if document is None:
        yield Item(str(index), ticket.name)
        return
    with context.decoders.lent() as decoder:
        count = decoder.page_count(document)
    if count > ticket.max_pages:
        raise ItemError(
            ErrorCode.TOO_MANY_PIXELS,
            f"the PDF has {count:,} pages, the limit is {ticket.max_pages:,}: "
            "split it, raise TRACE_OCR_API_MAX_PAGES, or submit it as a job",
        )
    yield from (Item(str(index), ticket.name, page=page) for page in range(1, count + 1))


def _lines(
    items: list[Item], fetch: Callable[[Item], File], pipeline: Pipeline, context: WorkerContext
) -> list[Line]:
    with context.watchdog.watching() as alive:
        run = context.make_run(pipeline, fetch, alive)
        lines = list(pipeline.run(items, run))
    context.metrics.read(UPLOAD, run.timings, pipeline.batch_size)
    failed = sum(isinstance(line, ErrorLine) for line in lines)
    context.metrics.items(UPLOAD, len(lines) - failed, failed)
    return lines


def _answer(upload: Upload, lines: list[Line]) -> Answer:
    read = []
    for line in lines:
        if isinstance(line, ErrorLine):
            return _refusal(upload, line.error.message)
        read.append(msgspec.Raw(msgspec.json.encode(line)))
    return Answer(upload.ticket.id, tuple(read))


def _refusal(upload: Upload, message: str) -> Answer:
    return Answer(upload.ticket.id, error=f"{upload.ticket.name}: {message}", fault="upload")


def _by_sender(uploads: list[Upload], answers: list[Answer]) -> dict[str, list[Answer]]:
    grouped: dict[str, list[Answer]] = {}
    for upload, answer in zip(uploads, answers, strict=True):
        grouped.setdefault(upload.ticket.sender, []).append(answer)
    return grouped
