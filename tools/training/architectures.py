"""docTR's architectures for the recipe: built with random weights, fed with normalised batches."""

from typing import Any

import numpy as np
import torch
from doctr.models import detection, recognition
from doctr.models.detection.zoo import ARCHS as DETECTION
from doctr.models.recognition.zoo import ARCHS as RECOGNITION

from tools.training.errors import UnknownArchitectureError
from tools.training.sources import VOCAB

# The last layers of docTR's DBNet, LinkNet and CRNN, by their attributes.
HEADS = ("prob_head", "thresh_head", "classifier", "linear")


def task_of(architecture: str) -> str:
    """`detection` or `recognition`.

    Raises:
        UnknownArchitectureError: docTR has no such architecture
    """
    if architecture in DETECTION:
        return "detection"
    if architecture in RECOGNITION:
        return "recognition"
    raise UnknownArchitectureError(
        f"docTR has no architecture {architecture!r}; it has {', '.join([*DETECTION, *RECOGNITION])}"
    )


def build(architecture: str, vocab: str = VOCAB) -> Any:
    """A docTR model with random weights; nothing is downloaded."""
    if task_of(architecture) == "detection":
        return getattr(detection, architecture)(pretrained=False, pretrained_backbone=False)
    return getattr(recognition, architecture)(pretrained=False, pretrained_backbone=False, vocab=vocab)


def build_trainable(architecture: str) -> Any:
    """A model whose heads hand float32 to docTR's loss, so that bfloat16 stays inside the convolutions."""
    model = build(architecture)
    for name in HEADS:
        if hasattr(model, name):
            getattr(model, name).register_forward_hook(lambda _module, _inputs, output: output.float())
    return model


def normalised(model: Any, images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) to `model`'s input: float32 (N, 3, H, W), the architecture's mean and deviation."""
    batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
    mean, deviation = (torch.tensor(model.cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return ((batch - mean) / deviation).to(memory_format=torch.channels_last)
