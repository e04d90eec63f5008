"""Step 6: docTR's recognition models.

Everything that decides a string is docTR's own code: resizing, normalisation, splitting of wide crops, the
model, merging of the split strings. Where docTR's code is slow, ours computes the same bits.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from doctr.models.preprocessor import PreProcessor
from doctr.models.recognition import CRNN
from doctr.models.recognition.predictor import RecognitionPredictor
from doctr.models.recognition.predictor._utils import remap_preds

from contract.model_store import ModelStore
from worker.kernels.pieces import CropMap, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import Preprocessor
from worker.models.characters import WhitelistedRuntime, allowed_in, forbidden_classes
from worker.models.ctc import CtcDecoder, Prediction
from worker.models.device_model import DeviceModel
from worker.models.runtimes import TORCH, OnnxRuntime, Runtime, RuntimeOptions, TorchRuntime, make_runtime
from worker.models.weights import load_model

LOOPED = ("parseq", "sar_resnet31", "master")
"""Architectures that read character by character: each choice depends on those before it, so that characters
must be masked inside the loop."""


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
        runtime = make_runtime(model, identity, device, options, logits=is_crnn)
        super().__init__(model, device, identity, runtime)
        self._vocab: str = model.vocab
        self._allowed: str | None = None
        masks_logits = is_crnn or (
            isinstance(runtime, OnnxRuntime) and identity["architecture"] not in LOOPED
        )
        self._masked = None if masks_logits else _maskable(runtime, model, device, options)
        height, width = self.input_shape[-2:]
        ours = RecognitionPredictor(PreProcessor((height, width), batch_size=1), model)
        self._overlap_ratio = ours.overlap_ratio
        shape = PieceShape(height, width, ours.critical_ar, ours.target_ar, ours.overlap_ratio)
        self._preprocessor = Preprocessor(shape)
        self.pieces = shape if self._preprocessor.compiled else None
        self._decode: Callable[[torch.Tensor], list[Prediction]] = (
            CtcDecoder(model.vocab) if is_crnn else getattr(model, "postprocessor", list)
        )

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces for the model; a wide crop has several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        return self._preprocessor.prepare(pixels)

    def restricted_to(self, characters: str) -> "Recogniser":
        """Return this model, sharing its memory on the device, with readings of only some characters.

        Args:
            characters: a `characters` parameter

        Raises:
            ModelUnavailableError: the model can read none of them
        """
        allowed = allowed_in(characters, self._vocab, self.identity["name"])
        restricted = copy.copy(self)
        if self._masked:
            restricted._runtime = WhitelistedRuntime(*self._masked, allowed)
        else:
            restricted._allowed = allowed
        return restricted

    def _decoded(self, output: Any) -> list[Prediction]:
        if self._allowed is not None and torch.is_tensor(output):
            forbidden = forbidden_classes(self._vocab, self._allowed, output.shape[-1]).to(output.device)
            output = output.masked_fill(forbidden, float("-inf"))
        read: list[Prediction] = self._decode(output) if torch.is_tensor(output) else output
        return read

    def join(self, crop_map: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        """Return the crop's (string, confidence), joined from those of its pieces."""
        whole = crop_map == [0]
        value, confidence = (
            predictions[0] if whole else remap_preds(list(predictions), crop_map, self._overlap_ratio)[0]
        )
        return value, float(confidence)


def _maskable(
    runtime: Runtime, model: Any, device: torch.device, options: RuntimeOptions
) -> tuple[Runtime, Any]:
    """Return a torch runtime of the model that docTR's whitelist works on, and the model."""
    if runtime.name == TorchRuntime.name:
        return runtime, model
    # Exported and compiled models do not call the hooks that mask their last layer.
    return TorchRuntime(model, device, replace(options, torch_compile=False), logits=False), model


def load_recogniser(
    name: str, store: ModelStore | None, device: torch.device, options: RuntimeOptions = TORCH
) -> Recogniser:
    """Return a recogniser with the weights that `load_model` finds; raises as `load_model`."""
    model, identity = load_model("recognition", name, store, device)
    return Recogniser(model, device, identity, options)
