"""The detection model: tiles of synthetic pages, docTR's loss, recall and precision on unseen fonts."""

import random
from collections import deque
from typing import Any

import numpy as np
import torch
from doctr.utils.metrics import LocalizationConfusion

from tools.training.architectures import build_trainable, normalised
from tools.training.degrade import CAMERA, degrade
from tools.training.pages import Page, PageRenderer
from tools.training.schedule import difficulty

TILE = 320  # pixels: a word of 60 pixel print fits, and a batch costs a tenth of whole pages
BATCH = 6  # tiles
POOL_PAGES = 240  # rendered pages that tiles are cut from: about 300 MB
FIRST_PAGES = 12  # rendered before the first batch, and again when a run is resumed
FRESH_PAGES = 1  # rendered per batch, so that a page is cut about six times, each time degraded differently
FULL_DIFFICULTY_AT = 0.45  # share of the run: with small and noisy print first, words stay merged for long
VALIDATION_PAGES = 16
VALIDATION_SEED = 4242
MATCH_IOU = 0.5


class DetectionTask:
    """Trains one of docTR's detection architectures on `renderer`'s pages."""

    def __init__(self, architecture: str, renderer: PageRenderer, held_out: PageRenderer) -> None:
        self.architecture = architecture
        self.highest_rate = 1.5e-3
        self.full_difficulty_at = FULL_DIFFICULTY_AT
        self.renderer = renderer
        self.pool: deque[Page] = deque(maxlen=POOL_PAGES)
        self.validation = validation_pages(held_out)

    def build(self) -> Any:
        """The architecture with random weights."""
        return build_trainable(self.architecture)

    def loss(self, model: Any, rng: random.Random, progress: float) -> torch.Tensor:
        """docTR's loss on `BATCH` tiles."""
        level = difficulty(progress, self.full_difficulty_at)
        for _ in range(FRESH_PAGES if self.pool else FIRST_PAGES):
            self.pool.append(self.renderer.render(rng, level))
        tiles = [cut_tile(rng, self.pool, level) for _ in range(BATCH)]
        batch = normalised(model, np.stack([image for image, _ in tiles]))
        with torch.autocast("cpu", torch.bfloat16):
            return model(batch, [{"words": boxes} for _, boxes in tiles])["loss"]

    def validate(self, model: Any) -> dict[str, float]:
        """Recall, precision and mean IoU on the held-out pages."""
        return localisation(model, self.validation)


def validation_pages(held_out: PageRenderer) -> list[Page]:
    """The seeded hard set: `VALIDATION_PAGES` pages at full difficulty."""
    rng = random.Random(VALIDATION_SEED)
    return [held_out.render(rng, 1.0) for _ in range(VALIDATION_PAGES)]


def localisation(model: Any, pages: list[Page]) -> dict[str, float]:
    """docTR's recall, precision (both at IoU 0.5) and mean IoU of `model` at its default thresholds."""
    metric = LocalizationConfusion(iou_thresh=MATCH_IOU)
    for page in pages:
        with torch.inference_mode():
            found = model(normalised(model, page.image[None]), return_preds=True)["preds"][0]["words"]
        boxes = found[:, :4] * page.image.shape[0]
        metric.update(gts=page.boxes.round().astype(int), preds=boxes.round().astype(int))
    # docTR answers None for a model that finds nothing.
    recall, precision, iou = (round(figure or 0.0, 4) for figure in metric.summary())
    return {"recall": recall, "precision": precision, "iou": iou}


def cut_tile(rng: random.Random, pool: deque[Page], level: float) -> tuple[np.ndarray, np.ndarray]:
    """A degraded tile, uint8 (TILE, TILE, 3), with at least one box, float32 (N, 4) relative to the tile.

    Up to a quarter of a tile extends past the page's edge and is black there, as docTR pads pages.
    """
    boxes = np.zeros((0, 4), dtype=np.float32)
    while not len(boxes):
        page = rng.choice(pool)
        side = page.image.shape[0]
        x, y = (rng.randint(-TILE // 4, side - 3 * TILE // 4) for _ in range(2))
        boxes = boxes_within(page.boxes, x, y, side)
    part = page.image[max(0, y) : y + TILE, max(0, x) : x + TILE]
    tile = np.zeros((TILE, TILE, 3), dtype=np.uint8)
    height, width = part.shape[:2]
    tile[max(0, -y) : max(0, -y) + height, max(0, -x) : max(0, -x) + width] = degrade(
        rng, part, CAMERA, level
    )
    return tile, boxes / TILE


def boxes_within(boxes: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    """The visible parts of a page's boxes, in pixels of the tile at (x, y); hidden ones are left out."""
    shown = np.clip(boxes - np.array([x, y, x, y], dtype=np.float32), 0, TILE)
    shown = np.clip(shown, [-x, -y, -x, -y], [side - x, side - y] * 2).astype(np.float32)
    return shown[(shown[:, 2] > shown[:, 0]) & (shown[:, 3] > shown[:, 1])]
