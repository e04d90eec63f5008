"""Step 6: docTR's recognition models.

Everything that decides a string is docTR's own code: resizing, normalisation, splitting of wide crops, the
model, merging of the split strings. Where docTR's code is slow, ours computes the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from doctr.models.preprocessor import PreProcessor
from doctr.models.recognition import CRNN
from doctr.models.recognition.predictor import RecognitionPredictor
from doctr.models.recognition.predictor._utils import remap_preds

from contract.model_store import ModelStore
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import CropMap, PreparedCrop, Preprocessor
from worker.models.ctc import CtcDecoder, Prediction
from worker.models.device_model import DeviceModel
from worker.models.runtimes import TORCH, RuntimeOptions, make_runtime
from worker.models.weights import load_model


class Recogniser(DeviceModel[Prediction]):
    """Reads pieces of crops: returns a string and its confidence for each.

    Args:
        model: a docTR recognition model
        options: selects the runtime
    """

    sample, parameter = "crop", "recognition_model"

    def __init__(
        self,
        model: Any,
        device: torch.device,
        identity: dict[str, str],
        options: RuntimeOptions = TORCH,
    ) -> None:
        is_crnn = isinstance(model, CRNN)
        super().__init__(
            model, device, identity, make_runtime(model, identity, device, options, logits=is_crnn)
        )
        height, width = self.input_shape[-2:]
        ours = RecognitionPredictor(PreProcessor((height, width), batch_size=1), model)
        self._overlap_ratio = ours.overlap_ratio
        self._preprocessor = Preprocessor(height, width, ours.critical_ar, ours.target_ar, ours.overlap_ratio)
        self._decode: Callable[[torch.Tensor], list[Prediction]] = (
            CtcDecoder(model.vocab) if is_crnn else getattr(model, "postprocessor", list)
        )

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces for the model; a wide crop has several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        return self._preprocessor.prepare(pixels)

    def _decoded(self, output: Any) -> list[Prediction]:
        read: list[Prediction] = self._decode(output) if torch.is_tensor(output) else output
        return read

    def join(self, crop_map: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        """Return the crop's (string, confidence), joined from those of its pieces."""
        value, confidence = remap_preds(list(predictions), crop_map, self._overlap_ratio)[0]
        return value, float(confidence)


def load_recogniser(
    architecture: str, store: ModelStore | None, device: torch.device, options: RuntimeOptions = TORCH
) -> Recogniser:
    """Return a recogniser with the weights that `load_model` finds; raises as `load_model`."""
    model, identity = load_model("recognition", architecture, store, device)
    return Recogniser(model, device, identity, options)
