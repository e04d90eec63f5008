"""Synthetic pages and the boxes of their words, for the detection model."""

import random
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.training.faces import Faces
from tools.training.text import Writer

# Pixels of font height on a page that docTR has scaled to 1,024: ordinary print, then footnote to headline.
EASY_SIZES = (14, 30)
HARD_SIZES = (9, 60)
TABLE_COLUMNS = 5
Colour = tuple[int, ...]  # red, green, blue


@dataclass(frozen=True)
class Page:
    """An image, uint8 (H, W, 3), and its words' ink boxes, float32 (N, 4) as x0, y0, x1, y1 in pixels."""

    image: np.ndarray
    boxes: np.ndarray
    words: tuple[str, ...]


@dataclass(frozen=True)
class Pen:
    """Font, size and colour of a block of text."""

    font: ImageFont.FreeTypeFont
    ink: Colour

    def pitch(self, rng: random.Random) -> int:
        """Pixels from line to line: from no leading to nearly double spacing."""
        return int(sum(self.font.getmetrics()) * rng.uniform(1.0, 1.8))

    def gap(self, rng: random.Random) -> int:
        """Pixels between words: the font's own space in half of the blocks, else up to 1.8 of them."""
        stretch = 1.0 if rng.random() < 0.5 else rng.uniform(0.95, 1.8)
        return max(3, round(self.font.getlength(" ") * stretch))


@dataclass
class Sheet:
    """A page under construction: refuses a word that would touch another one."""

    paper: Colour
    side: int
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self.side, self.side), self.paper)
        self.draw = ImageDraw.Draw(self.image)
        self.taken = np.zeros((self.side, self.side), dtype=bool)

    def write(self, x: int, y: int, text: str, pen: Pen) -> int | None:
        """Draw `text` with its origin at (x, y); returns the x after it, or None if there is no room."""
        left, top, right, bottom = (round(edge) for edge in pen.font.getbbox(text))
        x0, y0, x1, y1 = x + left, y + top, x + right, y + bottom
        if right - left < 2 or bottom - top < 2:
            return None
        if x0 < 1 or y0 < 1 or x1 >= self.side - 1 or y1 >= self.side - 1:
            return None
        room = self.taken[y0 - 1 : y1 + 1, x0 - 2 : x1 + 2]
        if room.any():
            return None
        room[:] = True
        self.draw.text((x, y), text, font=pen.font, fill=pen.ink)
        self.boxes.append((x0, y0, x1, y1))
        self.words.append(text)
        return x1

    def finish(self) -> Page:
        """The page as arrays."""
        boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4)
        return Page(np.asarray(self.image).copy(), boxes, tuple(self.words))


