"""Stages 4 to 6 of one chunk, wired: items in, lines out. Knows no Celery and no Redis.

What crops and pages have in common: pieces of all items flow into full batches, and every item gets one line.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from contract.errors import ErrorCode, InterruptedChunkError, ItemError
from contract.lines import ErrorLine, Failure, Line, ResultLine
from contract.records import Item
from worker.images.decode import DecodedImage, File, Pixels
from worker.pipeline.batching import Batch, Prediction, PreparedCrop, batches


class Readable(Protocol):
    """An item of which there is something to read: its pieces, (3, height, width) uint8 each."""

    @property
    def pieces(self) -> list[Pixels]: ...

    def without_pixels(self) -> "Readable": ...


class Reader(Protocol):
    """What the model stage offers; `worker.models.recognition.Recogniser` is the real one."""

    @property
    def fitting_batch_size(self) -> int | None: ...

    def prepare(self, pixels: Pixels) -> PreparedCrop: ...

    def read(self, batch: Pixels) -> list[Prediction]: ...

    def join(self, crop: PreparedCrop, predictions: Sequence[Prediction]) -> Prediction: ...


@dataclass
class Timings:
    """Seconds per stage, summed over threads; and how full the batches were.

    `fitting_batch_size` is what the device had to be given at once instead, where its memory was short.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    pieces: int = 0
    fitting_batch_size: int | None = None

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage; called from the chunk's own thread only."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(frozen=True)
class ChunkRun:
    """What a chunk's processing needs besides its items.

    Args:
        fetch: item -> its file; raises ItemError
        decode: item, its file -> image; raises ItemError
        reader: the model stage
        batch_size: pieces per batch
        attempt: which run of the chunk this is, counted from 1
        pool: threads for decode and preparation; and for fetch, where files are near
        window: items prepared ahead of the model at most; bounds the chunk's memory
        on_progress: called with the number of items whose pieces the model has read
        stop: set when the worker must hand the chunk back
        on_alive: called for each item and batch, by the pool too; the watchdog's sign that the chunk
            moves
        fetchers: threads for fetch alone, where it is waiting for a network that takes the time
        fetch_window: files fetched ahead of being decoded at most, if there are such threads
    """

    fetch: Callable[[Item], File]
    decode: Callable[[Item, File], DecodedImage]
    reader: Reader
    batch_size: int
    attempt: int
    pool: Executor
    window: int
    on_progress: Callable[[int], None]
    stop: threading.Event
    on_alive: Callable[[], None] = lambda: None
    fetchers: Executor | None = None
    fetch_window: int = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """One item before the model reads it, or the error that it ends as; and what that took, in seconds.

    `batch` is how many items were read with this one where the stage has the last model itself: of the first
    of them; 0 of the others, and where the model is still to read.
    """

    outcome: Readable | ItemError
    note: str | None
    seconds: dict[str, float]
    batch: int = 0

    def without_pixels(self) -> "Prepared":
        """Return the same without what the model has been given already."""
        if isinstance(self.outcome, ItemError):
            return self
        return Prepared(self.outcome.without_pixels(), self.note, self.seconds)


class Stage(Protocol):
    """What differs between crops and pages: the way to the pieces, and from their strings to a line."""

    def prepared(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Prepared]:
        """Yield what each item comes to, in order; raises as `process_chunk`."""
        ...

    def line(self, item: Item, ready: Prepared, predictions: list[Prediction], run: ChunkRun) -> ResultLine:
        """Return the line of an item of which all pieces were read."""
        ...


def process_chunk(items: Sequence[Item], run: ChunkRun, stage: Stage) -> tuple[list[Line], Timings]:
    """Return one line per item, in order, and where the time went.

    Raises:
        InterruptedChunkError: `run.stop` was set; nothing was written anywhere
        StorageUnavailableError: storage is away; the chunk is to be tried again
        UnfitWorkerError: the device has failed; another process is to read the chunk
    """
    timings = Timings()
    prepared: list[Prepared] = []
    predictions: list[list[Prediction | ItemError]] = [[] for _ in items]
    for batch in batches(_pieces(stage.prepared(items, run), run, prepared, timings), run.batch_size):
        for owner, prediction in zip(batch.owners, _read(batch, run, timings), strict=True):
            predictions[owner].append(prediction)
        run.on_progress(batch.owners[-1] + 1)
    timings.fitting_batch_size = run.reader.fitting_batch_size
    started = time.perf_counter()
    lines = [
        _line(item, ready, of_item, run, stage)
        for item, ready, of_item in zip(items, prepared, predictions, strict=True)
    ]
    timings.add("postprocess", time.perf_counter() - started)
    return lines, timings


def _pieces(
    ready: Iterator[Prepared], run: ChunkRun, prepared: list[Prepared], timings: Timings
) -> Iterator[tuple[int, Pixels]]:
    """Yield (index, piece) of every readable item, noting in `prepared` what each item came to."""
    for index, one in enumerate(ready):
        check_alive(run)
        for name, seconds in one.seconds.items():
            timings.add(name, seconds)
        if one.batch:
            timings.batches += 1
            timings.pieces += one.batch
            run.on_progress(index)
        if not isinstance(one.outcome, ItemError):
            for piece in one.outcome.pieces:
                yield index, piece
        # The pieces now live in the batch; kept here they would hold the whole chunk's pixels.
        prepared.append(one.without_pixels())


def _read(batch: Batch, run: ChunkRun, timings: Timings) -> list[Prediction | ItemError]:
    """Return what the model makes of each piece; a piece that fails alone costs only its own item."""
    check_alive(run)
    timings.batches += 1
    timings.pieces += len(batch.owners)
    started = time.perf_counter()
    try:
        return list(run.reader.read(batch.pixels))
    except RuntimeError:
        return [_read_alone(batch.pixels[i : i + 1], run) for i in range(len(batch.owners))]
    finally:
        timings.add("forward", time.perf_counter() - started)


def _read_alone(piece: Pixels, run: ChunkRun) -> Prediction | ItemError:
    try:
        return run.reader.read(piece)[0]
    except RuntimeError as error:
        return ItemError(ErrorCode.RECOGNITION_FAILED, f"the model failed on this crop alone: {error}")


def check_alive(run: ChunkRun) -> None:
    """Tell the watchdog that the chunk moves; raises InterruptedChunkError if the worker is stopping."""
    run.on_alive()
    if run.stop.is_set():
        raise InterruptedChunkError("the worker is stopping; the chunk goes back to the queue")


def _line(
    item: Item, ready: Prepared, predictions: list[Prediction | ItemError], run: ChunkRun, stage: Stage
) -> Line:
    failed = ready.outcome if isinstance(ready.outcome, ItemError) else None
    read = []
    for prediction in predictions:
        if isinstance(prediction, ItemError):
            failed = prediction
        else:
            read.append(prediction)
    if failed:
        return ErrorLine(item.id, item.uri, Failure(failed.code, failed.message), run.attempt)
    return stage.line(item, ready, read, run)
