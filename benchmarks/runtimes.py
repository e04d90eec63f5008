"""Engines for exported graphs on a CPU, side by side: ONNX Runtime, and OpenVINO in float32 and in bfloat16.

An engine has to be a twentieth faster without changing a string to be worth a second one.
"""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.forward import IN_FLIGHT, ready_batches, recogniser_of
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import MOBILENET, VGG, make_scene
from worker.kernels.pixels import Pixels
from worker.models.ctc import Prediction
from worker.models.recognition import Recogniser
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.bfloat16 import has_bfloat16

OURS = "ONNX Runtime"


def others() -> dict[str, RuntimeOptions]:
    """Return the engines to compare with it, of those that this CPU has."""
    found = {"OpenVINO, float32": RuntimeOptions("openvino", "float32")}
    if has_bfloat16():
        found["OpenVINO, bfloat16"] = RuntimeOptions("openvino", "bfloat16")
    return found


def runtimes(folder: Path, *, crops: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of both models, and every measured rate."""
    rows: list[Row] = []
    rates: dict[str, Any] = {}
    for architecture, count in ((MOBILENET, crops), (VGG, crops // 8)):
        found, measured = _model(architecture, folder, count, rounds)
        rows += found
        rates[architecture] = measured
    return rows, {"engines": rates}


def _model(
    architecture: str, folder: Path, crops: int, rounds: int
) -> tuple[list[Row], dict[str, list[float]]]:
    scene = make_scene(folder, architecture, crops)
    engines = {
        name: recogniser_of(scene, "cpu", options)
        for name, options in {OURS: RuntimeOptions("onnx"), **others()}.items()
    }
    batches = ready_batches(scene, engines[OURS])
    read = {name: _read(engine, batches) for name, engine in engines.items()}
    rates: dict[str, list[float]] = {name: [] for name in engines}
    processor = interleaved(
        {name: _measured(engine, batches, rates[name]) for name, engine in engines.items()}, rounds
    )
    rows = [Row(f"{architecture}: {OURS}", statistics.median(rates[OURS]), "crops/s")]
    for name in others():
        same, difference = _compared(read[name], read[OURS])
        rows += [
            Row(f"{architecture}: {name}, over {OURS}", median_ratio(rates[name], rates[OURS]), "x"),
            Row(
                f"{architecture}: {name}, processor time",
                median_ratio(processor[name], processor[OURS]),
                "x",
            ),
            Row(f"{architecture}: {name}, strings read the same", 100 * same, "%"),
            Row(f"{architecture}: {name}, greatest difference of a confidence", difference, ""),
        ]
    return rows, rates


def _read(engine: Recogniser, batches: list[Pixels]) -> list[Prediction]:
    return [prediction for batch in batches for prediction in engine.read(batch)]


def _compared(ours: list[Prediction], theirs: list[Prediction]) -> tuple[float, float]:
    """Return the share of strings that both read alike, and the greatest difference of a confidence."""
    pairs = list(zip(ours, theirs, strict=True))
    same = sum(mine[0] == other[0] for mine, other in pairs) / len(pairs)
    return same, max(abs(mine[1] - other[1]) for mine, other in pairs)


def _measured(engine: Recogniser, batches: list[Pixels], rates: list[float]) -> Callable[[], float]:
    """Return a function that runs the batches and notes pieces per second; it returns processor time."""
    pool = ThreadPoolExecutor(IN_FLIGHT)

    def run() -> float:
        started, used = time.perf_counter(), time.process_time()
        read = sum(map(len, pool.map(engine._runtime.forward, batches)))
        rates.append(read / (time.perf_counter() - started))
        return 1e6 * (time.process_time() - used) / read

    return run
