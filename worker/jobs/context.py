"""What one worker process holds for all its chunks and uploads, and the run that it makes for each."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from contract.broker.ledger import Ledger
from contract.broker.uploads import Uploads
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.images.decode import File
from worker.images.files import Decoder
from worker.images.isolation import DecoderPool
from worker.models.pool import Models
from worker.monitoring.metrics import WorkerMetrics
from worker.monitoring.watchdog import Watchdog
from worker.pipeline.run import ChunkRun, Pipeline

FETCHED_AHEAD = 2
"""Objects under way or waiting to be decoded, per thread that fetches: while one waits the next comes."""


@dataclass(frozen=True)
class WorkerContext:
    """What one worker process holds for all its chunks; made once at start, shared by its threads."""

    name: str
    settings: Settings
    storage: Storage
    roots: AllowedRoots
    ledger: Ledger
    models: Models
    executor: Executor
    fetchers: Executor
    stop: threading.Event
    unfit: threading.Event
    decoders: DecoderPool
    uploads: Uploads
    watchdog: Watchdog
    metrics: WorkerMetrics

    def make_run(
        self,
        pipeline: Pipeline,
        fetch: Callable[[Item], File],
        on_alive: Callable[[], None],
        *,
        attempt: int = 1,
        remote: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ChunkRun:
        """Return the run that a pipeline needs; of chunks and uploads alike.

        Args:
            remote: files come over a network, so that it takes threads of their own to fetch them
        """
        settings = self.settings
        return ChunkRun(
            fetch=fetch,
            # The run before this one ended without a word: its worker died, so its images are not trusted.
            decode=Decoder(self.decoders, settings.max_pixels, pipeline.decoding, careful=attempt > 1),
            attempt=attempt,
            pool=self.executor,
            window=max(pipeline.prefetch, settings.decode_threads),
            stop=self.stop,
            on_progress=on_progress,
            on_alive=on_alive,
            fetchers=self.fetchers if remote else None,
            fetch_window=FETCHED_AHEAD * settings.fetch_threads,
        )
