"""docTR's detection models: pages to maps of how likely each pixel belongs to text."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from doctr.transforms import Resize
from doctr.utils import Sample

from contract.model_store import ModelStore
from worker.kernels.pixels import Pixels
from worker.models.memory import Turns
from worker.models.runtimes import PAGES, TORCH, RuntimeOptions, make_runtime
from worker.models.weights import load_model

Map = npt.NDArray[np.float32]
"""(height, width, classes), each value in 0..1."""


class PageResize:
    """Scales a page to a detection model's input, as docTR does; stateless, so that threads may share it.

    Args:
        shape: the model's `input_shape`, (3, height, width)
    """

    def __init__(
        self, shape: tuple[int, int, int], *, preserve_aspect_ratio: bool, symmetric_padding: bool
    ) -> None:
        self._resize = Resize(
            shape[1:], preserve_aspect_ratio=preserve_aspect_ratio, symmetric_pad=symmetric_padding
        )

    def __call__(self, page: Pixels) -> Pixels:
        """Return (3, height, width) uint8 of a page, RGB (height, width, 3) uint8."""
        tensor = torch.from_numpy(np.ascontiguousarray(page)).permute(2, 0, 1)
        resized: Pixels = self._resize(Sample(image=tensor)).image.numpy()
        return resized


class Detector:
    """One architecture with its weights on one device; the forward is serialised.

    Args:
        model: a docTR detection model
        identity: what the summary says of it; the runtime's name and precision are added
        options: which runtime is wanted
    """

    sample, parameter = "page", "detection_model"

    def __init__(
        self, model: Any, device: torch.device, identity: dict[str, str], options: RuntimeOptions = TORCH
    ) -> None:
        self.input_shape: tuple[int, int, int] = tuple(model.cfg["input_shape"])
        self.class_names: list[str] = list(model.class_names)
        self._turns = Turns(device, self.sample, self.parameter)
        # FAST smooths its logits after the part that is exported.
        self._pooling = getattr(model, "pooling", None)
        self._postprocessor = type(model.postprocessor)
        self._runtime = make_runtime(model, identity, device, options, logits=True, cut=PAGES)
        self._lock = threading.Lock()
        self.identity = {**identity, "runtime": self._runtime.name, "precision": self._runtime.precision}

    @property
    def fitting_batch_size(self) -> int | None:
        """None until the device runs out of memory, and from then on the pages that it is given at once."""
        return self._turns.fitting

    def warm_up(self) -> None:
        """Read one black page; raises UnfitWorkerError if not even that can be done."""
        self.read(np.zeros((1, *self.input_shape), np.uint8))

    def postprocessor(
        self, binary_threshold: float, box_threshold: float, *, assume_straight_pages: bool
    ) -> Any:
        """Return docTR's postprocessor of this architecture: maps (n, height, width, classes) to boxes."""
        return self._postprocessor(
            bin_thresh=binary_threshold,
            box_thresh=box_threshold,
            assume_straight_pages=assume_straight_pages,
        )

    def read(self, batch: Pixels) -> list[Map]:
        """Return the map of each page, in as many turns as the device's memory asks for.

        Args:
            batch: (n, 3, height, width) uint8; normalised on the device

        Raises:
            UnfitWorkerError: not even one page fits, or the device has failed for good
            RuntimeError: the model fails on this batch
        """
        return self._turns.run(batch, self._forward)

    def _forward(self, batch: Pixels) -> list[Map]:
        with torch.inference_mode():
            with self._lock:
                logits = self._runtime.forward(batch)
            if self._pooling is not None:
                logits = self._pooling(logits)
            return list(torch.sigmoid(logits).permute(0, 2, 3, 1).cpu().numpy())


def load_detector(
    architecture: str, store: ModelStore | None, device: torch.device, options: RuntimeOptions = TORCH
) -> Detector:
    """Return a detector with the weights that `load_model` finds, and its errors."""
    model, identity = load_model("detection", architecture, store, device)
    return Detector(model, device, identity, options)
