"""The forward alone: the product's own runtime on batches that are ready, the limit of end to end."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.apart import apart
from benchmarks.scene import BATCH, Scene
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from worker.app.launcher import child_environment
from worker.images.decode import decode_crop
from worker.kernels.pixels import Pixels
from worker.models.recognition import Recogniser, load_recogniser
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.torch import ReadLogits

IN_FLIGHT = 2
"""Batches that are run at once: the parts of one fill cores that wait for the last part of the other."""

AUTO = RuntimeOptions("auto")


@contextmanager
def best_forward(scene: Scene) -> Iterator[Callable[[], float]]:
    """Yield a function that returns crops per second of the forward alone, on all cores.

    It runs in a process of its own, with a worker's environment, since the allocator's settings count, and
    with a worker's runtime, which cuts batches into parts.
    """
    with apart(_measured, scene, child_environment("cpu", os.environ)) as run:
        yield run


def _measured(scene: Scene) -> Callable[[], float]:
    recogniser = recogniser_of(scene, "cpu", AUTO)
    return forward_rate(recogniser, ready_batches(scene, recogniser))


def forward_rate(recogniser: Recogniser, batches: list[Pixels]) -> Callable[[], float]:
    """Return a function that returns crops per second of the batches, with a worker's batches in flight."""
    pool = ThreadPoolExecutor(IN_FLIGHT)

    def run() -> float:
        started = time.perf_counter()
        read = sum(len(logits) for logits in pool.map(recogniser._runtime.forward, batches))
        return read / (time.perf_counter() - started)

    return run


def forward_alone(scene: Scene, device: str, options: RuntimeOptions) -> Callable[[], object]:
    """Return a function that runs the forward of each batch in turn; `device` is torch's name."""
    recogniser = recogniser_of(scene, device, options)
    batches = ready_batches(scene, recogniser)

    def read() -> None:
        logits: Any = None
        for batch in batches:
            logits = recogniser._runtime.forward(batch)
        # A GPU still works when a forward returns; this waits for the last one.
        if isinstance(logits, ReadLogits):
            logits.read.cpu()

    return read


def recogniser_of(scene: Scene, device: str, options: RuntimeOptions) -> Recogniser:
    """Return a worker's model of the scene."""
    store = ModelStore(str(scene.store), Storage(Settings()))
    return load_recogniser(scene.architecture, store, device, options)


def ready_batches(scene: Scene, recogniser: Recogniser) -> list[Pixels]:
    """Return all pieces of the scene's crops in full batches, (n, 3, height, width) uint8 each."""
    images = (decode_crop(path.read_bytes(), 10**8).pixels for path in scene.files)
    pieces = np.concatenate([recogniser.prepare(pixels).pieces for pixels in images])
    return [pieces[start : start + BATCH] for start in range(0, len(pieces), BATCH)]
