"""Engines for exported graphs on a CPU, side by side: ONNX Runtime as the product uses it, and OpenVINO.

An engine has to be a twentieth faster without changing a string to be worth a second one.
"""

import hashlib
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forward import AUTO, ready_batches, recogniser_of
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import MOBILENET, VGG, make_scene
from contract.cores import computing_cores
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.ctc import CtcDecoder
from worker.models.runtimes.base import Cut, ModelInput
from worker.models.runtimes.choosing import crop_cut
from worker.models.runtimes.graphs import Graph, cached_graph

OURS, OTHER = "ONNX Runtime", "OpenVINO"


class OpenVino:
    """A graph under OpenVINO: one stream of one thread per core, each for a part of a batch."""

    def __init__(self, graph: bytes, takes: ModelInput, cut: Cut) -> None:
        import openvino

        core, cores = openvino.Core(), computing_cores()
        streams = {"NUM_STREAMS": str(cores), "INFERENCE_NUM_THREADS": str(cores)}
        model = core.read_model(graph, b"")
        self._model = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **streams})
        self._normalise = Normaliser(takes.mean, takes.std)
        self._part = cut.part
        self._lanes, self._own = ThreadPoolExecutor(cores), threading.local()

    def forward(self, batch: Pixels) -> Any:
        parts = (batch[start : start + self._part] for start in range(0, len(batch), self._part))
        return np.concatenate(list(self._lanes.map(self._run, parts)))

    def _run(self, part: Pixels) -> Any:
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        return self._own.request.infer({0: self._normalise(part)}, share_inputs=True)[0].copy()


def runtimes(folder: Path, *, crops: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of both models, and every measured rate; OpenVINO is in benchmarks/requirements.txt."""
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
    recogniser = recogniser_of(scene, "cpu", AUTO)
    weights = (scene.store / f"{architecture}.pt").read_bytes()
    graph = cached_graph(architecture, hashlib.sha256(weights).hexdigest())
    assert graph
    batches = ready_batches(scene, recogniser)
    other = OpenVino(graph.data, graph.card.takes, crop_cut(architecture))
    engines = {OURS: recogniser._runtime, OTHER: other}
    same = _same([engine.forward(batches[0]) for engine in engines.values()], graph)
    rates: dict[str, list[float]] = {name: [] for name in engines}
    processor = interleaved(
        {name: _measured(engine, batches, rates[name]) for name, engine in engines.items()}, rounds
    )
    rows = [
        Row(f"{architecture}: OpenVINO over ONNX Runtime", _ratio(rates), "x"),
        Row(f"{architecture}: the same, processor time", _ratio(processor), "x"),
        Row(f"{architecture}: strings that OpenVINO reads the same", 100 * same, "%"),
        Row(f"{architecture}: ONNX Runtime", statistics.median(rates[OURS]), "crops/s"),
    ]
    return rows, rates


def _ratio(measured: dict[str, list[float]]) -> float:
    return median_ratio(measured[OTHER], measured[OURS])


def _same(logits: list[Any], graph: Graph) -> float:
    """Return the share of strings that both engines read alike."""
    assert graph.card.vocab
    decode = CtcDecoder(graph.card.vocab)
    ours, theirs = ([text for text, _ in decode(values)] for values in logits)
    return sum(mine == other for mine, other in zip(ours, theirs, strict=True)) / len(ours)


def _measured(engine: Any, batches: list[Pixels], rates: list[float]) -> Callable[[], float]:
    """Return a function that runs the batches and notes crops per second; it returns processor time."""

    def run() -> float:
        started, used = time.perf_counter(), time.process_time()
        read = sum(len(engine.forward(batch)) for batch in batches)
        rates.append(read / (time.perf_counter() - started))
        return 1e6 * (time.process_time() - used) / read

    return run
