"""Stage 6: docTR's recognition models.

Everything that decides a string is docTR's own code: resizing, normalisation, splitting of wide crops, the
model, merging of the split strings; or its arithmetic, bit for bit, where that was slow.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from doctr.models.preprocessor import PreProcessor
from doctr.models.recognition import CRNN
from doctr.models.recognition.predictor import RecognitionPredictor
from doctr.models.recognition.predictor._utils import remap_preds

from contract.model_store import ModelStore
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import CropMap, PreparedCrop, Preprocessor
from worker.models.ctc import CtcDecoder, Prediction
from worker.models.memory import Turns
from worker.models.runtimes import TORCH, RuntimeOptions, make_runtime
from worker.models.weights import load_model


class Recogniser:
    """One architecture with its weights on one device; the forward is serialised.

    Args:
        model: a docTR recognition model
        device: where it runs
        identity: what the summary says of it; the runtime's name and precision are added
        options: which runtime is wanted
    """

    sample, parameter = "crop", "recognition_model"

    def __init__(
        self,
        model: Any,
        device: torch.device,
        identity: dict[str, str],
        options: RuntimeOptions = TORCH,
    ) -> None:
        self._turns = Turns(device, self.sample, self.parameter)
        self._shape = model.cfg["input_shape"]
        height, width = self._shape[-2:]
        ours = RecognitionPredictor(PreProcessor((height, width), batch_size=1), model)
        self._overlap_ratio = ours.overlap_ratio
        self._preprocessor = Preprocessor(height, width, ours.critical_ar, ours.target_ar, ours.overlap_ratio)
        is_crnn = isinstance(model, CRNN)
        self._runtime = make_runtime(model, identity, device, options, logits=is_crnn)
        self._decode: Callable[[torch.Tensor], list[Prediction]] = (
            CtcDecoder(model.vocab) if is_crnn else getattr(model, "postprocessor", list)
        )
        self._lock = threading.Lock()
        self.identity = {**identity, "runtime": self._runtime.name, "precision": self._runtime.precision}

    @property
    def fitting_batch_size(self) -> int | None:
        """None until the device runs out of memory, and from then on the pieces that it is given at once."""
        return self._turns.fitting

    def warm_up(self) -> None:
        """Read one black piece: what a device and its libraries set up at the first forward is then done.

        Raises:
            UnfitWorkerError: not even one piece can be read
        """
        self.read(np.zeros((1, *self._shape), np.uint8))

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces as the model takes them; wide crops have several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        return self._preprocessor.prepare(pixels)

    def read(self, batch: Pixels) -> list[Prediction]:
        """Return (string, confidence) of each piece, in as many turns as the device's memory asks for.

        Args:
            batch: (n, 3, height, width) uint8; normalised on the device

        Raises:
            UnfitWorkerError: not even one piece fits, or the device has failed for good
            RuntimeError: the model fails on this batch
        """
        return self._turns.run(batch, self._forward)

    def _forward(self, batch: Pixels) -> list[Prediction]:
        with self._lock:
            output = self._runtime.forward(batch)
        # Outside the lock: while one chunk's strings are put together, the device has the other's batch.
        with torch.inference_mode():
            read: list[Prediction] = self._decode(output) if torch.is_tensor(output) else output
        return read

    def join(self, crop_map: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        """Return the whole crop's (string, confidence) from those of its pieces."""
        value, confidence = remap_preds(list(predictions), crop_map, self._overlap_ratio)[0]
        return value, float(confidence)


def load_recogniser(
    architecture: str, store: ModelStore | None, device: torch.device, options: RuntimeOptions = TORCH
) -> Recogniser:
    """Return a recogniser with the weights that `load_model` finds, and its errors."""
    model, identity = load_model("recognition", architecture, store, device)
    return Recogniser(model, device, identity, options)
