"""Ray Data's `map_batches` around docTR's predictor: the usual alternative for bulk reading."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128

WRITERS = 1
"""Tasks that write results beside the actors, which have a core each."""


class Reader:
    """One actor with docTR's predictor, which decodes too; Ray lets it use one core.

    Args:
        scene: the model
        started: a folder for a file of each actor that is ready
    """

    def __init__(self, scene: Any, started: Path) -> None:
        from doctr.models import recognition_predictor

        self._predictor = recognition_predictor(scene.model(), batch_size=BATCH)
        (started / str(os.getpid())).write_text(str(time.time()))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Read a batch of files, named by its column `path`."""
        from doctr.io import DocumentFile

        read = self._predictor(DocumentFile.from_images(list(batch["path"])))
        return {"path": batch["path"], "value": np.array([value for value, _ in read])}


def ray_loop(scene: Any, folder: Path) -> Callable[[], float]:
    """Return a function that reads the scene's files with an actor per core, and writes JSON lines.

    It returns crops per second since all actors were ready. Ray ends with it: its processes take some percent
    of two cores while they wait, which the other contestants would pay for.
    """
    paths = [{"path": str(path)} for path in scene.files]
    runs = iter(range(1_000_000))

    def run() -> float:
        import ray

        started = folder / f"ray-started-{next(runs)}"
        started.mkdir()
        cores = os.cpu_count() or 1
        slots = cores + WRITERS
        ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            ray.data.DataContext.get_current().enable_progress_bars = False
            read = ray.data.from_items(paths).map_batches(
                Reader, fn_constructor_args=(scene, started), batch_size=BATCH, concurrency=cores
            )
            read.write_json(str(folder / "ray"))
            ended = time.time()
        finally:
            ray.shutdown()
        ready = max(float(file.read_text()) for file in started.iterdir())
        return len(paths) / (ended - ready)

    return run
