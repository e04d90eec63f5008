"""Seconds that `trace-ocr run` takes for a few crops: its processes' start, with torch and without."""

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import MOBILENET, SAMPLES

TARGET_SECONDS = 4.0

GRAPH, TORCH = "cached graph", "torch"
RUNTIMES = {GRAPH: "auto", TORCH: "torch"}
"""The setting `runtime` of each contestant; the first reads a cached graph, without torch."""


def start(folder: Path, *, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows, and every measured run: its seconds, and its processes' seconds of processor time."""
    runs = iter(range(1_000_000))
    processor: dict[str, list[float]] = {name: [] for name in RUNTIMES}

    def run(name: str) -> float:
        before = _processor_seconds()
        started = time.perf_counter()
        _read(folder / f"out-{next(runs)}", RUNTIMES[name])
        seconds = time.perf_counter() - started
        processor[name].append(_processor_seconds() - before)
        return seconds

    # Exports the graph, and warms the disk's cache.
    for runtime in RUNTIMES.values():
        _read(folder / f"out-{next(runs)}", runtime)
    seconds = interleaved({name: lambda name=name: run(name) for name in RUNTIMES}, rounds)  # type: ignore[misc]
    measure = "`trace-ocr run` on 257 crops"
    rows = [
        Row(measure, statistics.median(seconds[GRAPH]), "s", TARGET_SECONDS, at_most=True),
        Row(f"{measure}: over the same on torch", median_ratio(seconds[GRAPH], seconds[TORCH]), "x"),
        Row(f"{measure}: processor time", statistics.median(processor[GRAPH]), "s"),
        Row(
            f"{measure}: processor time over that on torch",
            median_ratio(processor[GRAPH], processor[TORCH]),
            "x",
        ),
    ]
    return rows, {"seconds": {"run": seconds, "run, processor": processor}}


def _read(out: Path, runtime: str) -> None:
    """Run the command on the sample crops as a user does."""
    program = Path(sys.executable).with_name("trace-ocr")
    models = ["--model-store", str(SAMPLES / "weights"), "--recognition-model", MOBILENET]
    environment = {**os.environ, "TRACE_OCR_RUNTIME": runtime, "TRACE_OCR_DEVICES": "cpu"}
    command = [str(program), "run", str(SAMPLES / "crops"), "-o", str(out), *models]
    subprocess.run(command, env=environment, capture_output=True, check=True)


def _processor_seconds() -> float:
    """Return the seconds of processor time of the processes that have ended, and of those they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
