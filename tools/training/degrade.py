"""Effects of printing, scanning and compression; all take and return uint8 (H, W, 3)."""

import random
from collections.abc import Callable

import cv2
import numpy as np

Degradation = Callable[[random.Random, np.ndarray], np.ndarray]
Steps = tuple[tuple[Degradation, float], ...]


def noise(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Grey sensor noise with a standard deviation of 2 to 18 levels."""
    generator = np.random.default_rng(rng.getrandbits(32))
    grain = generator.normal(0.0, rng.uniform(2.0, 18.0), (*image.shape[:2], 1))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def blur(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Out of focus: a Gaussian of 0.2 to 1.1 pixels."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 1.1))


def jpeg(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Compressed and decompressed at quality 25 to 90."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(25, 90)])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def low_resolution(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Sampled at 40 to 90 % of its size and enlarged again."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.4, 0.9)
    size = max(4, int(width * scale)), max(6, int(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=rng.choice([cv2.INTER_NEAREST, cv2.INTER_LINEAR]))


def fade(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Less contrast, around a random level: worn toner, grey paper."""
    contrast = rng.uniform(0.35, 0.9)
    level = rng.uniform(90, 230)
    return np.clip((image - level) * contrast + level, 0, 255).astype(np.uint8)


def shade(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Unevenly lit: darkened by up to 40 % towards one side."""
    height, width = image.shape[:2]
    ramp = np.linspace(1.0, rng.uniform(0.6, 0.95), width if rng.random() < 0.5 else height, dtype=np.float32)
    ramp = ramp[::-1] if rng.random() < 0.5 else ramp
    light = ramp[None, :, None] if ramp.size == width else ramp[:, None, None]
    return (image * light).astype(np.uint8)


def thin(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Strokes of dark print lose up to a pixel: a weak ribbon, a light copy."""
    return _blend(rng, image, cv2.dilate(image, np.ones((2, 2), np.uint8)))


def bleed(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Strokes of dark print gain up to a pixel: wet ink, a dark copy."""
    return _blend(rng, image, cv2.erode(image, np.ones((2, 2), np.uint8)))


def binarise(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Black and white at a threshold off the ideal one, so that strokes break or fill."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    best, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    generator = np.random.default_rng(rng.getrandbits(32))
    rough = grey + generator.normal(0.0, rng.uniform(0.0, 12.0), grey.shape)
    white = rough > best + rng.uniform(-30, 35)
    return np.repeat(np.where(white, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)


def speckle(rng: random.Random, image: np.ndarray) -> np.ndarray:
    """Dust and drop-outs: up to 1 % of the pixels black or white."""
    generator = np.random.default_rng(rng.getrandbits(32))
    chance = generator.random(image.shape[:2])
    share = rng.uniform(0.001, 0.01)
    spotted = image.copy()
    spotted[chance < share] = 255
    spotted[chance > 1.0 - share / 2] = 0
    return spotted


def _blend(rng: random.Random, image: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """A weighted mean of both, so that the change is between a third of a pixel and a whole one."""
    weight = rng.uniform(0.3, 1.0)
    return cv2.addWeighted(image, 1.0 - weight, changed, weight, 0.0)


# Each with its probability at full strength, in the order in which paper, lens and file act.
CAMERA: Steps = ((blur, 0.30), (noise, 0.35), (jpeg, 0.30))
SCANNER: Steps = (
    (thin, 0.25),
    (bleed, 0.20),
    (fade, 0.20),
    (shade, 0.15),
    (blur, 0.30),
    (low_resolution, 0.30),
    (noise, 0.30),
    (speckle, 0.15),
    (binarise, 0.35),
    (jpeg, 0.20),
)


def degrade(rng: random.Random, image: np.ndarray, steps: Steps, strength: float) -> np.ndarray:
    """`image` after a random choice of `steps`; `strength` (0 to 1) scales their probabilities."""
    for step, probability in steps:
        if rng.random() < probability * strength:
            image = step(rng, image)
    return image
