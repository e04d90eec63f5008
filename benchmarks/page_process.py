"""What the process that holds the device does itself for a page: everything but decoding and the models."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.page_contestants import DETECTION, PARAMETERS
from benchmarks.scene import MOBILENET, SAMPLES
from contract.documents import is_document, page_count
from contract.model_store import ModelStore
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.images.fetching import ItemFiles
from worker.images.files import Decoder
from worker.images.isolation import DecoderPool, IsolatedDecoder
from worker.kernels.pixels import Pixels
from worker.kinds import make_pipeline
from worker.models.detection import load_detector
from worker.models.orientation import load_orientation
from worker.models.pool import ModelPool, Models
from worker.models.recognition import load_recogniser
from worker.models.runtimes.base import RuntimeOptions
from worker.pipeline.run import ChunkRun, Pipeline

TIMES = 4
"""How often the pages are read; the quickest counts, since other programs only add to processor time."""


class Replayed:
    """A model that is run the first time, and then says the same in no time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._made: list[Any] = []
        self._left: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def rewind(self) -> None:
        """Say the same from the beginning."""
        self._left = self._made[::-1]

    def read(self, batch: Pixels) -> Sequence[Any]:
        """Return the outputs for a batch; the samples come in the same order each time."""
        if self._left:
            return [self._left.pop() for _ in batch]
        made = self._model.read(batch)
        self._made += made
        return list(made)


def milliseconds_per_page(documents: Path) -> float:
    """Return this process's time on its processors for a page of the documents; models take none of it."""
    settings = Settings(allowed_roots=(str(documents),))
    store = ModelStore(str(SAMPLES / "weights"), Storage(settings))
    models = Models(
        ModelPool(lambda name: Replayed(load_recogniser(name, store, "cpu", RuntimeOptions()))),
        ModelPool(lambda name: Replayed(load_detector(name, store, "cpu", RuntimeOptions()))),
        ModelPool(lambda name: load_orientation(name, store, "cpu")),
    )
    pipeline = make_pipeline("ocr", PARAMETERS, models)
    items = list(_items(documents))
    seconds = []
    with _runs(items, settings, pipeline) as make_run:
        list(pipeline.run(items, make_run()))
        for _ in range(TIMES):
            for model in (models.detectors.get(DETECTION), models.recognisers.get(MOBILENET)):
                model.rewind()
            started = time.process_time()
            list(pipeline.run(items, make_run()))
            seconds.append(time.process_time() - started)
    return 1_000 * min(seconds) / len(items)


def _items(documents: Path) -> Iterator[Item]:
    for path in sorted(documents.iterdir()):
        if is_document(path.name):
            for number in range(1, page_count(path) + 1):
                yield Item(f"{path.name}#page={number}", str(path), page=number)
        else:
            yield Item(path.name, str(path))


@contextmanager
def _runs(items: list[Item], settings: Settings, pipeline: Pipeline) -> Iterator[Callable[[], ChunkRun]]:
    """Yield a function that makes a run as a worker does."""
    decoders = DecoderPool(
        lambda: IsolatedDecoder(settings.max_pixels, settings.decode_seconds, settings.decode_memory)
    )
    files = ItemFiles(
        Storage(settings),
        AllowedRoots(settings.allowed_roots),
        pages=True,
        attempt=1,
        max_bytes=settings.max_bytes,
        max_document_bytes=settings.max_document_bytes,
        items=items,
    )
    with closing(decoders), files as fetch, ThreadPoolExecutor(settings.decode_threads) as pool:
        yield lambda: ChunkRun(
            fetch=fetch,
            decode=Decoder(decoders, settings.max_pixels, pipeline.decoding),
            attempt=1,
            pool=pool,
            window=max(pipeline.prefetch, settings.decode_threads),
            stop=threading.Event(),
        )
