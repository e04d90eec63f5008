"""Synthetic word crops, as a detector cuts them, for the recognition model."""

import random
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.training.degrade import CAMERA, SCANNER, degrade
from tools.training.faces import Faces
from tools.training.pages import Colour, Pen

SIZES = (14, 16, 18, 20, 22, 24, 28, 32, 36, 42)  # pixels of font height, before any loss of resolution
SCANNED_SHARE = 0.4  # of the training crops; the others look like camera or screen images
INK_CONTRAST = 40  # grey levels within a row or column that mean ink; the paper is still flat there
FONT_TRIES = 5  # a font may lack a letter and draw nothing


@dataclass(frozen=True)
class CropRenderer:
    """Renders one word per image, uint8 (H, W, 3)."""

    faces: Faces

    def render(self, rng: random.Random, text: str, difficulty: float) -> np.ndarray:
        """A crop between clean print (0) and tilted, blurred, noisy, small and compressed print (1)."""
        image = self._draw(rng, text, difficulty)
        if rng.random() < 0.30 * difficulty:
            scale = rng.uniform(0.4, 0.9)
            size = max(4, int(image.shape[1] * scale)), max(6, int(image.shape[0] * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return degrade(rng, image, CAMERA, difficulty)

    def render_scanned(self, rng: random.Random, text: str, difficulty: float) -> np.ndarray:
        """A crop of a scanned form: thin, broken or bled strokes; half of the boxes cut at the ink."""
        tight = rng.random() < 0.5
        image = self._draw(rng, text, difficulty)
        return degrade(rng, cut_at_ink(rng, image) if tight else image, SCANNER, difficulty)

    def render_mixed(self, rng: random.Random, text: str, difficulty: float) -> np.ndarray:
        """A training crop, of either look."""
        scanned = rng.random() < SCANNED_SHARE * difficulty
        return self.render_scanned(rng, text, difficulty) if scanned else self.render(rng, text, difficulty)

    def _draw(self, rng: random.Random, text: str, difficulty: float) -> np.ndarray:
        font = self._font_with_ink(rng, text, difficulty)
        paper, ink = crop_colours(rng)
        image = draw_word(rng, text, Pen(font, ink), paper)
        if rng.random() < 0.15:
            underline(rng, image, ink)
        if rng.random() < 0.35 * difficulty:
            tilt = rng.uniform(-3, 3)  # degrees: what straight-page detection accepts
            image = image.rotate(tilt, Image.Resampling.BILINEAR, expand=True, fillcolor=paper)
        return np.asarray(image)

    def _font_with_ink(self, rng: random.Random, text: str, difficulty: float) -> ImageFont.FreeTypeFont:
        paths = self.faces.every if rng.random() < 0.5 + 0.5 * difficulty else self.faces.ordinary
        for _ in range(FONT_TRIES):
            font = self.faces.font(rng.choice(paths), rng.choice(SIZES))
            left, top, right, bottom = font.getbbox(text)
            if right - left > 2 and bottom - top > 2:
                break
        return font


def crop_colours(rng: random.Random) -> tuple[Colour, Colour]:
    """Paper and ink: a third near black on white, a tenth light on dark, many tinted."""
    light, dark = rng.randint(170, 255), rng.randint(0, 80)
    if rng.random() < 0.3:
        light, dark = 255, rng.randint(0, 40)
    if rng.random() < 0.1:
        light, dark = dark, light
    spread = 25 if rng.random() < 0.4 else 0
    paper = tuple(min(255, max(0, light + rng.randint(-spread, spread))) for _ in range(3))
    spread = 70 if rng.random() < 0.12 else 0
    ink = tuple(min(255, max(0, dark + rng.randint(0, spread))) for _ in range(3))
    return paper, ink


def draw_word(rng: random.Random, text: str, pen: Pen, paper: Colour) -> Image.Image:
    """The word on its paper: the line's full height in two of five cases, else a margin up to a third."""
    left, top, right, bottom = pen.font.getbbox(text)
    ink_height = int(bottom - top)
    before, after = (int(rng.uniform(0, 0.35) * ink_height) for _ in range(2))
    if rng.random() < 0.4:
        height, y = float(sum(pen.font.getmetrics())), 0.0
    else:
        above, below = (int(rng.uniform(0, 0.3) * ink_height) for _ in range(2))
        height, y = ink_height + above + below, above - top
    image = Image.new("RGB", (max(4, int(right - left) + before + after), max(4, int(height))), paper)
    ImageDraw.Draw(image).text((before - left, y), text, font=pen.font, fill=pen.ink)
    return image


def underline(rng: random.Random, image: Image.Image, ink: Colour) -> None:
    """A rule at the lower or upper edge, as left by a box on a form."""
    y = rng.choice([image.height - 1, image.height - 2, 0, 1])
    ImageDraw.Draw(image).line([(0, y), (image.width, y)], fill=ink, width=1)


def cut_at_ink(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """The crop cut to its ink, and in a third of the cases up to a tenth of the height into it."""
    grey = image.mean(axis=2)
    rows, columns = (np.flatnonzero(np.ptp(grey, axis=axis) > INK_CONTRAST) for axis in (1, 0))
    if rows.size < 6 or columns.size < 4:
        return image
    bite = int(rng.uniform(0, 0.1) * rows.size) if rng.random() < 0.33 else 0
    top, bottom = rows[0] + bite, rows[-1] + 1 - bite // 2
    return np.ascontiguousarray(image[top:bottom, columns[0] : columns[-1] + 1])
