"""The fonts one renderer may use, each opened once and kept while it is in use."""

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

# Measured: an open font takes 0.3 MB and 0.3 ms. All of a crop's 10 sizes of 248 fonts stay open; a page's
# 52 sizes would take 4 GB, and a page needs only a handful of fonts.
OPEN_FONTS = 2500


class Faces:
    """Paths of fonts, `every` one and the `ordinary` ones that a curriculum starts with."""

    def __init__(self, every: tuple[Path, ...], ordinary: tuple[Path, ...] | None = None) -> None:
        self.every = every
        self.ordinary = ordinary or every
        self._open = lru_cache(maxsize=OPEN_FONTS)(ImageFont.truetype)

    def font(self, path: Path, size: int) -> ImageFont.FreeTypeFont:
        """The font at `path`, `size` pixels high."""
        return self._open(str(path), size)
