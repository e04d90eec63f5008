"""What the scenes' jobs read: the sample crops; or pages of images, a PDF and a TIFF, quick to read."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

PAGE_SIZE = (360, 240)
"""Of a page, in pixels: some words, little to decode."""

DOCUMENT_PAGES = 9
"""Pages of each document: with one digit, ids in source order are in the alphabet's order too."""


@dataclass(frozen=True)
class Kind:
    """A kind of job to break.

    Args:
        items: ids, in source order
        options: of `submit`
        parameters: the same, over HTTP
    """

    folder: Path
    items: tuple[str, ...]
    chunk_size: int
    parameters: dict[str, str]

    @property
    def options(self) -> tuple[str, ...]:
        """Return the parameters as flags."""
        flags = ((f"--{name.replace('_', '-')}", value) for name, value in self.parameters.items())
        return tuple(word for flag in flags for word in flag)

    @property
    def files(self) -> list[str]:
        """Return the names of the files, which for pages are fewer than the items."""
        return sorted(path.name for path in self.folder.iterdir())

    def of(self, folder: Path, items: list[str]) -> "Kind":
        """Return the same kind over a folder of one's own."""
        return Kind(folder, tuple(items), self.chunk_size, self.parameters)


def crops(samples: Path, folder: Path, count: int | None = None) -> Kind:
    """Return a job of the first `count` sample crops, or all."""
    names = sorted(path.name for path in samples.iterdir())[:count]
    folder.mkdir()
    for name in names:
        shutil.copy(samples / name, folder)
    return Kind(folder, tuple(names), 8 if count is None else 4, {})


def compared_crops(samples: Path, folder: Path, count: int | None = None) -> Kind:
    """Return a job that reads sample crops with two models."""
    models = {"kind": "compare", "models": "crnn_mobilenet_v3_small,mobilenet-2025"}
    return replace(crops(samples, folder, count), parameters=models)


def pages(samples: Path, folder: Path, images: int) -> Kind:
    """Return a job of so many images of pages, a PDF and a TIFF, all made of the sample crops."""
    words = sorted(path for path in samples.iterdir() if path.suffix in {".png", ".jpg"})
    folder.mkdir()
    made = [_page(words[4 * number : 4 * number + 4]) for number in range(images + 2 * DOCUMENT_PAGES)]
    names = [f"{number:03d}.png" for number in range(images)]
    for name, page in zip(names, made, strict=False):
        page.save(folder / name)
    ids = names
    for suffix in ("pdf", "tiff"):
        first, *others = made[images : images + DOCUMENT_PAGES]
        made = made[DOCUMENT_PAGES:]
        first.save(folder / f"document.{suffix}", save_all=True, append_images=others)
        ids = [*ids, *(f"document.{suffix}#page={page}" for page in range(1, DOCUMENT_PAGES + 1))]
    return Kind(folder, tuple(ids), 3, {"kind": "ocr", "detection_model": "linknet_resnet18"})


def _page(words: list[Path]) -> Image.Image:
    page = Image.new("RGB", PAGE_SIZE, "white")
    for row, path in enumerate(words):
        with Image.open(path) as word:
            page.paste(word.convert("RGB").resize((200, 40)), (30, 20 + 50 * row))
    return page
