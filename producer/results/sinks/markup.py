"""What ALTO and PAGE-XML have in common: pages in pixels, made of lines."""

import importlib.metadata
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from lxml import etree

from contract.documents import document_of
from contract.job import Job
from contract.lines import Block, Geometry, OcrLine, TextLine
from contract.printable import for_xml
from producer.results.sinks.base import MergedLine, SinkContext

SOFTWARE = "trace-ocr-batch"

SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"

Points = tuple[tuple[int, int], ...]


class ReadPage(NamedTuple):
    """A page that was read, and the id of its document or image."""

    line: OcrLine
    document: str


def read_page(context: SinkContext, merged: MergedLine) -> ReadPage:
    """Return the page in a merged line; raises JobError if its chunk does not hold it."""
    item = context.item(merged)
    line = msgspec.json.decode(merged.line, type=OcrLine)
    return ReadPage(line, document_of(item.id, item.page))


def text_blocks(line: OcrLine) -> list[tuple[str, Block, list[TextLine]]]:
    """Return the blocks of a page that have words, each with its id in a file and its lines with words."""
    return [
        (f"page_{line.page}_block_{number}", block, [text for text in block.lines if text.words])
        for number, block in enumerate(line.pages[0].blocks, 1)
        if any(text.words for text in block.lines)
    ]


def corners(geometry: Geometry, dimensions: tuple[int, int]) -> Points:
    """Return the corners of a geometry in pixels, clockwise from the text's upper left, within the page.

    Args:
        dimensions: (height, width) in pixels
    """
    height, width = dimensions
    if len(geometry) == 4:
        left, top, right, bottom = geometry
        geometry = (left, top, right, top, right, bottom, left, bottom)
    return tuple(
        (_pixel(x, width), _pixel(y, height)) for x, y in zip(geometry[::2], geometry[1::2], strict=True)
    )


def written_points(points: Points) -> str:
    """Return points as both formats write them: `x1,y1 x2,y2 ...`."""
    return " ".join(f"{x},{y}" for x, y in points)


def settings_of(job: Job) -> dict[str, str]:
    """Return the names of the models and the other parameters that pages were read with, as text."""
    values: dict[str, Any] = job.parameters.model_dump(mode="json", exclude_none=True)
    return {
        name: for_xml(value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in values.items()
    }


def submitted_at(job: Job) -> str:
    """Return when a job was submitted, in UTC: unlike the time of the merge, it stays the same."""
    return datetime.fromtimestamp(job.created_at, UTC).isoformat().replace("+00:00", "Z")


def software_version() -> str:
    """Return the version of this software."""
    return importlib.metadata.version(SOFTWARE)


def score(value: float) -> str:
    """Return a score as both formats write it: a number in 0..1."""
    return f"{min(max(value, 0.0), 1.0):.4f}"


def document_bytes(root: "etree._Element") -> bytes:
    """Return a whole XML document."""
    data: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return data


def _pixel(share: float, size: int) -> int:
    return min(max(round(share * size), 0), size)
