"""The context that all chunks and uploads of one worker process share, and the run it makes for each."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from contract.broker.ledger import Ledger
from contract.broker.uploads import Uploads
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.feeders.feeding import Feeding
from worker.feeders.pool import FeederPool
from worker.images.decode import File
from worker.images.files import Decoder
from worker.images.isolation import DecoderPool
from worker.jobs.share import ChunkShare
from worker.models.pool import Models
from worker.monitoring.metrics import WorkerMetrics
from worker.monitoring.pace import Pace
from worker.monitoring.trouble import Troubles
from worker.monitoring.watchdog import Watchdog
from worker.pipeline.run import ChunkRun, Pipeline

FETCHED_AHEAD = 2
"""Objects being fetched or waiting to be decoded, per fetch thread: while one waits, the next is fetched."""

PAGES_AHEAD = 4
"""Pages decoded ahead of what is cut out of them, at least: as many as the kinds of pages hold by default."""


@dataclass(frozen=True)
class WorkerContext:
    """The context that all chunks of one worker process share; made at start, used by all its threads."""

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
    feeders: FeederPool | None
    decoders: DecoderPool
    uploads: Uploads
    share: ChunkShare
    large_images: threading.Lock
    watchdog: Watchdog
    metrics: WorkerMetrics
    pace: Pace
    troubles: Troubles = field(default_factory=Troubles)

    def make_run(
        self,
        pipeline: Pipeline,
        fetch: Callable[[Item], File],
        on_alive: Callable[[], None],
        *,
        roots: AllowedRoots | None = None,
        attempt: int = 1,
        remote: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ChunkRun:
        """Return the run for a pipeline, for a chunk or for uploads.

        Args:
            pipeline: the pipeline to run
            fetch: item -> its file
            on_alive: called for each item and batch, for the watchdog
            roots: of the items' files, which feeders then fetch; None if only `fetch` knows the files
            attempt: which run of the chunk this is, counted from 1
            remote: files come over a network, so separate threads fetch them
            on_progress: called with the number of items read
        """
        settings = self.settings
        feeding = self._feeding(roots, attempt)
        return ChunkRun(
            fetch=fetch,
            decode=Decoder(self.decoders, settings.max_pixels, pipeline.decoding, crops_here=feeding is None),
            attempt=attempt,
            pool=self.executor,
            window=max(pipeline.prefetch, settings.decode_threads),
            stop=self.stop,
            on_progress=on_progress,
            on_alive=on_alive,
            page_window=max(PAGES_AHEAD, settings.decode_threads),
            fetchers=self.fetchers if remote else None,
            fetch_window=FETCHED_AHEAD * settings.fetch_threads,
            feeding=feeding,
        )

    def _feeding(self, roots: AllowedRoots | None, attempt: int) -> Feeding | None:
        """Return how crops are fed; None to decode them in this process's threads.

        Without feeders of its own a worker still has one, for uploads, whose senders are strangers, and for a
        chunk whose last run ended without a result, maybe because an image killed the worker.
        """
        if self.feeders is None:
            return None
        if roots is not None and attempt == 1 and not self.settings.feeders:
            return None
        return Feeding(self.feeders, None if roots is None else roots.canonical)
