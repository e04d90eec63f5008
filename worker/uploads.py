"""Uploads from the queue to their answers: a chunk's stages, with Redis in the place of storage."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import structlog

from contract.errors import (
    ErrorCode,
    InterruptedChunkError,
    ItemError,
    ModelUnavailableError,
    UnfitWorkerError,
)
from contract.records import ErrorLine, Item, Line, Nudge
from contract.uploads import Answer, Reading, Upload
from worker.chunk import WorkerContext
from worker.decode import DecodedImage, decode_crop
from worker.models import Recogniser
from worker.process import ChunkRun, process_chunk

MAX_ROUNDS = 16
"""Batches of uploads read for one nudge. Further ones have nudges of their own; a bound keeps jobs from
waiting for as long as uploads keep coming."""


def read_uploads(nudge: Nudge, context: WorkerContext) -> dict[str, object]:
    """Read what waits for an architecture, batch by batch; return what Flower shows of it.

    A nudge whose worker died leaves its uploads behind, so each one reads what it finds, not only its own.

    Raises:
        InterruptedChunkError: the worker is stopping; the uploads in hand wait again
        UnfitWorkerError: likewise, and this process cannot read any
    """
    counts: Counter[str] = Counter(ok=0, failed=0)
    for _ in range(MAX_ROUNDS):
        uploads = context.uploads.take(nudge.recognition_model, nudge.recognition_batch_size)
        if not uploads:
            break
        for sender, answers in _by_sender(uploads, _answers(uploads, nudge, context)).items():
            context.uploads.answer(sender, answers)
            for answer in answers:
                counts["failed" if answer.error else "ok"] += 1
    return dict(counts)


def _answers(uploads: list[Upload], nudge: Nudge, context: WorkerContext) -> list[Answer]:
    """Return one answer per upload; whatever goes wrong, nobody is left waiting for theirs."""
    try:
        recogniser = context.recognisers.get(nudge.recognition_model)
        return _read(uploads, recogniser, nudge, context)
    except (InterruptedChunkError, UnfitWorkerError):
        context.uploads.send(nudge.recognition_model, uploads)
        raise
    except ModelUnavailableError as error:
        return [Answer(upload.ticket.id, error=str(error), fault="server") for upload in uploads]
    except Exception:
        structlog.get_logger().exception("uploads_failed", worker=context.name, uploads=len(uploads))
        reason = "reading the file failed: the worker's log says why"
        return [Answer(upload.ticket.id, error=reason, fault="server") for upload in uploads]


def _read(
    uploads: list[Upload], recogniser: Recogniser, nudge: Nudge, context: WorkerContext
) -> list[Answer]:
    refusals: dict[int, Answer] = {}
    items: list[Item] = []
    for index, upload in enumerate(uploads):
        try:
            items += _pages(index, upload, context)
        except ItemError as error:
            refusals[index] = _refusal(upload, error.message)
    lines = _lines(items, uploads, recogniser, nudge, context)
    owned: dict[int, list[Line]] = {index: [] for index in range(len(uploads))}
    for item, line in zip(items, lines, strict=True):
        owned[int(item.id)].append(line)
    return [refusals.get(index) or _answer(uploads[index], read) for index, read in owned.items()]


def _pages(index: int, upload: Upload, context: WorkerContext) -> Iterator[Item]:
    """Yield the upload's pages as items, the id of each saying whose it is; an image is one page."""
    ticket = upload.ticket
    if ticket.media_type != "application/pdf":
        yield Item(str(index), ticket.name)
        return
    count = context.pdf.page_count(upload.data)
    if not 1 <= count <= ticket.max_pages:
        raise ItemError(
            ErrorCode.TOO_MANY_PIXELS,
            f"the PDF has {count:,} pages, and from 1 to {ticket.max_pages:,} are read: "
            "split it, raise TRACE_OCR_API_MAX_PAGES, or submit it as a job",
        )
    yield from (Item(str(index), ticket.name, page=page) for page in range(1, count + 1))


def _lines(
    items: list[Item], uploads: list[Upload], recogniser: Recogniser, nudge: Nudge, context: WorkerContext
) -> list[Line]:
    def decode(item: Item, data: bytes) -> DecodedImage:
        if item.page:
            return context.pdf.page(data, item.page)
        return decode_crop(data, context.settings.max_pixels)

    run = ChunkRun(
        fetch=lambda item: uploads[int(item.id)].data,
        decode=decode,
        reader=recogniser,
        batch_size=nudge.recognition_batch_size,
        attempt=1,
        pool=context.executor,
        window=nudge.recognition_batch_size,
        on_progress=lambda _: None,
        stop=context.stop,
    )
    with context.watchdog.watching() as alive:
        lines, timings = process_chunk(items, replace(run, on_alive=alive))
    context.metrics.read("upload", timings, run.batch_size)
    failed = sum(isinstance(line, ErrorLine) for line in lines)
    context.metrics.items("upload", len(lines) - failed, failed)
    return lines


def _answer(upload: Upload, lines: list[Line]) -> Answer:
    readings = []
    for line in lines:
        if isinstance(line, ErrorLine):
            return _refusal(upload, line.error.message)
        readings.append(Reading(line.value, line.confidence))
    return Answer(upload.ticket.id, tuple(readings))


def _refusal(upload: Upload, message: str) -> Answer:
    return Answer(upload.ticket.id, error=f"{upload.ticket.name}: {message}", fault="upload")


def _by_sender(uploads: list[Upload], answers: list[Answer]) -> dict[str, list[Answer]]:
    grouped: dict[str, list[Answer]] = {}
    for upload, answer in zip(uploads, answers, strict=True):
        grouped.setdefault(upload.ticket.sender, []).append(answer)
    return grouped
