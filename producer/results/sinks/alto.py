"""Each document as ALTO, with a page for each of its pages: https://www.loc.gov/standards/alto/.

Written as version 4.2, without what later versions of 4 have added: every reader of ALTO 4 can read it.
"""

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from lxml import etree
from lxml.builder import ElementMaker

from contract.job import Job
from contract.kinds import KINDS
from contract.lines import Block, Geometry, OcrLine, TextLine, Word
from contract.printable import for_xml
from producer.results.sinks.base import SinkContext
from producer.results.sinks.documents import AddPage, DocumentSink
from producer.results.sinks.markup import (
    SCHEMA_LOCATION,
    SOFTWARE,
    ReadPage,
    corners,
    read_page,
    score,
    settings_of,
    software_version,
    submitted_at,
    text_blocks,
    written_points,
)

VERSION = "4.2"

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"

SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"

STEP = "step_1"
"""Id of the one processing step."""

_E = ElementMaker(namespace=NAMESPACE, nsmap={None: NAMESPACE})


@contextlib.contextmanager
def _open(uri: str, context: SinkContext) -> Iterator[AddPage[ReadPage]]:
    with (
        context.workspace.store.writer(uri) as target,
        etree.xmlfile(target, encoding="UTF-8") as file,
        contextlib.ExitStack() as opened,
    ):
        begun = False

        def add(page: ReadPage) -> None:
            nonlocal begun
            if not begun:
                begun = True
                file.write_declaration()
                location = {SCHEMA_LOCATION: f"{NAMESPACE} {SCHEMA}", "SCHEMAVERSION": VERSION}
                opened.enter_context(file.element(f"{{{NAMESPACE}}}alto", location, nsmap={None: NAMESPACE}))
                file.write(_description(page, context.job), pretty_print=True)
                opened.enter_context(file.element(f"{{{NAMESPACE}}}Layout"))
            file.write(_page(page.line), pretty_print=True)

        yield add


def _description(page: ReadPage, job: Job) -> Any:
    settings = "\n".join(f"{name}: {value}" for name, value in settings_of(job).items())
    return _E.Description(
        _E.MeasurementUnit("pixel"),
        _E.sourceImageInformation(
            _E.fileName(for_xml(page.line.name)), _E.fileIdentifier(for_xml(page.document))
        ),
        _E.Processing(
            _E.processingCategory("contentGeneration"),
            _E.processingDateTime(submitted_at(job)),
            _E.processingStepDescription("OCR"),
            _E.processingStepSettings(settings),
            _E.processingSoftware(_E.softwareName(SOFTWARE), _E.softwareVersion(software_version())),
            ID=STEP,
        ),
    )


def _page(line: OcrLine) -> Any:
    height, width = line.dimensions
    blocks = [_block(identity, block, texts, line) for identity, block, texts in text_blocks(line)]
    confidence = KINDS["ocr"].excerpt(line).confidence
    return _E.Page(
        _E.PrintSpace(*blocks, HPOS="0", VPOS="0", WIDTH=str(width), HEIGHT=str(height)),
        {"PC": score(confidence)} if confidence is not None else {},
        ID=f"page_{line.page}",
        PHYSICAL_IMG_NR=str(line.page),
        WIDTH=str(width),
        HEIGHT=str(height),
        PROCESSINGREFS=STEP,
    )


def _block(identity: str, block: Block, texts: list[TextLine], line: OcrLine) -> Any:
    return _E.TextBlock(
        *_place(block.geometry, line),
        *(_line(f"{identity}_line_{number}", text, line) for number, text in enumerate(texts, 1)),
        ID=identity,
    )


def _line(identity: str, text: TextLine, line: OcrLine) -> Any:
    strings = [_string(f"{identity}_word_{number}", word, line) for number, word in enumerate(text.words, 1)]
    spaces = [_space(before, after) for before, after in pairwise(strings)]
    alternating = [one for pair in zip(strings, [*spaces, None], strict=True) for one in pair]
    return _E.TextLine(
        *_place(text.geometry, line), *(one for one in alternating if one is not None), ID=identity
    )


def _string(identity: str, word: Word, line: OcrLine) -> Any:
    return _E.String(
        *_place(word.geometry, line), ID=identity, CONTENT=for_xml(word.value), WC=score(word.confidence)
    )


def _space(before: Any, after: Any) -> Any:
    """Return the space between two words: as wide as the gap between them, if there is one."""
    end = int(before.get("HPOS")) + int(before.get("WIDTH"))
    return _E.SP(HPOS=str(end), VPOS=before.get("VPOS"), WIDTH=str(max(int(after.get("HPOS")) - end, 0)))


def _place(geometry: Geometry, line: OcrLine) -> Iterator[Any]:
    """Yield the attributes of an upright box, and for a polygon its shape."""
    points = corners(geometry, line.dimensions)
    across, down = zip(*points, strict=True)
    yield {
        "HPOS": str(min(across)),
        "VPOS": str(min(down)),
        "WIDTH": str(max(across) - min(across)),
        "HEIGHT": str(max(down) - min(down)),
    }
    if len(geometry) > 4:
        yield _E.Shape(_E.Polygon(POINTS=written_points(points)))


SINK = DocumentSink("alto", read_page, _open, suffix="alto.xml")
