"""Ray Data around docTR's predictors: the usual alternative for bulk reading."""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scene import BATCH, Scene

ACTORS_START_SECONDS = 300
"""Maximum seconds to wait for Ray's actors, which load torch and the models."""

OTHER_TASKS = 1
"""Tasks that Ray runs beside the actors, which have a core each: those that prepare rows, or write them."""


class CropReader:
    """One of Ray's actors, with docTR's predictor; it decodes the crops too. Ray gives it one core."""

    def __init__(self, scene: Scene) -> None:
        from doctr.models import recognition_predictor

        self._predictor = recognition_predictor(scene.model(), batch_size=BATCH)
        self._predictor([np.zeros((32, 128, 3), np.uint8)])  # the first call is slower

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Read a batch of files, the column `path`; say when that began, in Unix seconds."""
        from doctr.io import DocumentFile

        begun = time.time()
        read = self._predictor(DocumentFile.from_images(list(batch["path"])))
        values = np.array([value for value, _ in read])
        return {"path": batch["path"], "value": values, "begun": np.full(len(values), begun)}


def ray_crops(scene: Scene, folder: Path) -> Callable[[], float]:
    """Return a function that reads the scene's crops, as `ray_rate`."""
    paths = [{"path": str(path)} for path in scene.files]
    return ray_rate(lambda data: data.from_items(paths), CropReader, (scene,), BATCH, folder)


def ray_rate(
    source: Callable[[Any], Any], reader: type, arguments: Sequence[Any], batch: int, folder: Path
) -> Callable[[], float]:
    """Return a function that reads a data set with an actor per core, and returns rows per second.

    It writes JSON lines. The start of the actors, and what is prepared for them meanwhile, do not count. Ray
    runs in its own turn only: its processes take some percent of two cores from the others while they wait.

    Args:
        source: `ray.data` -> the data set
        reader: the actors' class, made with the arguments; adds the column `begun` to what it has read
        batch: rows per call of an actor
        folder: for the results
    """
    runs = iter(range(1_000_000))

    def run() -> float:
        import ray

        cores, out = len(os.sched_getaffinity(0)), folder / f"ray-{next(runs)}"
        slots = cores + OTHER_TASKS
        ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars, context.wait_for_min_actors_s = False, ACTORS_START_SECONDS
            actors = ray.data.ActorPoolStrategy(size=cores)
            source(ray.data).map_batches(
                reader, fn_constructor_args=arguments, batch_size=batch, compute=actors, num_cpus=1
            ).write_json(str(out))
            ended = time.time()
        finally:
            ray.shutdown()
        lines = [json.loads(line) for part in out.iterdir() for line in part.read_text().splitlines()]
        return len(lines) / (ended - min(line["begun"] for line in lines))

    return run
