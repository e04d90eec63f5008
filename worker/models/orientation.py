"""docTR's orientation classifiers: the rotation of a page or a word."""

import threading
from typing import Any

import numpy as np
from doctr.models.classification.predictor import OrientationPredictor
from doctr.models.preprocessor import PreProcessor

from contract.architectures import ORIENTATION_MODELS
from contract.model_store import ModelStore
from worker.kernels.pixels import Pixels
from worker.models.doctr_models import load_model

CROP_ORIENTATION, PAGE_ORIENTATION = ORIENTATION_MODELS

BATCH_SIZES = {CROP_ORIENTATION: 128, PAGE_ORIENTATION: 4}
"""Images classified at once: docTR's defaults."""

DISABLED = OrientationPredictor(None, None)
"""docTR's classifier that reports every image as upright."""


class OrientationClassifier:
    """One classifier on one device; a lock makes it thread-safe."""

    def __init__(self, model: Any, architecture: str, device: str) -> None:
        self._lock = threading.Lock()
        self._predictor = OrientationPredictor(
            PreProcessor(
                model.cfg["input_shape"][1:],
                BATCH_SIZES[architecture],
                mean=model.cfg["mean"],
                std=model.cfg["std"],
                preserve_aspect_ratio=True,
                symmetric_pad=True,
            ),
            model.to(device),
        )

    def warm_up(self) -> None:
        """Classify one black image."""
        self([np.zeros((32, 32, 3), np.uint8)])

    def __call__(self, images: list[Pixels]) -> Any:
        """Return docTR's three lists: class numbers, degrees, confidences."""
        with self._lock:
            return self._predictor(images)


def load_orientation(architecture: str, store: ModelStore | None, device: str) -> OrientationClassifier:
    """Return a classifier with the weights that `load_model` finds; raises as `load_model`."""
    model, _ = load_model("orientation", architecture, store, device)
    return OrientationClassifier(model, architecture, device)
