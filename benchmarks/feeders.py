"""How many crops one worker process feeds a model that takes no time, with how many feeders and cores.

The forward and what belongs to it (normalisation, decoding of logits) are left out: what is measured is
everything from the local file to the JSON line. Feeders are pinned together with the device process.
"""

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import BATCH, MOBILENET, Scene, make_scene
from contract.cores import available_cores
from contract.lines import encode_lines
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.app.launcher import child_environment
from worker.app.making import make_feeders
from worker.feeders.feeding import Feeding
from worker.feeders.pool import FeederPool
from worker.images.decode import decode_crop, fetch
from worker.kernels.pieces import CropMap, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import Preprocessor
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.models.ctc import Prediction
from worker.pipeline.run import ChunkRun

NUMBERS = (0, 1, 2, 4, 8, 16)
"""Numbers of feeders; those beyond the cores are left out."""

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks per second, the unit of /proc/PID/stat."""


class NoReader:
    """A model that takes no time: it reads nothing."""

    sample, parameter, identity = "crop", "recognition_model", {"architecture": "none"}
    fitting_batch_size = None

    def __init__(self) -> None:
        self.pieces = PieceShape(32, 128, 8, 6, 0.5)
        self._preprocessor = Preprocessor(self.pieces)
        self._read: Prediction = "read", 0.5

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        return self._preprocessor.prepare(pixels)

    def read(self, batch: Pixels) -> list[Prediction]:
        return [self._read] * len(batch)

    def join(self, _: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        return predictions[0]


@dataclass(frozen=True)
class Setup:
    """A worker process: how many feeders it has, and the cores of all its processes; None for all."""

    feeders: int
    cores: int | None = None

    @property
    def name(self) -> str:
        """The setup in words."""
        fed = f"{self.feeders} feeders" if self.feeders else "threads"
        return f"{fed}, {self.cores} cores" if self.cores else fed


@dataclass(frozen=True)
class Measured:
    """One reading of all files: crops a second, and microseconds of processor time per crop."""

    rate: float
    device_process: float
    feeders: float


def feeders(folder: Path, crops: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows: rates and processor time by the number of feeders, and over cores."""
    scene = make_scene(folder, MOBILENET, crops)
    cores = available_cores()
    setups = [Setup(number) for number in NUMBERS if number <= cores]
    setups += [Setup(1, 1), Setup(2, 2)] if cores > 1 else []
    measured: dict[str, list[Measured]] = {setup.name: [] for setup in setups}
    with contextlib.ExitStack() as stack:
        runs = {setup.name: stack.enter_context(_process(scene, setup)) for setup in setups}

        def run(name: str) -> float:
            measured[name].append(runs[name]())
            return measured[name][-1].rate

        rates = interleaved({name: lambda name=name: run(name) for name in runs}, rounds)  # type: ignore[misc]
    return _rows(measured, rates), {
        "feeders": {name: [asdict(one) for one in measured[name]] for name in runs}
    }


def _rows(measured: dict[str, list[Measured]], rates: dict[str, list[float]]) -> list[Row]:
    rows = [
        Row(f"one worker, {name}", statistics.median(values), "crops/s") for name, values in rates.items()
    ]
    fed = [one for name, values in measured.items() if "feeder" in name for one in values]
    threads = statistics.median(one.device_process for one in measured["threads"])
    device = statistics.median(one.device_process for one in fed)
    whole = statistics.median(one.device_process + one.feeders for one in fed)
    rows += [
        Row("processor per crop outside the forward, threads", threads, "us"),
        Row("processor per crop outside the forward, feeders", whole, "us", 60, at_most=True),
        Row("the device process's own share with feeders", device, "us", 8, at_most=True),
        Row("feeders over threads, processor time", whole / threads, "x", 1.05, at_most=True),
    ]
    one, two = Setup(1, 1).name, Setup(2, 2).name
    if two in rates:
        rows.append(
            Row("crops/s one worker feeds, 2 cores over 1", median_ratio(rates[two], rates[one]), "x", 1.8)
        )
    return rows


@contextlib.contextmanager
def _process(scene: Scene, setup: Setup) -> Iterator[Any]:
    """Yield a function that reads all files once in a process of its own, as the launcher starts it."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(scene, setup, there))
    with patch.dict(os.environ, child_environment("cpu", os.environ)):
        process.start()

    def run() -> Measured:
        here.send(True)
        return Measured(*here.recv())

    try:
        run()  # starts feeders, compiles and fills caches
        yield run
    finally:
        here.send(False)
        process.join()


def _serve(scene: Scene, setup: Setup, connection: Connection) -> None:
    if setup.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setup.cores])
    settings = Settings(feeders=setup.feeders)
    pool = make_feeders(settings, lambda *_: None) if setup.feeders else None
    pipeline = RecognitionPipeline(Readers.of(NoReader()), BATCH)
    while connection.recv():
        before, started, used = _seconds(pool), time.perf_counter(), time.process_time()
        _read(scene, settings, pipeline, pool)
        seconds, used = time.perf_counter() - started, time.process_time() - used
        count = len(scene.files)
        connection.send((count / seconds, used / count * 1e6, (_seconds(pool) - before) / count * 1e6))
    if pool:
        pool.close()


def _read(scene: Scene, settings: Settings, pipeline: RecognitionPipeline, pool: FeederPool | None) -> None:
    storage = Storage(settings)
    roots = AllowedRoots((str(scene.crops),)).for_one_chunk()
    items = [Item(path.name, str(path)) for path in scene.files]
    with ThreadPoolExecutor(settings.decode_threads) as threads:
        run = ChunkRun(
            fetch=lambda item: fetch(item.uri, storage, roots, settings.max_bytes),
            decode=lambda _, data: decode_crop(data, settings.max_pixels),  # type: ignore[arg-type]
            attempt=1,
            pool=threads,
            window=pipeline.prefetch,
            stop=threading.Event(),
            feeding=Feeding(pool, roots.canonical) if pool else None,
        )
        encode_lines(list(pipeline.run(items, run)))


def _seconds(pool: FeederPool | None) -> float:
    """Return the processor seconds that the feeders have used so far."""
    ticks = 0
    for pid in pool.pids if pool else ():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS
