"""docTR's recognition models as docTR builds them: on torch, or exported for an engine of graphs."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from doctr.models.preprocessor import PreProcessor
from doctr.models.recognition import CRNN
from doctr.models.recognition.predictor import RecognitionPredictor
from doctr.models.utils import add_whitelist
from torch.nn import functional

from contract.model_store import ModelStore
from worker.kernels.pieces import PieceShape
from worker.kernels.pixels import Pixels
from worker.models.ctc import Confidences, CtcDecoder, Forbidden, Paths, Prediction
from worker.models.doctr_models import load_found
from worker.models.recognition import Decode, Reading, Recogniser
from worker.models.runtimes.base import TORCH, Output, Runtime, RuntimeOptions
from worker.models.runtimes.choosing import crop_cut
from worker.models.runtimes.export import make_runtime
from worker.models.runtimes.graphs import HubFile
from worker.models.runtimes.torch import ReadLogits, TorchRuntime
from worker.models.weights import Found

LOOPED = ("parseq", "sar_resnet31", "master")
"""Architectures that read character by character: each choice depends on those before it, so that characters
must be masked inside the loop."""


def by_doctr(found: Found, store: ModelStore | None, device: str, options: RuntimeOptions) -> Recogniser:
    """Return a recogniser with the weights that were found; raises as `load_recogniser`."""
    model, identity, hub = load_found("recognition", found, store, device)
    return recogniser_of(model, device, identity, options, hub)


def recogniser_of(
    model: Any,
    device: str,
    identity: dict[str, str],
    options: RuntimeOptions = TORCH,
    hub: HubFile | None = None,
) -> Recogniser:
    """Return a recogniser of docTR's model.

    Args:
        device: torch's name of the device
        identity: what the summary says about the model
        options: selects the runtime
        hub: the file that docTR has downloaded for the model
    """
    is_crnn = isinstance(model, CRNN)
    shape: tuple[int, int, int] = tuple(model.cfg["input_shape"])
    pieces = _pieces(model, *shape[-2:])
    alone = pieces if is_crnn else None
    cut = crop_cut(identity.get("architecture", ""))
    runtime = make_runtime(
        model,
        identity,
        device,
        options,
        logits=is_crnn,
        cut=cut,
        pieces=alone,
        hub=hub,
        read=read_best_paths if is_crnn else None,
    )
    decode = _ctc(model.vocab) if is_crnn else partial(_by_postprocessor, model)
    looped = identity.get("architecture") in LOOPED or isinstance(runtime, TorchRuntime)
    whitelisted = None if is_crnn or not looped else partial(_whitelisted, runtime, model, device, options)
    return Recogniser(Reading(model.vocab, pieces, decode, whitelisted), shape, device, identity, runtime)


def _pieces(model: Any, height: int, width: int) -> PieceShape:
    """Return how docTR's predictor cuts crops for a model."""
    doctrs = RecognitionPredictor(PreProcessor((height, width), batch_size=1), model)
    return PieceShape(height, width, doctrs.critical_ar, doctrs.target_ar, doctrs.overlap_ratio)


def _ctc(vocab: str) -> Decode:
    decoder = CtcDecoder(vocab)

    def decode(output: Output, forbidden: Forbidden | None) -> list[Prediction]:
        if isinstance(output, np.ndarray):
            return decoder(output, forbidden)
        if isinstance(output, ReadLogits):
            if forbidden is None:
                return decoder.predictions(*best_paths_of(output.read))
            output = output.logits
        return decode_tensor(decoder, output, forbidden)

    return decode


@torch.inference_mode()
def decode_tensor(
    decoder: CtcDecoder, logits: torch.Tensor, forbidden: Forbidden | None = None
) -> list[Prediction]:
    """Return (string, confidence) of each piece of logits on any device, (n, columns, classes)."""
    if logits.device.type == "cpu":
        return decoder(logits.float().numpy(), forbidden)
    return decoder.predictions(*best_paths_of(read_best_paths(_masked(logits, forbidden))))


def read_best_paths(logits: torch.Tensor) -> torch.Tensor:
    """Return what `best_paths` does, on the logits' device: a hundredth of their bytes is copied from there.

    Args:
        logits: (n, columns, classes)

    Returns:
        (n, columns + 1) int32: the classes, and the bits of the confidence as float32; one tensor is copied
        at once
    """
    confidences = functional.softmax(logits, dim=-1).amax(dim=-1).amin(dim=1)
    classes = torch.argmax(logits, dim=-1).to(torch.int32)
    return torch.cat((classes, confidences.float().view(torch.int32)[:, None]), dim=1)


def best_paths_of(read: torch.Tensor) -> tuple[Paths, Confidences]:
    """Return the classes and confidences that `read_best_paths` has put together."""
    values = read.cpu().numpy()
    return values[:, :-1], np.ascontiguousarray(values[:, -1]).view(np.float32)


def _masked(logits: torch.Tensor, forbidden: Forbidden | None) -> torch.Tensor:
    if forbidden is None:
        return logits
    return logits.masked_fill(torch.from_numpy(forbidden).to(logits.device), float("-inf"))


@torch.inference_mode()
def _by_postprocessor(model: Any, output: Output, forbidden: Forbidden | None) -> list[Prediction]:
    """Return docTR's decoding of an engine's logits; torch runtimes of these models have decoded them."""
    if isinstance(output, list):
        return output
    read: list[Prediction] = model.postprocessor(_masked(torch.from_numpy(output), forbidden))
    return read


def _whitelisted(
    runtime: Runtime, model: Any, device: str, options: RuntimeOptions, allowed: str
) -> "WhitelistedRuntime":
    if runtime.name != TorchRuntime.name:
        # Exported and compiled models do not call the hooks that mask their last layer.
        runtime = TorchRuntime(model, device, replace(options, torch_compile=False), logits=False)
    return WhitelistedRuntime(runtime, model, allowed)


class WhitelistedRuntime:
    """A torch runtime whose model may choose only some characters while it runs.

    docTR's own `add_whitelist` masks the last layer's output, also inside the loop of models that read
    character by character.

    Args:
        runtime: runs `model`, uncompiled; its `forward` is called by one thread at a time
        model: docTR's model
        allowed: the characters
    """

    takes_turns = False

    def __init__(self, runtime: Runtime, model: Any, allowed: str) -> None:
        self.name, self.precision = runtime.name, runtime.precision
        self._runtime, self._model, self._allowed = runtime, model, allowed

    def forward(self, batch: Pixels) -> Output:
        """Return the runtime's output under docTR's whitelist."""
        with add_whitelist(self._model, self._allowed):
            return self._runtime.forward(batch)
