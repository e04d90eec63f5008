"""Regions of pages against the same crops as files and as objects, without the time of a model."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image

from benchmarks.cpu_per_crop import NullReader, logits_of
from benchmarks.end_to_end import rate
from benchmarks.objects import BUCKET, serving_objects
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import BATCH, MOBILENET, SAMPLES, Scene
from contract.kinds import KINDS
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage, is_remote
from contract.storage.roots import AllowedRoots
from producer.planning.plan import chunks_of
from producer.sources.manifest import read_manifest
from worker.app.launcher import child_environment
from worker.app.main import CHUNKS_IN_FLIGHT
from worker.images.decode import File, fetch
from worker.images.files import Decoder
from worker.images.isolation import DecoderPool, IsolatedDecoder
from worker.jobs.context import FETCHED_AHEAD
from worker.kernels.pixels import Pixels
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.models.ctc import Prediction
from worker.pipeline.run import ChunkRun

PAGE = (1240, 1754)
"""Of a page in pixels: A4 at 150 dots per inch."""

WORDS, MARGIN, GAP = 200, 20, 8
"""Sample crops on a page, and the pixels around them and between two."""

TARGET = 1.5
"""Target: items per second over those of crops as objects. A local file is opened in microseconds, and a
page has empty parts to decode: there the ratio is for information."""

LATENCY_SECONDS = 0.020
"""Of the server of objects, to the first byte: S3 takes that and more for small objects."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}

Rates = dict[str, list[float]]