@dataclass(frozen=True)
class PageRenderer:
    """Renders square pages of `side` pixels."""

    writer: Writer
    faces: Faces
    side: int = 640

    def render(self, rng: random.Random, difficulty: float) -> Page:
        """A page between clean dark-on-light print (0) and every font, size, colour, rule and picture (1)."""
        paper, ink = colours(rng, difficulty)
        sheet = Sheet(paper, self.side)
        if rng.random() < 0.6 * difficulty:
            decorate(rng, sheet)
        for _ in range(rng.randint(2, 8)):
            block = rng.choice([self._paragraph, self._paragraph, self._table, self._label])
            block(rng, sheet, Pen(self._font(rng, difficulty), ink))
        return sheet.finish()

    def _font(self, rng: random.Random, difficulty: float) -> ImageFont.FreeTypeFont:
        paths = self.faces.every if rng.random() < difficulty else self.faces.ordinary
        low, high = HARD_SIZES if rng.random() < difficulty * 0.6 else EASY_SIZES
        # Log-uniform: most of a page is small print.
        return self.faces.font(rng.choice(paths), round(low * (high / low) ** rng.random()))

    def _paragraph(self, rng: random.Random, sheet: Sheet, pen: Pen) -> None:
        pitch = pen.pitch(rng)
        left = rng.randint(1, int(self.side * 0.6))
        right = rng.randint(left + 60, self.side + 60)
        y = rng.randint(1, int(self.side * 0.9))
        gap = pen.gap(rng)
        for _ in range(rng.randint(1, 14)):
            self._line(rng, sheet, pen, (left, y, right), gap)
            y += pitch

    def _label(self, rng: random.Random, sheet: Sheet, pen: Pen) -> None:
        gap = pen.gap(rng)
        x, y = rng.randint(1, int(self.side * 0.8)), rng.randint(1, int(self.side * 0.95))
        self._line(rng, sheet, pen, (x, y, x + rng.randint(40, 300)), gap)

    def _line(
        self, rng: random.Random, sheet: Sheet, pen: Pen, place: tuple[int, int, int], gap: int
    ) -> None:
        x, y, right = place
        while x < right:
            end = sheet.write(x, y, self.writer.running(rng), pen)
            if end is None:
                break
            x = end + gap

    def _table(self, rng: random.Random, sheet: Sheet, pen: Pen) -> None:
        pitch = pen.pitch(rng)
        columns = [rng.randint(1, self.side // 3)]
        while len(columns) < TABLE_COLUMNS:
            columns.append(columns[-1] + rng.randint(max(8, pitch) * 3, max(8, pitch) * 8))
        y = rng.randint(1, int(self.side * 0.8))
        ruled = rng.random() < 0.5
        for _ in range(rng.randint(2, 10)):
            for x in columns:
                sheet.write(x, y, self.writer.running(rng), pen)
            y += pitch
            if ruled and y < self.side and not sheet.taken[y - 1 : y + 2].any():
                sheet.draw.line([(columns[0], y), (self.side - 10, y)], fill=pen.ink, width=rng.randint(1, 2))


def colours(rng: random.Random, difficulty: float) -> tuple[Colour, Colour]:
    """Paper and ink: white and black, then tinted and grey, sometimes light on dark."""
    if rng.random() > difficulty * 0.8 + 0.1:
        return (255, 255, 255), (0, 0, 0)
    level, dark = rng.randint(185, 255), rng.randint(0, 90)
    paper = tuple(min(255, max(0, level + rng.randint(-20, 20))) for _ in range(3))
    ink = tuple(min(120, max(0, dark + rng.randint(-30, 30))) for _ in range(3))
    return (ink, paper) if rng.random() < 0.08 * difficulty else (paper, ink)


def decorate(rng: random.Random, sheet: Sheet) -> None:
    """Rules, frames, discs and pictures: the parts of a page that are not text; drawn before the words."""
    for _ in range(rng.randint(1, 5)):
        colour = tuple(rng.randint(0, 220) for _ in range(3))
        x, y = rng.randint(0, sheet.side), rng.randint(0, sheet.side)
        width, height = rng.randint(15, 220), rng.randint(15, 220)
        kind = rng.random()
        if kind < 0.5:
            end = (x + width * 3, y) if rng.random() < 0.6 else (x, y + height * 3)
            sheet.draw.line([(x, y), end], fill=colour, width=rng.randint(1, 4))
        elif kind < 0.7:
            sheet.draw.rectangle([x, y, x + width, y + height], outline=colour, width=rng.randint(1, 3))
        elif kind < 0.8:
            sheet.draw.ellipse([x, y, x + width, y + width], outline=colour, width=rng.randint(1, 3))
        else:
            picture(rng, sheet, (x, y, width, height))


def picture(rng: random.Random, sheet: Sheet, place: tuple[int, int, int, int]) -> None:
    """Paste a smooth random pattern and keep words off it."""
    x, y, width, height = place
    generator = np.random.default_rng(rng.getrandbits(32))
    cell = rng.choice([3, 6, 12, 24])
    pattern = generator.integers(0, 255, (height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
    sheet.image.paste(Image.fromarray(pattern).resize((width, height), Image.Resampling.BICUBIC), (x, y))
    sheet.taken[y : y + height, x : x + width] = True
