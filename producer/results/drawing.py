"""Pages as HTML: the image with its boxes or given regions, next to the words at their positions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from contract.job import Job
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.lines import ErrorLine, WordBox
from producer.results.finding import MAX_REGIONS, Found
from producer.results.rendering import picture_url, render

UNSURE = 0.5
"""Confidence below which a word is drawn as unsure."""

MAX_SIDE = 1600
"""Maximum pixels of a picture's longer side: fits a screen."""

MAX_FAILURES = 100
"""Maximum regions without a result that are listed below their page."""

Corners = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class DrawnWord:
    """A word as SVG attributes: its box, and its text with the width, height and rotation of the box.

    Args:
        said: what its box says when it is pointed at
        look: how it is drawn: nothing special, `unsure`, or `bad` for a region without a result
    """

    text: str
    said: str
    look: str
    points: str
    transform: str
    size: str
    length: str


@dataclass(frozen=True)
class DrawnPage:
    """An item as the template draws it.

    Args:
        said: the text of its line that its picture does not show; may be empty
        failed: whether `said` is an error
        failures: regions of the page that have no result, each with the reason
        missing: the reason why there is no picture; None if there is one
        picture: the picture as a data URL
    """

    id: str
    said: str
    failed: bool
    missing: str | None = None
    picture: str = ""
    width: int = 0
    height: int = 0
    words: Sequence[DrawnWord] = ()
    failures: Sequence[str] = ()

    @property
    def has_text(self) -> bool:
        """Whether any word has a text."""
        return any(word.text for word in self.words)


def document_html(job: Job, wanted: str, pages: Iterable[tuple[Found, Image.Image | str]]) -> str:
    """Return one HTML file with every page; a page without a picture shows the reason.

    Args:
        wanted: the requested id, of an item or a document
        pages: consumed one by one, so that one picture is in memory at a time
    """
    kind = KINDS[job.kind]
    return render(
        "document.html",
        title=f"{wanted} - {job.id}",
        note=kind.view_note(job.parameters),
        pages=_drawn_pages(kind, pages),
    )


def _drawn_pages(kind: Kind, pages: Iterable[tuple[Found, Image.Image | str]]) -> Iterator[DrawnPage]:
    for found, image in pages:
        said, failed = _said(kind, found), isinstance(found.line, ErrorLine)
        failures = list(islice(_failures(kind, found), MAX_FAILURES))
        if isinstance(image, str):
            yield DrawnPage(found.item.id, said, failed, missing=image, failures=failures)
            continue
        page_size = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        if found.regions:
            drawn = list(_drawn_regions(kind, found.regions, page_size, image.size))
        else:
            words = kind.words(found.line) if found.line is not None and not failed else ()
            drawn = [_drawn_word(word, *image.size) for word in words]
        picture = picture_url(image)
        yield DrawnPage(found.item.id, said, failed, None, picture, *image.size, drawn, failures)


def _said(kind: Kind, found: Found) -> str:
    """Return an item's line as text, if its picture does not show it."""
    line = found.line
    if found.regions:
        number = len(found.regions)
        first = "The first " if number >= MAX_REGIONS else ""
        return f"{first}{number:,} given region{'s' if number > 1 else ''}."
    if line is None:
        return "Not read yet."
    if isinstance(line, ErrorLine):
        return f"{line.error.code}: {line.error.message}"
    if kind.unit == "page":
        return ""
    value, confidence = kind.excerpt(line)
    return f"{value}{_sure(confidence)}"


def _sure(confidence: float | None) -> str:
    return "" if confidence is None else f" ({confidence:.2f})"


def _failures(kind: Kind, found: Found) -> Iterator[str]:
    for region in found.regions:
        if isinstance(region.line, ErrorLine):
            yield f"{region.item.id}: {_said(kind, region)}"


def _drawn_regions(
    kind: Kind, regions: Iterable[Found], page_size: tuple[int, int], size: tuple[int, int]
) -> Iterator[DrawnWord]:
    """Yield the regions that have corners, with what was read in them; at the edge what is outside the page.

    Args:
        page_size: width and height of the page, of which regions are parts
        size: of its picture
    """
    for found in regions:
        region = found.item.region
        assert region is not None
        if not region.points:
            continue
        across, down = (1, 1) if region.unit == "rel" else page_size
        corners = [
            (min(max(x / across, 0.0), 1.0) * size[0], min(max(y / down, 0.0), 1.0) * size[1])
            for x, y in region.corners
        ]
        name = region.name or found.item.id
        if found.line is None or isinstance(found.line, ErrorLine):
            look = "bad" if found.line else ""
            yield _drawn("", f"{name}: {_said(kind, found)}", look, corners)
            continue
        value, confidence = kind.excerpt(found.line)
        look = _look(confidence)
        yield _drawn(value, f"{name}: {value}{_sure(confidence)}", look, corners)


def _drawn_word(word: WordBox, width: int, height: int) -> DrawnWord:
    corners = [(x * width, y * height) for x, y in _corners(word.geometry)]
    said = f"{word.value}{_sure(word.confidence)}" if word.value else ""
    return _drawn(word.value, said, _look(word.confidence), corners)


def _look(confidence: float | None) -> str:
    return "unsure" if confidence is not None and confidence < UNSURE else ""


def _drawn(text: str, said: str, look: str, corners: Corners) -> DrawnWord:
    # Outlines of handwritten lines have many corners: their text is in the box around them.
    start, end, _, below = corners if len(corners) == 4 else _around(corners)
    turn = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    # A quarter of a letter's height is below the baseline.
    x, y = (top + 0.75 * (bottom - top) for top, bottom in zip(start, below, strict=True))
    return DrawnWord(
        text=text,
        said=said,
        look=look,
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners),
        transform=f"translate({x:.1f} {y:.1f}) rotate({turn:.1f})",
        size=f"{math.dist(start, below):.1f}",
        # A little shorter than its box, to keep words apart.
        length=f"{0.95 * math.dist(start, end):.1f}",
    )


def _around(corners: Corners) -> Corners:
    across, down = zip(*corners, strict=True)
    return _corners((min(across), min(down), max(across), max(down)))


def _corners(geometry: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the corners of a geometry, clockwise from the upper left of the text."""
    if len(geometry) == 4:
        left, top, right, bottom = geometry
        return (left, top), (right, top), (right, bottom), (left, bottom)
    return tuple(zip(geometry[::2], geometry[1::2], strict=True))
