"""Ray Data's `map_batches` around docTR's predictor: the usual alternative for bulk reading."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128


class Reader:
    """One actor with docTR's predictor."""

    def __init__(self, scene: Any) -> None:
        from doctr.models import recognition_predictor

        self._predictor = recognition_predictor(scene.model(), batch_size=BATCH)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Read a batch of files, named by its column `path`."""
        from doctr.io import DocumentFile

        read = self._predictor(DocumentFile.from_images(list(batch["path"])))
        return {"path": batch["path"], "value": np.array([value for value, _ in read])}


def ray_loop(scene: Any, folder: Path) -> Callable[[], object]:
    """Return a function that reads the scene's files with one actor, and writes JSON lines."""
    import ray

    ray.shutdown()  # a second measurement starts a new Ray, like the first
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    paths = [{"path": str(path)} for path in scene.files]

    def read() -> None:
        data = ray.data.from_items(paths).map_batches(
            Reader, fn_constructor_args=(scene,), batch_size=BATCH, concurrency=1
        )
        data.write_json(str(folder / "ray"))

    return read
