"""Pages as HTML: the image with its boxes, next to the words at their positions."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from PIL import Image

from contract.job import Job
from contract.kinds import KINDS
from contract.kinds.base import Kind
from contract.lines import ErrorLine, WordBox
from producer.results.view import Found

UNSURE = 0.5
"""Confidence below which a word is drawn as unsure."""

JPEG_QUALITY = 80
"""JPEG quality of embedded pictures: they are for viewing, not for OCR."""

STYLE = """
:root { color-scheme: light dark; --sure: #2b6cb0; --unsure: #c53030; --soft: #718096; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
h1 { font-size: 1.2rem; } h2 { font-size: 1rem; margin-top: 2.5rem; } p { color: var(--soft); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; border: 1px solid var(--soft); background: #fff; }
polygon { fill: transparent; stroke: var(--sure); stroke-width: 2; vector-effect: non-scaling-stroke; }
.unsure polygon { stroke: var(--unsure); } .unsure text { fill: var(--unsure); }
g:hover polygon { fill: #2b6cb033; } text { fill: #1a202c; font-family: system-ui, sans-serif; }
.failed { color: var(--unsure); }
"""


def document_html(job: Job, wanted: str, pages: Iterable[tuple[Found, Image.Image | str]]) -> str:
    """Return one HTML file with every page; a page without a picture shows the reason.

    Args:
        wanted: the requested id, of an item or a document
        pages: consumed one by one, so that one picture is in memory at a time
    """
    title = escape(f"{wanted} - {job.id}")
    kind = KINDS[job.kind]
    said = kind.view_note(job.parameters)
    note = f"<p>{escape(said)}</p>" if said else ""
    sections = "\n".join(_section(kind, found, image) for found, image in pages)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>{note}\n{sections}\n</body></html>\n"
    )


def _section(kind: Kind, found: Found, image: Image.Image | str) -> str:
    head = f"<h2>{escape(found.item.id)}</h2>"
    said = _said(kind, found.line)
    if isinstance(image, str):
        return f'<section>{head}{said}<p class="failed">no picture: {escape(image)}</p></section>'
    read = found.line is not None and not isinstance(found.line, ErrorLine)
    words = list(kind.words(found.line)) if read else []
    sides = _side(image, words, f'<image href="{_data(image)}" width="100%" height="100%"/>', texts=False)
    if any(word.value for word in words):
        sides += _side(image, words, "", texts=True)
    return f'<section>{head}{said}<div class="sides">{sides}</div></section>'


def _said(kind: Kind, line: Any | ErrorLine | None) -> str:
    """Return an item's line as text, if its picture does not show it."""
    if line is None:
        return "<p>Not read yet.</p>"
    if isinstance(line, ErrorLine):
        return f'<p class="failed">{escape(line.error.code)}: {escape(line.error.message)}</p>'
    if kind.unit == "page":
        return ""
    value, confidence = kind.excerpt(line)
    return f"<p>{escape(value)}{'' if confidence is None else f' ({confidence:.2f})'}</p>"


def _side(image: Image.Image, words: Sequence[WordBox], ground: str, *, texts: bool) -> str:
    width, height = image.size
    drawn = "".join(_drawn(word, width, height, texts=texts) for word in words)
    return f'<svg viewBox="0 0 {width} {height}">{ground}{drawn}</svg>'


def _drawn(word: WordBox, width: int, height: int, *, texts: bool) -> str:
    corners = [(x * width, y * height) for x, y in _corners(word.geometry)]
    sure = "" if word.confidence is None else f" ({word.confidence:.2f})"
    kind = ' class="unsure"' if word.confidence is not None and word.confidence < UNSURE else ""
    title = f"<title>{escape(word.value)}{sure}</title>" if word.value else ""
    if texts:
        return f"<g{kind}>{title}{_text(word.value, corners)}</g>"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<g{kind}>{title}<polygon points="{points}"/></g>'


def _text(text: str, corners: Sequence[tuple[float, float]]) -> str:
    """Return a word as SVG text with the width, height and rotation of its box."""
    start, end, _, below = corners
    # A little shorter than its box, to keep words apart.
    length, size = 0.95 * math.dist(start, end), math.dist(start, below)
    turn = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    # A quarter of a letter's height is below the baseline.
    x, y = (top + 0.75 * (bottom - top) for top, bottom in zip(start, below, strict=True))
    return (
        f'<text transform="translate({x:.1f} {y:.1f}) rotate({turn:.1f})" font-size="{size:.1f}" '
        f'textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
    )


def _corners(geometry: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the corners of a geometry, clockwise from the upper left of the text."""
    if len(geometry) == 4:
        left, top, right, bottom = geometry
        return (left, top), (right, top), (right, bottom), (left, bottom)
    return tuple(zip(geometry[::2], geometry[1::2], strict=True))


def _data(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
