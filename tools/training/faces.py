"""The fonts one renderer may use, opened once each."""

from pathlib import Path

from PIL import ImageFont


class Faces:
    """Paths of fonts, `every` one and the `ordinary` ones that a curriculum starts with."""

    def __init__(self, every: tuple[Path, ...], ordinary: tuple[Path, ...] | None = None) -> None:
        self.every = every
        self.ordinary = ordinary or every
        self._opened: dict[tuple[Path, int], ImageFont.FreeTypeFont] = {}

    def font(self, path: Path, size: int) -> ImageFont.FreeTypeFont:
        """The font at `path`, `size` pixels high; kept, as opening one costs about a millisecond."""
        if (path, size) not in self._opened:
            self._opened[path, size] = ImageFont.truetype(str(path), size)
        return self._opened[path, size]