def regions(folder: Path, *, pages: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of regions, and every measured rate; both sides read the same pixels.

    Args:
        pages: number of pages, each with WORDS regions
        rounds: how often each side reads all items
    """
    for number in range(pages):
        _make_page(folder, number)
    with serving_objects(folder, LATENCY_SECONDS) as url:
        objects = {"s3_endpoint_url": url, "s3_region": "us-east-1", "s3_path_style": True}
        rates, fetches, alike = _in_process(str(folder), {}, rounds)
        remote, *_ = _in_process(f"s3://{BUCKET}", objects, rounds)
    what = f"{pages * WORDS:,} regions of {pages} pages"
    ratios = [median_ratio(found["regions"], found["files"]) for found in (rates, remote)]
    return [
        Row(
            f"{what}: items/s over the same crops as objects, {LATENCY_SECONDS:g} s away",
            ratios[1],
            "x",
            TARGET,
        ),
        Row(f"{what}: items/s over the same crops as local files", ratios[0], "x"),
        Row(f"{what}: fetches for each page and chunk", fetches, "", 1, at_most=True),
        Row(f"{what}: pieces identical to those of the files", 100 * alike, "%", 100),
    ], {"rates": {"regions-local": rates, "regions-objects": remote}}


def _in_process(root: str, settings: dict[str, Any], rounds: int) -> tuple[Rates, float, bool]:
    """Return what `_measure` sends, from a process with the environment of a worker's."""
    here, there = get_context("spawn").Pipe()
    arguments = root, Settings(**settings), rounds, there
    process = get_context("spawn").Process(target=_measure, args=arguments, daemon=True)
    with patch.dict(os.environ, {**child_environment("cpu", os.environ), **CREDENTIALS}):
        process.start()
    try:
        rates, fetches, alike = here.recv()
        return rates, fetches, alike
    finally:
        process.kill()
        process.join()


def _make_page(folder: Path, number: int) -> None:
    """Save a page of sample crops, the lines of its regions, and what is in them as files."""
    samples = sorted(path for path in (SAMPLES / "crops").iterdir() if path.suffix in {".png", ".jpg"})
    page, boxes = Image.new("RGB", PAGE, "white"), []
    left, top, row = MARGIN, MARGIN, 0
    for place in range(WORDS):
        with Image.open(samples[(number * WORDS + place) % len(samples)]) as crop:
            if left + crop.width > PAGE[0] - MARGIN:
                left, top, row = MARGIN, top + row + GAP, 0
            page.paste(crop, (left, top))
            boxes.append((left, top, left + crop.width, top + crop.height))
            left, row = left + crop.width + GAP, max(row, crop.height)
    packed = BytesIO()
    page.save(packed, "JPEG", quality=90)
    name = f"{number:05d}.jpg"
    (folder / name).write_bytes(packed.getvalue())
    crops = folder / "crops"
    crops.mkdir(exist_ok=True)
    with Image.open(packed) as decoded, (folder / "regions.jsonl").open("a") as manifest:
        for place, box in enumerate(boxes, 1):
            decoded.crop(box).save(crops / f"{number:05d}-{place:03d}.png")
            manifest.write(json.dumps({"uri": name, "region": box}) + "\n")


class _Summing(NullReader):
    """A null model that takes no time; in its first run it adds up the pieces that it is given."""

    def __init__(self, model: Any) -> None:
        super().__init__(logits_of(len(model.vocab) + 1), model, seconds=0)
        self.sums: list[int] = []
        self.first_run = True

    def read(self, batch: Pixels) -> list[Prediction]:
        if self.first_run:
            self.sums.append(int(batch.sum()))
        return super().read(batch)


def _measure(root: str, settings: Settings, rounds: int, connection: Connection) -> None:
    """Send the rates of both sides, the fetches for each page and chunk, and whether the pieces are the same.

    Args:
        root: where the pages, their regions and their crops are
    """
    storage, fetched = Storage(settings), Counter[str]()
    given = list(read_manifest(f"{root}/regions.jsonl", root, storage, BytesIO(), Counter()))
    files = [Item(name, f"{root}/crops/{name}") for name in map(_crop_name, given)]
    with _reading(root, storage, settings, fetched) as make_run:
        readers = [_Summing(_model()) for _ in range(2)]
        runs = [_read(items, one, make_run) for items, one in zip((given, files), readers, strict=True)]
        for run, reader in zip(runs, readers, strict=True):
            run()  # compiles, and fills caches
            reader.first_run = False
        once = sum(len({item.uri for item in chunk}) for chunk in _chunks(given))
        fetches = fetched.total() / once
        alike = sum(readers[0].sums) == sum(readers[1].sums)
        contestants = {
            name: rate(len(given), run) for name, run in zip(("regions", "files"), runs, strict=True)
        }
        connection.send((interleaved(contestants, rounds), fetches, alike))


def _model() -> Any:
    return Scene(SAMPLES, [], SAMPLES / "weights", MOBILENET).model()


def _crop_name(item: Item) -> str:
    """Return the name of the file that holds what is in a region: its page's, and the region's number."""
    page, _, number = item.id.partition(".jpg#r=")
    return f"{page}-{int(number):03d}.png"


def _chunks(items: Sequence[Item]) -> list[list[Item]]:
    return list(chunks_of(items, KINDS["recognition"].chunk_size))


def _read(
    items: Sequence[Item], reader: NullReader, make_run: Callable[[RecognitionPipeline], ChunkRun]
) -> Callable[[], object]:
    """Return a function that reads all items in chunks, as many at once as a worker."""
    pipeline = RecognitionPipeline(Readers.of(reader), BATCH)
    chunks = _chunks(items)

    def read() -> None:
        with ThreadPoolExecutor(CHUNKS_IN_FLIGHT) as threads:
            list(threads.map(lambda chunk: list(pipeline.run(chunk, make_run(pipeline))), chunks))

    return read


@contextmanager
def _reading(
    root: str, storage: Storage, settings: Settings, fetched: Counter[str]
) -> Iterator[Callable[[RecognitionPipeline], ChunkRun]]:
    """Yield a function that makes the run of a chunk, over real files; count what is fetched."""
    decoders = DecoderPool(lambda: IsolatedDecoder(settings.max_pixels, 60.0, 2 << 30))
    lock = threading.Lock()

    def make_run(pipeline: RecognitionPipeline) -> ChunkRun:
        roots = AllowedRoots((root,)).for_one_chunk()

        def fetch_file(item: Item) -> File:
            if item.region:
                with lock:
                    fetched[item.uri] += 1
            return fetch(item.uri, storage, roots, settings.max_bytes)

        return ChunkRun(
            fetch=fetch_file,
            decode=Decoder(decoders, settings.max_pixels, pipeline.decoding),
            attempt=1,
            pool=pool,
            window=pipeline.prefetch,
            stop=threading.Event(),
            fetchers=fetchers if is_remote(root) else None,
            fetch_window=FETCHED_AHEAD * settings.fetch_threads,
        )

    with (
        ThreadPoolExecutor(settings.decode_threads) as pool,
        ThreadPoolExecutor(settings.fetch_threads) as fetchers,
    ):
        yield make_run
