"""What one run over some items needs besides the items, and what it costs. Knows no Celery and no Redis."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from contract.errors import InterruptedChunkError, ItemError
from contract.lines import ErrorLine, Failure, Line
from contract.records import Item
from worker.images.decode import DecodedImage, File
from worker.images.files import Decoding

PREFETCH_BATCHES = 2
"""Batches' worth of images decoded ahead of the model: one that fills while one waits."""

ModelIdentity = dict[str, str]
"""What the summary says of a model: architecture, checksum, source, versions, device, runtime."""


@dataclass
class Timings:
    """Seconds per stage, summed over threads; and how full the batches of the last model were.

    `begun_at` is when the run was made, in Unix seconds: its models are loaded by then.
    `fitting_batch_size` is what the device was given at once instead, where its memory was short.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    pieces: int = 0
    fitting_batch_size: int | None = None
    begun_at: float = field(default_factory=time.time, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage; from any thread."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(frozen=True)
class ChunkRun:
    """One run over the items of a chunk, or over some uploads.

    Args:
        fetch: item -> its file; raises ItemError
        decode: item, its file -> image; raises ItemError
        attempt: which run of the chunk this is, counted from 1
        pool: threads for decode and preparation; and for fetch, where files are near
        window: items prepared ahead of the model at most; bounds the chunk's memory
        stop: set when the worker must hand the chunk back
        on_progress: called with the number of items that are read
        on_alive: called for each item and batch, by the pool too: the watchdog's sign that the chunk moves
        fetchers: threads for fetch alone, where the network takes the time
        fetch_window: files fetched ahead of being decoded at most, if there are such threads
        timings: where every stage adds its seconds
    """

    fetch: Callable[[Item], File]
    decode: Callable[[Item, File], DecodedImage]
    attempt: int
    pool: Executor
    window: int
    stop: threading.Event
    on_progress: Callable[[int], None] = lambda _: None
    on_alive: Callable[[], None] = lambda: None
    fetchers: Executor | None = None
    fetch_window: int = 1
    timings: Timings = field(default_factory=Timings)

    def check_alive(self) -> None:
        """Tell the watchdog that the chunk moves; raises InterruptedChunkError if the worker is stopping."""
        self.on_alive()
        if self.stop.is_set():
            raise InterruptedChunkError("the worker is stopping; the chunk goes back to the queue")

    def fetched(self, item: Item) -> File | ItemError:
        """Return an item's file, or the error that it ends as."""
        started = time.perf_counter()
        try:
            return self.fetch(item)
        except ItemError as error:
            return error
        finally:
            self.timings.add("fetch", time.perf_counter() - started)

    def decoded(self, item: Item, file: File | ItemError) -> DecodedImage | ItemError:
        """Return the image in an item's file, or the error that it ends as."""
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
        """Return the line of an item that ends as an error."""
        return ErrorLine(item.id, item.uri, Failure(error.code, error.message), self.attempt)


class Pipeline(Protocol):
    """The device half of a kind, ready to read with a job's parameters."""

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """The models in the order in which they read; batches are counted for the last one."""

    @property
    def batch_size(self) -> int:
        """Samples in a batch of the last model."""

    @property
    def prefetch(self) -> int:
        """Items decoded ahead of the first model."""

    @property
    def decoding(self) -> Decoding:
        """How an item's file becomes its image."""

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per item, in order.

        Raises:
            InterruptedChunkError: `run.stop` was set
            StorageUnavailableError: storage is away; the chunk is to be tried again
            UnfitWorkerError: the device has failed; another process is to read the chunk
        """


def name_of(item: Item) -> str:
    """Return what the Trace OCR API calls an item's name: its file's, without folders."""
    return item.uri.rpartition("/")[2]
