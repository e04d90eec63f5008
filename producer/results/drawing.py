"""Pages as HTML, to look at instead of reading: the image with its boxes, and the words where they stand."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

from contract.job import Job
from contract.parameters import KieParameters
from producer.results.view import Found, words_of

UNSURE = 0.5
"""Confidence below which a word is drawn as unsure."""

JPEG_QUALITY = 80
"""Of the picture in the file: for looking, not for reading again."""

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


@dataclass(frozen=True)
class Mark:
    """A word, or a box alone: its corners in 0..1, clockwise from the text's upper left."""

    corners: tuple[tuple[float, float], ...]
    text: str = ""
    confidence: float | None = None


def document_html(job: Job, wanted: str, pages: Iterable[tuple[Found, Image.Image | str]]) -> str:
    """Return one file of HTML with every page; of a page that has no picture, why that is.

    Args:
        wanted: the id that was asked for, an item's or a document's
        pages: taken one by one, so that one picture is in memory at a time
    """
    title = escape(f"{wanted} - {job.id}")
    straightened = isinstance(job.parameters, KieParameters) and job.parameters.straighten_pages
    note = (
        "<p>The job straightened pages before reading; here they are as they came, so that boxes may lie "
        "beside their words.</p>"
        if straightened
        else ""
    )
    sections = "\n".join(_section(found, image) for found, image in pages)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>{note}\n{sections}\n</body></html>\n"
    )


def marks_of(line: dict[str, Any]) -> list[Mark]:
    """Return the boxes of a page's line of any kind, in its order; none of a crop's."""
    marks = [Mark(_corners(geometry)) for geometry in line.get("bounding_boxes", ())]
    return marks + [
        Mark(_corners(word["geometry"]), word["value"], word["confidence"]) for word in words_of(line)
    ]


def _section(found: Found, image: Image.Image | str) -> str:
    head = f"<h2>{escape(found.item.id)}</h2>"
    line = found.line
    if line is None:
        said = "<p>Not read yet.</p>"
    elif "error" in line:
        error = line["error"]
        said = f'<p class="failed">{escape(error["code"])}: {escape(error["message"])}</p>'
    elif "value" in line:
        said = f"<p>{escape(line['value'])} ({line['confidence']:.2f})</p>"
    else:
        said = ""
    if isinstance(image, str):
        return f'<section>{head}{said}<p class="failed">no picture: {escape(image)}</p></section>'
    marks = marks_of(line or {})
    sides = _side(image, marks, f'<image href="{_data(image)}" width="100%" height="100%"/>', texts=False)
    if any(mark.text for mark in marks):
        sides += _side(image, marks, "", texts=True)
    return f'<section>{head}{said}<div class="sides">{sides}</div></section>'


def _side(image: Image.Image, marks: Sequence[Mark], ground: str, *, texts: bool) -> str:
    width, height = image.size
    drawn = "".join(_drawn(mark, width, height, texts=texts) for mark in marks)
    return f'<svg viewBox="0 0 {width} {height}">{ground}{drawn}</svg>'


def _drawn(mark: Mark, width: int, height: int, *, texts: bool) -> str:
    corners = [(x * width, y * height) for x, y in mark.corners]
    sure = "" if mark.confidence is None else f" ({mark.confidence:.2f})"
    kind = ' class="unsure"' if mark.confidence is not None and mark.confidence < UNSURE else ""
    title = f"<title>{escape(mark.text)}{sure}</title>" if mark.text else ""
    if texts:
        return f"<g{kind}>{title}{_text(mark.text, corners)}</g>"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<g{kind}>{title}<polygon points="{points}"/></g>'


def _text(text: str, corners: Sequence[tuple[float, float]]) -> str:
    """Return a word as wide and high as its box, and turned as it is."""
    start, end, _, below = corners
    # A little shorter than its box, so that words stay apart.
    length, size = 0.95 * math.dist(start, end), math.dist(start, below)
    turn = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    # A quarter of a letter's height hangs below the line it stands on.
    x, y = (top + 0.75 * (bottom - top) for top, bottom in zip(start, below, strict=True))
    return (
        f'<text transform="translate({x:.1f} {y:.1f}) rotate({turn:.1f})" font-size="{size:.1f}" '
        f'textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
    )


def _corners(geometry: Sequence[float]) -> tuple[tuple[float, float], ...]:
    if len(geometry) == 4:
        left, top, right, bottom = geometry
        return (left, top), (right, top), (right, bottom), (left, bottom)
    return tuple(zip(geometry[::2], geometry[1::2], strict=True))


def _data(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
