"""Detection on a CPU by ncnn and by ONNX Runtime, side by side: which models are worth the second engine."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from doctr.models import detection
from doctr.models.detection.fast import reparameterize
from PIL import Image

from benchmarks.forward import AUTO, IN_FLIGHT
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import SAMPLES
from worker.kernels.pixels import Pixels
from worker.models.runtimes import GRAPH_RUNTIMES
from worker.models.runtimes.base import PAGES, Runtime
from worker.models.runtimes.choosing import WINOGRAD
from worker.models.runtimes.export import exported

BUNDLED = "linknet_resnet18"
OTHERS = ("linknet_resnet50", "db_mobilenet_v3_large")
"""Models that ONNX Runtime runs."""

OURS, THEIRS = "ncnn", "onnx"


def detectors(folder: Path, *, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of each model, and every measured rate. All weights but the bundled ones are random."""
    pages = [
        np.asarray(Image.open(path).convert("RGB").resize((1024, 1024))).transpose(2, 0, 1)
        for path in sorted((SAMPLES / "pages").glob("*.png"))
    ]
    batch = np.stack(pages[:2])
    rows: list[Row] = []
    rates: dict[str, Any] = {}
    # Random weights make larger logits, whose rounding is larger too.
    tolerant = mock.patch("worker.models.runtimes.export.TOLERANCE", 10.0)
    with mock.patch.dict(os.environ, {"DOCTR_CACHE_DIR": str(folder)}), tolerant:
        for architecture in (*WINOGRAD, *OTHERS):
            found, rates[architecture] = _model(architecture, batch, rounds)
            rows += found
    return rows, {"engines of detection": rates}


def _model(architecture: str, batch: Pixels, rounds: int) -> tuple[list[Row], dict[str, list[float]]]:
    graph = exported(
        _with_weights(architecture, batch), {"architecture": architecture, "weights_sha256": "bench"}
    )
    engines = {
        name: GRAPH_RUNTIMES[name].load(graph.data, graph.card.takes, PAGES, AUTO) for name in (OURS, THEIRS)
    }
    logits = {name: engine.forward(batch) for name, engine in engines.items()}
    rates: dict[str, list[float]] = {name: [] for name in engines}
    processor = interleaved(
        {name: _measured(engine, batch, rates[name]) for name, engine in engines.items()}, rounds
    )
    difference = float(np.abs(logits[OURS] - logits[THEIRS]).max() / np.abs(logits[THEIRS]).max())
    return [
        Row(f"{architecture}: ONNX Runtime", statistics.median(rates[THEIRS]), "pages/s"),
        Row(f"{architecture}: {engines[OURS].name}, over it", median_ratio(rates[OURS], rates[THEIRS]), "x"),
        Row(f"{architecture}: processor time", median_ratio(processor[OURS], processor[THEIRS]), "x"),
        Row(f"{architecture}: greatest difference of a logit, over the greatest logit", difference, ""),
    ], rates


def _with_weights(architecture: str, batch: Pixels) -> Any:
    torch.manual_seed(20)
    model = getattr(detection, architecture)(pretrained=False, pretrained_backbone=False)
    if architecture == BUNDLED:
        path = SAMPLES / "weights" / f"{BUNDLED}.pt"
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    # Random layers enlarge what passes through them, up to 10^10: no difference of logits would be small.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(torch.from_numpy(batch / np.float32(255)).float(), return_model_output=True)
    # As a worker does.
    return (reparameterize(model) if architecture.startswith("fast_") else model).eval()


def _measured(engine: Runtime, batch: Pixels, rates: list[float]) -> Callable[[], float]:
    """Return a function that runs the pages and notes pages per second; it returns processor time."""
    pool = ThreadPoolExecutor(IN_FLIGHT)

    def run() -> float:
        started, used = time.perf_counter(), time.process_time()
        read = sum(map(len, pool.map(engine.forward, [batch, batch])))
        rates.append(read / (time.perf_counter() - started))
        return (time.process_time() - used) / read

    return run
