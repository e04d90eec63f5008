"""Crops per second on a GPU, and what one process can feed: `python -m benchmarks gpu`."""

import os
import statistics
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.cpu_per_crop import NullReader, logits_of
from benchmarks.end_to_end import doctr_loop as crop_loop
from benchmarks.end_to_end import product, rate, strings_of
from benchmarks.forward import forward_alone
from benchmarks.page_contestants import PARAMETERS, doctr_loop
from benchmarks.pages import PAGES, copied, words_of
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import BATCH, MOBILENET, SAMPLES, VGG, Scene, make_scene
from benchmarks.service import make_job, serving
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.app.launcher import child_environment
from worker.app.main import CHUNKS_IN_FLIGHT
from worker.images.decode import decode_crop, fetch
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.models.runtimes.base import RuntimeOptions
from worker.monitoring.device import Device
from worker.pipeline.run import ChunkRun

LOOK_SECONDS = 0.05
"""Seconds between two readings of the card's utilisation; the driver averages over 0.17 to 1 s."""

COPIES = 8
"""Of the sample documents, which are read in one job."""

FEEDS = ((1, 1), (2, 1), (4, 1), (4, 2), (16, 1), (16, 2), (16, 4), (16, 8))
"""Cores and decoding threads of the process that feeds the null model; a smaller machine skips some."""


