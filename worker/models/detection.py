"""docTR's detection models: pages to maps with the probability that each pixel belongs to text."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from doctr.transforms import Resize
from doctr.utils import Sample

from contract.model_store import ModelStore
from worker.kernels.pixels import Pixels
from worker.models.device_model import DeviceModel
from worker.models.doctr_models import load_model
from worker.models.runtimes.base import PAGES, TORCH, RuntimeOptions
from worker.models.runtimes.export import make_runtime

Map = npt.NDArray[np.float32]
"""(height, width, classes), each value in 0..1."""


class PageResize:
    """Scales a page to a detection model's input, as docTR does; stateless, so thread-safe.

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
