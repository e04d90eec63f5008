"""The recognition model: synthetic crops, docTR's loss, exact matches on unseen fonts."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from doctr.transforms import Resize
from doctr.utils import Sample

from tools.training.architectures import build_trainable, normalised
from tools.training.crops import CropRenderer
from tools.training.schedule import difficulty
from tools.training.text import Writer

BATCH = 64  # crops
INPUT_PIXELS = (32, 128)  # height and width of docTR's recognition input
FULL_DIFFICULTY_AT = 0.35  # share of the run after which nothing gets harder
PAGE_TEXT_SHARE = 0.4  # of the trained strings are typical of pages: headings, amounts, frequent words
VALIDATION_CROPS = 512
VALIDATION_SEED = 99999
VALIDATION_BATCH = 128  # crops

Labelled = tuple[np.ndarray, str]
Render = Callable[[random.Random, str, float], np.ndarray]


class RecognitionTask:
    """Trains one of docTR's recognition architectures on `renderer`'s crops."""

    def __init__(
        self, architecture: str, writer: Writer, renderer: CropRenderer, held_out: CropRenderer
    ) -> None:
        self.architecture = architecture
        self.highest_rate = 1e-3
        self.full_difficulty_at = FULL_DIFFICULTY_AT
        self.writer, self.renderer = writer, renderer
        self.hard = validation_crops(writer, held_out.render)
        self.scanned = validation_crops(writer, held_out.render_scanned)

    def build(self) -> Any:
        """The architecture with random weights."""
        return build_trainable(self.architecture)

    def loss(self, model: Any, rng: random.Random, progress: float) -> torch.Tensor:
        """docTR's loss on `BATCH` crops."""
        level = difficulty(progress, self.full_difficulty_at)
        texts = [self._text(rng) for _ in range(BATCH)]
        images = [self.renderer.render_mixed(rng, text, level) for text in texts]
        with torch.autocast("cpu", torch.bfloat16):
            return model(normalised(model, resized(images)), texts)["loss"]

    def validate(self, model: Any) -> dict[str, float]:
        """Share of exact matches on the hard and on the scanned held-out set."""
        return {"hard": exact_matches(model, self.hard), "scanned": exact_matches(model, self.scanned)}

    def _text(self, rng: random.Random) -> str:
        return self.writer.running(rng) if rng.random() < PAGE_TEXT_SHARE else self.writer.word(rng)


def validation_crops(writer: Writer, render: Render, count: int = VALIDATION_CROPS) -> list[Labelled]:
    """A seeded set: `count` crops at full difficulty with their texts."""
    rng = random.Random(VALIDATION_SEED)
    texts = [writer.word(rng) for _ in range(count)]
    return [(render(rng, text, 1.0), text) for text in texts]


def exact_matches(model: Any, crops: Sequence[Labelled]) -> float:
    """Share of `crops` that `model` reads without a single wrong letter."""
    right = 0
    for start in range(0, len(crops), VALIDATION_BATCH):
        part = crops[start : start + VALIDATION_BATCH]
        with torch.inference_mode():
            batch = normalised(model, resized([image for image, _ in part]))
            read = model(batch, return_preds=True)["preds"]
        right += sum(value == text for (value, _), (_, text) in zip(read, part, strict=True))
    return round(right / len(crops), 4)


def resized(images: Sequence[np.ndarray]) -> np.ndarray:
    """Crops of any size through docTR's own resizing, uint8 (N, 32, 128, 3)."""
    resize = Resize(INPUT_PIXELS, preserve_aspect_ratio=True)
    tensors = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]
    return torch.stack([resize(Sample(image=tensor)).image for tensor in tensors]).permute(0, 2, 3, 1).numpy()
