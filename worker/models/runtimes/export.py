"""Export docTR's models as graphs, and keep those whose logits agree with torch's."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from doctr.models.utils import export_model_to_onnx
from filelock import FileLock

from contract.errors import SettingsError
from worker.kernels.normalise import Normaliser
from worker.kernels.pieces import PieceShape
from worker.models.runtimes.base import Cut, ModelInput, Runtime, RuntimeOptions
from worker.models.runtimes.choosing import graph_runtime
from worker.models.runtimes.graphs import Graph, GraphCard, HubFile, cached_graph, graph_path, write_card
from worker.models.runtimes.onnx import OnnxRuntime
from worker.models.runtimes.torch import Read, TorchRuntime

TOLERANCE = 1e-3
"""Maximum difference between an exported model's logits and torch's, on noise; the measured one is 3e-6."""

PROBE = 3
"""Samples in that comparison; more than the one sample that the export is traced with."""


def make_runtime(
    model: Any,
    identity: dict[str, str],
    device: str,
    options: RuntimeOptions,
    *,
    logits: bool,
    cut: Cut,
    pieces: PieceShape | None = None,
    hub: HubFile | None = None,
    read: Read | None = None,
) -> Runtime:
    """Return the runtime that the options select, or torch if that one cannot run the model.

    Args:
        identity: the model's architecture, `weights_sha256` and versions
        device: torch's name of the device
        logits: the caller decodes the model's logits
        cut: how an engine splits a batch
        pieces, hub: for the card of its graph
        read: as `TorchRuntime`

    Raises:
        SettingsError: the options ask for an engine that is not installed, or cannot use the device
    """
    engine = graph_runtime(identity.get("architecture", ""), device, options)
    if engine:
        try:
            graph = exported(model, identity, pieces, hub)
            return engine.load(graph.data, graph.card.takes, cut, options)
        except SettingsError:
            raise
        # Any exception: exporters fail in many ways, and torch reads the same strings, but slower.
        except Exception as error:
            structlog.get_logger().warning("onnx_not_used", error=f"{type(error).__name__}: {error}")
    return TorchRuntime(model, device, options, logits=logits, read=read)


def exported(
    model: Any, identity: dict[str, str], pieces: PieceShape | None = None, hub: HubFile | None = None
) -> Graph:
    """Return the model's graph from the cache, exporting it if needed; a lock admits one process at a time.

    Args:
        pieces, hub: for its card

    Raises:
        ValueError: the graph's logits differ from the model's
    """
    path = graph_path(identity["architecture"], identity["weights_sha256"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".trace-ocr.lock"):
        found = cached_graph(identity["architecture"], identity["weights_sha256"])
        data = found.data if found else _made(model, path)
        card = GraphCard(
            graph_sha256=found.card.graph_sha256 if found else hashlib.sha256(data).hexdigest(),
            doctr=identity.get("doctr", ""),
            torch=identity.get("torch", ""),
            takes=ModelInput.of(model.cfg),
            vocab=getattr(model, "vocab", None),
            pieces=pieces,
            hub=hub or (found.card.hub if found else None),
        )
        if found is None or card != found.card:
            write_card(path, card)
    return Graph(data, card)


def _made(model: Any, path: Path) -> bytes:
    """Export the model to the path; return the file's content."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}")
    try:
        made = Path(_export(model, unfinished))
        data = made.read_bytes()
        _verify(model, OnnxRuntime(data, ModelInput.of(model.cfg)))
        made.replace(path)
    finally:
        unfinished.with_name(unfinished.name + ".onnx").unlink(missing_ok=True)
    return data


def _export(model: Any, target: Path) -> str:
    """Export with docTR's own exporter, which adds `.onnx` to the name; return the file's name."""
    with _exportable(model):
        return export_model_to_onnx(model, str(target), torch.zeros(1, *model.cfg["input_shape"]))


def _verify(model: Any, runtime: Runtime) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (PROBE, *model.cfg["input_shape"]), np.uint8)
    with _exportable(model), torch.inference_mode():
        values = Normaliser(model.cfg["mean"], model.cfg["std"])(noise)
        expected = model(torch.from_numpy(values))["logits"].numpy()
    difference = float(np.abs(runtime.forward(noise) - expected).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"the exported model's logits differ by {difference:g} from torch's")


@contextlib.contextmanager
def _exportable(model: Any) -> Iterator[None]:
    """Make docTR's model return only its logits for a block."""
    before, model.exportable = model.exportable, True
    try:
        yield
    finally:
        model.exportable = before