def gpu(
    folder: Path, *, crops: int, rounds: int, device: str = "0"
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of the card, and every measured rate.

    Args:
        crops: in a job
        rounds: how often each contestant runs
        device: the worker's setting `devices`; docTR and the forward alone use torch's first card, or the CPU
    """
    scenes = [make_scene(folder, architecture, crops) for architecture in (MOBILENET, VGG)]
    rates: dict[str, dict[str, list[float]]] = {}
    rows: list[Row] = []
    for found, measured in (
        *(crops_of(scene, folder, device, rounds) for scene in scenes),
        pages(folder, device, rounds),
        feed(scenes[0], rounds),
    ):
        rows += found
        rates |= measured
    return rows, {"rates": rates}


def crops_of(
    scene: Scene, folder: Path, device: str, rounds: int
) -> tuple[list[Row], dict[str, dict[str, list[float]]]]:
    """Return the rows of one model, and the rates of all contestants."""
    architecture, count = scene.architecture, len(scene.files)
    half = folder / "float16"
    half.mkdir(exist_ok=True)
    on = _torch_name(device)
    doctr, nvml = crop_loop(scene, on), Device(device)
    with ExitStack() as stack:
        ours = stack.enter_context(product(scene, folder, device))
        busy: list[float] = []
        contestants: dict[str, Callable[[], float]] = {
            "trace-ocr": lambda: _watched(ours, nvml, busy),
            "trace-ocr float16": stack.enter_context(product(scene, half, device, "float16")),
            "docTR": _rounding(rate(count, doctr), to_tf32=True),
        }
        for precision in ("float32", "tf32", "float16"):
            forward = forward_alone(scene, on, RuntimeOptions("torch", precision))
            contestants[f"forward alone {precision}"] = _rounding(
                rate(count, forward), to_tf32=precision != "float32"
            )
        rates = interleaved(contestants, rounds)
    theirs = [value for value, _ in doctr()]
    rows = [
        Row(f"{architecture}: {name}", statistics.median(values), "crops/s") for name, values in rates.items()
    ]
    rows += [
        Row(f"{architecture}: {name} over docTR", median_ratio(rates[name], rates["docTR"]), "x")
        for name in ("trace-ocr", "trace-ocr float16")
    ]
    for name, where in (("float32", folder), ("float16", half)):
        read = strings_of(where / f"out-{architecture}-1")
        same = sum(map(str.__eq__, read, theirs))
        rows.append(Row(f"{architecture}: {name} strings identical to docTR's", 100 * same / count, "%"))
    if busy:
        rows.append(Row(f"{architecture}: card busy, trace-ocr float32", 100 * statistics.mean(busy), "%"))
    return rows, {f"{architecture}-gpu": rates}


def _rounding(run: Callable[[], float], *, to_tf32: bool) -> Callable[[], float]:
    """Return the function with torch's switch set first: it holds for the whole process."""

    def switched() -> float:
        torch.backends.cudnn.allow_tf32 = to_tf32
        return run()

    return switched


def pages(folder: Path, device: str, rounds: int) -> tuple[list[Row], dict[str, dict[str, list[float]]]]:
    """Return the row of pages, and the rates of all contestants."""
    documents = copied(folder, COPIES)
    doctr = doctr_loop(sorted(documents.iterdir()), _torch_name(device))
    with serving(SAMPLES / "weights", folder, SAMPLES, device=device) as service:
        runs = iter(range(1_000_000))

        def run() -> float:
            out = folder / f"pages-{next(runs)}"
            return PAGES * COPIES / service.run(make_job("ocr", PARAMETERS, documents, out), out)

        run()  # the worker starts and loads its models
        rates = interleaved({"trace-ocr": run, "docTR": rate(PAGES * COPIES, doctr)}, rounds)
    rows = [Row(f"pages: {name}", statistics.median(values), "pages/s") for name, values in rates.items()]
    same = sum(map(list.__eq__, words_of(folder / "pages-1"), doctr()))
    rows.append(Row("pages: identical to docTR's, word by word", 100 * same / (PAGES * COPIES), "%"))
    return rows, {"pages-gpu": rates}


def _torch_name(device: str) -> str:
    return "cpu" if device == "cpu" else "cuda:0"


def _watched(run: Callable[[], float], card: Device, busy: list[float]) -> float:
    """Return what `run` does; add the card's utilisation while it ran."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            use = card.use()
            if use and use.utilisation is not None:
                busy.append(use.utilisation)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        return run()
    finally:
        over.set()
        looking.join()


def feed(scene: Scene, rounds: int) -> tuple[list[Row], dict[str, dict[str, list[float]]]]:
    """Return how fast one process feeds a model that takes no time, by its cores and decoding threads."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_feed, args=(scene, rounds, there), daemon=True)
    with patch.dict(os.environ, child_environment("cpu", os.environ)):
        process.start()
    try:
        rates: dict[str, list[float]] = here.recv()
    finally:
        process.kill()
        process.join()
    return [
        Row(f"one process feeds a null model: {name}", statistics.median(values), "crops/s")
        for name, values in rates.items()
    ], {"feed": rates}


def _feed(scene: Scene, rounds: int, connection: Connection) -> None:
    model = scene.model()
    reader = NullReader(logits_of(len(model.vocab) + 1), model, seconds=0)
    pipeline = RecognitionPipeline(Readers.of(reader), BATCH)
    cores = sorted(os.sched_getaffinity(0))
    rates = {}
    for number, threads in FEEDS:
        if number <= len(cores):
            # Threads that are started from now on inherit it.
            os.sched_setaffinity(0, cores[:number])
            name = f"{number} cores, {threads} decoding threads"
            rates[name] = _fed(scene, pipeline, Settings(decode_threads=threads), rounds)
    connection.send(rates)


def _fed(scene: Scene, pipeline: RecognitionPipeline, settings: Settings, rounds: int) -> list[float]:
    items = [Item(path.name, str(path)) for path in scene.files]
    # As in a worker, one chunk is prepared while another is read.
    chunks = [items[part::CHUNKS_IN_FLIGHT] for part in range(CHUNKS_IN_FLIGHT)]
    with _runs(scene, settings, pipeline) as make_run, ThreadPoolExecutor(CHUNKS_IN_FLIGHT) as threads:

        def read() -> None:
            list(threads.map(lambda chunk: list(pipeline.run(chunk, make_run())), chunks))

        read()  # compiles, and fills caches
        return [rate(len(items), read)() for _ in range(rounds)]


@contextmanager
def _runs(
    scene: Scene, settings: Settings, pipeline: RecognitionPipeline
) -> Iterator[Callable[[], ChunkRun]]:
    storage, roots = Storage(settings), AllowedRoots((str(scene.crops),)).for_one_chunk()
    with ThreadPoolExecutor(settings.decode_threads) as pool:
        yield lambda: ChunkRun(
            fetch=lambda item: fetch(item.uri, storage, roots, settings.max_bytes),
            decode=lambda _, data: decode_crop(data, settings.max_pixels),
            attempt=1,
            pool=pool,
            window=pipeline.prefetch,
            stop=threading.Event(),
        )
