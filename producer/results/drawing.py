"""Pages as HTML: the image with its boxes, next to the words at their positions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from contract.job import Job
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.lines import ErrorLine, WordBox
from producer.results.rendering import picture_url, render
from producer.results.view import Found

UNSURE = 0.5
"""Confidence below which a word is drawn as unsure."""


@dataclass(frozen=True)
class DrawnWord:
    """A word as SVG attributes: its box, and its text with the width, height and rotation of the box."""

    text: str
    sure: str
    unsure: bool
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
        said, failed = _said(kind, found.line), isinstance(found.line, ErrorLine)
        if isinstance(image, str):
            yield DrawnPage(found.item.id, said, failed, missing=image)
            continue
        width, height = image.size
        words = kind.words(found.line) if found.line is not None and not failed else ()
        drawn = [_drawn(word, width, height) for word in words]
        yield DrawnPage(found.item.id, said, failed, None, picture_url(image), width, height, drawn)


def _said(kind: Kind, line: Any | ErrorLine | None) -> str:
    """Return an item's line as text, if its picture does not show it."""
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


def _drawn(word: WordBox, width: int, height: int) -> DrawnWord:
    corners = [(x * width, y * height) for x, y in _corners(word.geometry)]
    start, end, _, below = corners
    turn = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    # A quarter of a letter's height is below the baseline.
    x, y = (top + 0.75 * (bottom - top) for top, bottom in zip(start, below, strict=True))
    return DrawnWord(
        text=word.value,
        sure=_sure(word.confidence),
        unsure=word.confidence is not None and word.confidence < UNSURE,
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners),
        transform=f"translate({x:.1f} {y:.1f}) rotate({turn:.1f})",
        size=f"{math.dist(start, below):.1f}",
        # A little shorter than its box, to keep words apart.
        length=f"{0.95 * math.dist(start, end):.1f}",
    )


def _corners(geometry: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the corners of a geometry, clockwise from the upper left of the text."""
    if len(geometry) == 4:
        left, top, right, bottom = geometry
        return (left, top), (right, top), (right, bottom), (left, bottom)
    return tuple(zip(geometry[::2], geometry[1::2], strict=True))
