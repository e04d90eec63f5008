"""docTR's detection models: pages to maps with the probability that each pixel belongs to text."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from contract.model_store import ModelStore
from worker.kernels.pixels import Pixels
from worker.kernels.scaling import make_resample
from worker.models.device_model import DeviceModel
from worker.models.doctr_models import load_model
from worker.models.runtimes.base import PAGES, TORCH, RuntimeOptions
from worker.models.runtimes.export import make_runtime

Map = npt.NDArray[np.float32]
"""(height, width, classes), each value in 0..1."""


class PageResize:
    """Scales a page to a detection model's input, with docTR's bytes; stateless, so thread-safe.

    Args:
        shape: the model's `input_shape`, (3, height, width)
    """

    def __init__(
        self, shape: tuple[int, int, int], *, preserve_aspect_ratio: bool, symmetric_padding: bool
    ) -> None:
        self._shape, self._preserve, self._symmetric = shape, preserve_aspect_ratio, symmetric_padding
        self._resample = make_resample()

    def __call__(self, page: Pixels) -> Pixels:
        """Return (3, height, width) uint8 of a page, RGB (height, width, 3) uint8."""
        height, width = self._scaled(page.shape[0] / page.shape[1])
        resized = np.zeros(self._shape, np.uint8)
        # docTR rounds up what is above and left.
        top = (self._shape[1] - height + 1) // 2 if self._symmetric else 0
        left = (self._shape[2] - width + 1) // 2 if self._symmetric else 0
        self._resample(page, height, width, resized[:, top:, left:])
        return resized

    def _scaled(self, ratio: float) -> tuple[int, int]:
        """Return the height and width within the input of a page with a ratio of height to width."""
        _, height, width = self._shape
        if not self._preserve or ratio == height / width:
            return height, width
        if ratio > height / width:
            return height, max(int(height / ratio), 1)
        return max(int(width * ratio), 1), width


class Detector(DeviceModel[Map]):
    """Reads pages: returns a map per page with the probability that each pixel belongs to text.

    Args:
        model: a docTR detection model
        options: selects the runtime
    """

    sample, parameter = "page", "detection_model"

    def __init__(
        self, model: Any, device: str, identity: dict[str, str], options: RuntimeOptions = TORCH
    ) -> None:
        runtime = make_runtime(model, identity, device, options, logits=True, cut=PAGES)
        super().__init__(tuple(model.cfg["input_shape"]), device, identity, runtime)
        self.class_names: list[str] = list(model.class_names)
        # FAST smooths its logits in a layer that is not exported.
        self._pooling = getattr(model, "pooling", None)
        self._postprocessor = type(model.postprocessor)

    def postprocessor(
        self, binary_threshold: float, box_threshold: float, *, assume_straight_pages: bool
    ) -> Any:
        """Return docTR's postprocessor of this architecture: maps (n, height, width, classes) to boxes."""
        return self._postprocessor(
            bin_thresh=binary_threshold,
            box_thresh=box_threshold,
            assume_straight_pages=assume_straight_pages,
        )

    @torch.inference_mode()
    def _decoded(self, output: Any) -> list[Map]:
        logits = torch.from_numpy(output) if isinstance(output, np.ndarray) else output
        if self._pooling is not None:
            logits = self._pooling(logits)
        return list(torch.sigmoid(logits).permute(0, 2, 3, 1).cpu().numpy())


def load_detector(
    name: str, store: ModelStore | None, device: str, options: RuntimeOptions = TORCH
) -> Detector:
    """Return a detector with the weights that `load_model` finds; raises as `load_model`."""
    model, identity = load_model("detection", name, store, device)
    return Detector(model, device, identity, options)
