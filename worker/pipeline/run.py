"""What one run over items needs besides the items, and its timings. Independent of Celery and Redis."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from contract.errors import InterruptedChunkError, ItemError
from contract.lines import ErrorLine, Failure, Line
from contract.records import Item
from worker.feeders.feeding import Feeding
from worker.images.decode import DecodedImage, File
from worker.images.files import Decoding

PREFETCH_BATCHES = 2
"""Batches of images decoded ahead of the model: one is filled while one waits."""

ModelIdentity = dict[str, str]
"""What the summary says about a model: architecture, checksum, source, versions, device, runtime."""


@dataclass
class Timings:
    """Seconds per stage, summed over threads, and how full the last model's batches were.

    `begun_at` is when the run was made, in Unix seconds: its models are loaded by then.
    `counts` are what a pipeline counts besides items, summed over the job's chunks in the summary.
    `fitting_batch_size` is the samples per forward after the device ran out of memory; None if it did not.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    pieces: int = 0
    fitting_batch_size: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    begun_at: float = field(default_factory=time.time, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage; thread-safe."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def count(self, name: str, number: int) -> None:
        """Add to a count; called by the thread that runs the pipeline."""
        self.counts[name] = self.counts.get(name, 0) + number


@dataclass(frozen=True)
class ChunkRun:
    """One run over the items of a chunk, or over some uploads.

    Args:
        fetch: item -> its file; raises ItemError
        decode: item, its file -> image; raises ItemError
        attempt: which run of the chunk this is, counted from 1
        pool: threads for decoding and preparation, and for fetching local files
        window: maximum items prepared ahead of the model; bounds the chunk's memory
        stop: set when the worker must hand the chunk back
        on_progress: called with the number of items read
        on_alive: called for each item and batch, also by the pool: tells the watchdog of progress
        page_window: maximum pages decoded ahead of what is cut out of them
        fetchers: threads that only fetch remote files; None for local files
        fetch_window: maximum files fetched ahead of decoding, if there are `fetchers`; small
            members of shards that are fetched together count as one
        feeding: crops come from feeders; None to decode them in the pool
        timings: each stage adds its seconds here
    """

    fetch: Callable[[Item], File]
    decode: Callable[[Item, File], DecodedImage]
    attempt: int
    pool: Executor
    window: int
    stop: threading.Event
    on_progress: Callable[[int], None] = lambda _: None
    on_alive: Callable[[], None] = lambda: None
    page_window: int = 4
    fetchers: Executor | None = None
    fetch_window: int = 1
    feeding: Feeding | None = None
    timings: Timings = field(default_factory=Timings)

    def check_alive(self) -> None:
        """Tell the watchdog of progress; raises InterruptedChunkError if the worker is stopping."""
        self.on_alive()
        self.check_stop()

    def check_stop(self) -> None:
        """Raise InterruptedChunkError if the worker is stopping."""
        if self.stop.is_set():
            raise InterruptedChunkError("the worker is stopping; the chunk goes back to the queue")

    def fetched(self, item: Item) -> File | ItemError:
        """Return an item's file, or its error."""
        started = time.perf_counter()
        try:
            return self.fetch(item)
        except ItemError as error:
            return error
        finally:
            self.timings.add("fetch", time.perf_counter() - started)

    def decoded(self, item: Item, file: File | ItemError) -> DecodedImage | ItemError:
        """Return the image in an item's file, or its error."""
        if isinstance(file, ItemError):
            return file
        started = time.perf_counter()
        try:
            return self.decode(item, file)
        except ItemError as error:
            return error
        finally:
            self.timings.add("decode", time.perf_counter() - started)

    def error_line(self, item: Item, error: ItemError) -> ErrorLine:
        """Return the error line of an item."""
        return ErrorLine(item.id, item.address, Failure(error.code, error.message), self.attempt)


class Pipeline(Protocol):
    """A kind's pipeline with a job's parameters and models."""

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """The models in the order in which they run; batches are counted for the last one."""

    @property
    def batch_size(self) -> int:
        """Samples in a batch of the last model."""

    @property
    def prefetch(self) -> int:
        """Items decoded ahead of the first model."""

    @property
    def decoding(self) -> Decoding:
        """How to decode an item's file."""

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per item, in order.

        Raises:
            InterruptedChunkError: `run.stop` was set
            StorageUnavailableError: storage cannot be reached; the chunk must be retried
            UnfitWorkerError: the device has failed; another process must read the chunk
        """


def name_of(item: Item) -> str:
    """Return an item's `name` in the Trace OCR API: its file's name without folders."""
    return item.name
