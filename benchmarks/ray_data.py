"""Ray Data's `map_batches` around docTR's predictor: the usual way to read in bulk without this product."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128


class Reader:
    """One actor, with docTR's predictor in it."""

    def __init__(self, scene: Any) -> None:
        from doctr.models import recognition_predictor

        self._predictor = recognition_predictor(scene.model(), batch_size=BATCH)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Read a batch of files; its column `path` names them."""
        from doctr.io import DocumentFile

        read = self._predictor(DocumentFile.from_images(list(batch["path"])))
        return {"path": batch["path"], "value": np.array([value for value, _ in read])}


def ray_loop(scene: Any, folder: Path) -> Callable[[], object]:
    """Return a function that reads the scene's files with one actor, and writes JSON lines."""
    import ray

    ray.shutdown()  # a second look has a Ray of its own, as the first had
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    paths = [{"path": str(path)} for path in scene.files]

    def read() -> None:
        data = ray.data.from_items(paths).map_batches(
            Reader, fn_constructor_args=(scene,), batch_size=BATCH, concurrency=1
        )
        data.write_json(str(folder / "ray"))

    return read
