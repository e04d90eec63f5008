"""Crops in shards against the same crops as single objects, without the time of a model.

Both are read as a worker reads them: with its feeders, its fetching threads and its chunks at once. The
endpoint is a process beside them on the same cores.
"""

import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from io import BytesIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.end_to_end import rate
from benchmarks.feeders import NoReader
from benchmarks.objects import BUCKET, serving_objects
from benchmarks.regions import CREDENTIALS, LATENCY_SECONDS
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import BATCH, SAMPLES
from contract.kinds import KINDS
from contract.records import Item
from contract.settings import Settings, load_settings, variable_of
from contract.storage import OnRequest, Storage
from contract.storage.roots import AllowedRoots
from producer.planning.plan import chunks_of
from producer.sources.listing import identify_source, list_source
from worker.app.launcher import child_environment
from worker.app.main import CHUNKS_IN_FLIGHT
from worker.app.making import make_feeders
from worker.feeders.feeding import Feeding
from worker.images.fetching import ItemFiles
from worker.images.files import Decoder
from worker.images.isolation import DecoderPool, IsolatedDecoder
from worker.jobs.context import FETCHED_AHEAD
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.pipeline.run import ChunkRun

CROPS_PER_SHARD = 10_000

SPEED, FEWER = 3, 500
"""Targets: items per second over those of single objects, and their GETs over those of shards, with the GETs
of planning."""


def shards(folder: Path, *, crops: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of shards, and every measured rate; both sides read the same crops.

    Args:
        crops: number of crops
        rounds: how often each side reads all of them
    """
    _make(folder, crops)
    with serving_objects(folder, LATENCY_SECONDS) as url:
        rates, gets, planned = _in_process(url, crops, rounds)
    what = f"{crops:,} crops in tars of {min(crops, CROPS_PER_SHARD):,}, {LATENCY_SECONDS:g} s away"
    speed = median_ratio(rates["shards"], rates["objects"])
    return [
        Row(f"{what}: items/s over the same crops as objects", speed, "x", SPEED),
        Row(f"{what}: GETs of objects over those of shards", gets["objects"] / gets["shards"], "x", FEWER),
        *(Row(f"{what}: {name}", median(values), "crops/s") for name, values in rates.items()),
        Row(f"{what}: planning shards, of one core", planned, "crops/s"),
        Row(f"{what}: GETs of shards, {gets['planning']:,} of them for planning", gets["shards"], ""),
    ], {"rates": {"shards": rates}}


def _make(folder: Path, crops: int) -> None:
    """Write the crops as files, and packed into tars."""
    samples = sorted(path for path in (SAMPLES / "crops").iterdir() if path.suffix in {".png", ".jpg"})
    (folder / "crops").mkdir()
    for shard, first in enumerate(range(0, crops, CROPS_PER_SHARD)):
        # As tar writes them; Python's own default adds a header for the time to each file.
        with tarfile.open(folder / f"{shard:04}.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for number in range(first, min(first + CROPS_PER_SHARD, crops)):
                sample = samples[number % len(samples)]
                name = f"{number:07}{sample.suffix}"
                os.link(_copied(folder, sample), folder / "crops" / name)
                archive.add(sample, name)


def _copied(folder: Path, sample: Path) -> Path:
    copy = folder / f"sample-{sample.name}"
    if not copy.exists():
        copy.write_bytes(sample.read_bytes())
    return copy


def _in_process(url: str, crops: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, int], float]:
    """Return what `_measure` sends, from a process with the environment of a worker's."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_measure, args=(crops, rounds, there), daemon=True)
    # Feeders read their settings from the environment.
    endpoint = {
        variable_of("s3_endpoint_url"): url,
        variable_of("s3_region"): "us-east-1",
        variable_of("s3_path_style"): "true",
    }
    with patch.dict(os.environ, {**child_environment("cpu", os.environ), **CREDENTIALS, **endpoint}):
        process.start()
    try:
        rates, gets, planned = here.recv()
        return rates, gets, planned
    finally:
        process.kill()
        process.join()


class _Gets:
    """Counts GETs of objects."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self, operation: str, _outcome: str, retries: int) -> None:
        if operation == "GetObject":
            with self._lock:
                self.count += 1 + retries


def _measure(crops: int, rounds: int, connection: Connection) -> None:
    """Send the rates of both sides, the GETs of one reading of each and of planning, and planning's rate."""
    requests, settings = _Gets(), load_settings()
    storage = Storage(settings, requests)
    started = time.process_time()
    packed = list(_planned(storage, crops))
    planned = crops / (time.process_time() - started)
    gets = {"planning": requests.count}
    single = [Item(item.name, f"s3://{BUCKET}/crops/{item.name}") for item in packed]
    pipeline = RecognitionPipeline(Readers.of(NoReader()), BATCH)
    contestants = {}
    with _reading(storage, settings, requests) as make_run:
        for name, items in (("shards", packed), ("objects", single)):
            before = requests.count
            read = _read(items, pipeline, make_run)
            read()  # compiles, and fills caches
            gets[name] = requests.count - before
            contestants[name] = rate(len(items), read)
        gets["shards"] += gets["planning"]
        connection.send((interleaved(contestants, rounds), gets, planned))


def _planned(storage: Storage, crops: int) -> Iterator[Item]:
    last = (crops - 1) // CROPS_PER_SHARD
    return iter(list_source(identify_source(f"s3://{BUCKET}/{{0000..{last:04}}}.tar"), storage, BytesIO()))


def _read(
    items: Sequence[Item],
    pipeline: RecognitionPipeline,
    make_run: Callable[[RecognitionPipeline, Sequence[Item]], Any],
) -> Callable[[], object]:
    """Return a function that reads all items in chunks, as many at once as a worker."""
    chunks = list(chunks_of(items, KINDS["recognition"].chunk_size))

    def one(chunk: list[Item]) -> None:
        with make_run(pipeline, chunk) as run:
            lines = list(pipeline.run(chunk, run))
        failed = [line for line in lines if getattr(line, "error", None)]
        assert not failed, failed[0]

    def read() -> None:
        with ThreadPoolExecutor(CHUNKS_IN_FLIGHT) as threads:
            list(threads.map(one, chunks))

    return read


@contextmanager
def _reading(
    storage: Storage, settings: Settings, on_request: OnRequest
) -> Iterator[Callable[[RecognitionPipeline, Sequence[Item]], Any]]:
    """Yield a function that makes the run of a chunk, with the files of a worker's."""
    decoders = DecoderPool(lambda: IsolatedDecoder(settings.max_pixels, 60.0, 2 << 30))
    roots = AllowedRoots((f"s3://{BUCKET}",))

    @contextmanager
    def make_run(pipeline: RecognitionPipeline, items: Sequence[Item]) -> Iterator[ChunkRun]:
        with ItemFiles(
            storage,
            roots.for_one_chunk(),
            pages=False,
            attempt=1,
            max_bytes=settings.max_bytes,
            max_document_bytes=settings.max_document_bytes,
            items=items,
        ) as files:
            yield ChunkRun(
                fetch=files,
                decode=Decoder(decoders, settings.max_pixels, pipeline.decoding),
                attempt=1,
                pool=pool,
                window=pipeline.prefetch,
                stop=threading.Event(),
                fetchers=fetchers,
                fetch_window=FETCHED_AHEAD * settings.fetch_threads,
                feeding=Feeding(feeders, roots.canonical),
            )

    with (
        closing(make_feeders(settings, on_request)) as feeders,
        ThreadPoolExecutor(settings.decode_threads) as pool,
        ThreadPoolExecutor(settings.fetch_threads) as fetchers,
    ):
        yield make_run
