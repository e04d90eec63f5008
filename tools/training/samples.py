"""The repository's labelled samples: word crops, and pages with the boxes and values of their words."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from doctr.io import DocumentFile
from PIL import Image, ImageSequence


@dataclass(frozen=True)
class SamplePage:
    """A page, uint8 (H, W, 3), its words' relative boxes, float32 (N, 4), and their values."""

    key: str
    image: np.ndarray
    boxes: np.ndarray
    values: tuple[str, ...]


def sample_crops(samples: Path) -> tuple[list[np.ndarray], list[str]]:
    """The crops of `labels.json` and their texts, in the order of their names."""
    labels: dict[str, str] = json.loads((samples / "labels.json").read_text(encoding="utf-8"))
    names = sorted(labels)
    images = [np.asarray(Image.open(samples / "crops" / name).convert("RGB")) for name in names]
    return images, [labels[name] for name in names]


def sample_pages(samples: Path) -> list[SamplePage]:
    """The pages of `pages/truth.json`, whose keys are `<file>#<page from 1>`."""
    folder = samples / "pages"
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    images = dict(pages_of(folder, sorted({key.partition("#")[0] for key in truth})))
    return [sample_page(key, images[key], truth[key]["words"]) for key in sorted(truth)]


def sample_page(key: str, image: np.ndarray, words: list[dict[str, object]]) -> SamplePage:
    """One page with its truth as arrays."""
    boxes = np.asarray([word["geometry"] for word in words], dtype=np.float32)
    return SamplePage(key, image, boxes, tuple(str(word["value"]) for word in words))


def pages_of(folder: Path, names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Every page of every file as `<file>#<page from 1>` and its image; a PDF at docTR's own resolution."""
    for name in names:
        for number, image in enumerate(read_pages(folder / name), start=1):
            yield f"{name}#{number}", image


def read_pages(path: Path) -> list[np.ndarray]:
    """The pages of one file, uint8 (H, W, 3)."""
    if path.suffix == ".pdf":
        return DocumentFile.from_pdf(path)
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
