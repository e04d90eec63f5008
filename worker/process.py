"""Stages 4 to 6 of one chunk, wired: items in, lines out. Knows no Celery and no Redis."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Protocol, TypeVar

from contract.errors import ErrorCode, InterruptedChunkError, ItemError
from contract.records import ErrorLine, Failure, Item, Line, RecognitionLine
from worker.ahead import ahead
from worker.batching import Batch, Prediction, PreparedCrop, batches
from worker.decode import DecodedImage, Pixels

T = TypeVar("T")

GROUP = 32
"""Items that one pool task prepares: handing over a task costs some 30 us, a third of preparing a crop."""

GROUPS_AHEAD = 8
"""Tasks that the window must leave room for before items are grouped: a thread is not to wait for another."""

FETCHED_BYTES = 4 << 20
"""Bytes of files that a task fetches before it decodes them: a thousand crops', or one large image. Between
two crops each system call costs the decoder its caches: fetched together they take a third less in all."""

Fetched = tuple[Item, bytes | ItemError, float]
"""An item, its file's bytes or why there are none, and the seconds that took."""


class Reader(Protocol):
    """What the model stage offers; `worker.models.Recogniser` is the real one."""

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
        fetch: item -> its file's bytes; raises ItemError
        decode: item, its bytes -> image; raises ItemError
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

    fetch: Callable[[Item], bytes]
    decode: Callable[[Item, bytes], DecodedImage]
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
class _Prepared:
    """One item before the model: its crop, or the error that it ends as; and what that took, in seconds."""

    outcome: PreparedCrop | ItemError
    note: str | None
    seconds: dict[str, float]


def process_chunk(items: Sequence[Item], run: ChunkRun) -> tuple[list[Line], Timings]:
    """Return one line per item, in order, and where the time went.

    Raises:
        InterruptedChunkError: `run.stop` was set; nothing was written anywhere
        StorageUnavailableError: storage is away; the chunk is to be tried again
        UnfitWorkerError: the device has failed; another process is to read the chunk
    """
    timings = Timings()
    prepared: list[_Prepared] = []
    predictions: list[list[Prediction | ItemError]] = [[] for _ in items]
    for batch in batches(_pieces(items, run, prepared, timings), run.batch_size):
        for owner, prediction in zip(batch.owners, _read(batch, run, timings), strict=True):
            predictions[owner].append(prediction)
        run.on_progress(batch.owners[-1] + 1)
    timings.fitting_batch_size = run.reader.fitting_batch_size
    started = time.perf_counter()
    lines = [
        _line(item, ready, of_item, run)
        for item, ready, of_item in zip(items, prepared, predictions, strict=True)
    ]
    timings.add("postprocess", time.perf_counter() - started)
    return lines, timings


def _pieces(
    items: Sequence[Item], run: ChunkRun, prepared: list[_Prepared], timings: Timings
) -> Iterator[tuple[int, Pixels]]:
    """Yield (index, piece) of every readable item, noting in `prepared` what each item came to."""
    for index, one in enumerate(_prepared(items, run)):
        _check_alive(run)
        for stage, seconds in one.seconds.items():
            timings.add(stage, seconds)
        if isinstance(one.outcome, PreparedCrop):
            for piece in one.outcome.pieces:
                yield index, piece
        # The pieces now live in the batch; kept here they would hold the whole chunk's pixels.
        prepared.append(_without_pixels(one))


def _prepared(items: Sequence[Item], run: ChunkRun) -> Iterator[_Prepared]:
    """Yield what each item comes to, in order, from the pool's threads."""
    # In careful mode an item may take a minute, and each is a sign of life of its own.
    size = max(1, min(GROUP, run.window // GROUPS_AHEAD)) if run.attempt == 1 else 1
    if run.fetchers:
        fetched = ahead(run.fetchers, lambda item: _fetch(item, run), items, run.fetch_window)
        groups: Iterator[list[Item] | list[Fetched]] = _groups(fetched, size)
    else:
        groups = _groups(items, size)
    ready = ahead(run.pool, lambda group: _prepare_group(group, run), groups, run.window // size)
    return chain.from_iterable(ready)


def _groups(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    return iter(lambda: list(islice(iterator, size)), [])


def _fetch(item: Item, run: ChunkRun) -> Fetched:
    started = time.perf_counter()
    try:
        data: bytes | ItemError = run.fetch(item)
    except ItemError as error:
        data = error
    return item, data, time.perf_counter() - started


def _prepare_group(group: Sequence[Item | Fetched], run: ChunkRun) -> list[_Prepared]:
    prepared: list[_Prepared] = []
    fetched: list[Fetched] = []
    held = 0
    for one in group:
        fetched.append(_fetch(one, run) if isinstance(one, Item) else one)
        data = fetched[-1][1]
        held += 0 if isinstance(data, ItemError) else len(data)
        if held >= FETCHED_BYTES:
            prepared += [_prepare(file, run) for file in fetched]
            fetched, held = [], 0
    return prepared + [_prepare(file, run) for file in fetched]


def _prepare(file: Fetched, run: ChunkRun) -> _Prepared:
    # Here too: a group of large images may take minutes before any of it is handed on.
    run.on_alive()
    item, data, fetching = file
    if isinstance(data, ItemError):
        return _Prepared(data, None, {"fetch": fetching})
    started = time.perf_counter()
    try:
        image = run.decode(item, data)
    except ItemError as error:
        return _Prepared(error, None, {"fetch": fetching, "decode": time.perf_counter() - started})
    decoded = time.perf_counter()
    crop = run.reader.prepare(image.pixels)
    preparing = time.perf_counter() - decoded
    seconds = {"fetch": fetching, "decode": decoded - started, "preprocess": preparing}
    return _Prepared(crop, image.note, seconds)


def _read(batch: Batch, run: ChunkRun, timings: Timings) -> list[Prediction | ItemError]:
    """Return what the model makes of each piece; a piece that fails alone costs only its own item."""
    _check_alive(run)
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


def _check_alive(run: ChunkRun) -> None:
    run.on_alive()
    if run.stop.is_set():
        raise InterruptedChunkError("the worker is stopping; the chunk goes back to the queue")


def _line(item: Item, ready: _Prepared, predictions: list[Prediction | ItemError], run: ChunkRun) -> Line:
    outcome = ready.outcome
    read = []
    for prediction in predictions:
        if isinstance(prediction, ItemError):
            outcome = prediction
        else:
            read.append(prediction)
    if isinstance(outcome, ItemError):
        return ErrorLine(item.id, item.uri, Failure(outcome.code, outcome.message), run.attempt)
    value, confidence = run.reader.join(outcome, read)
    return RecognitionLine(item.id, item.uri.rpartition("/")[2], value, confidence, item.label, ready.note)


def _without_pixels(one: _Prepared) -> _Prepared:
    if isinstance(one.outcome, ItemError):
        return one
    return _Prepared(PreparedCrop([], one.outcome.crop_map), one.note, one.seconds)
