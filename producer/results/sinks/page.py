"""Each page as PAGE-XML of 2019, which has one page per file: https://github.com/PRImA-Research-Lab/PAGE-XML."""

import contextlib
from collections.abc import Iterator
from typing import Any

from lxml.builder import ElementMaker

from contract.documents import claimed_document
from contract.job import Job
from contract.lines import Block, Geometry, OcrLine, TextLine, Word
from contract.printable import for_xml
from producer.results.sinks.base import SinkContext
from producer.results.sinks.documents import AddPage, DocumentSink
from producer.results.sinks.markup import (
    SCHEMA_LOCATION,
    SOFTWARE,
    ReadPage,
    corners,
    document_bytes,
    read_page,
    score,
    settings_of,
    software_version,
    submitted_at,
    text_blocks,
    written_points,
)

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"

SCHEMA = f"{NAMESPACE}/pagecontent.xsd"

_E = ElementMaker(namespace=NAMESPACE, nsmap={None: NAMESPACE})


@contextlib.contextmanager
def _open(uri: str, context: SinkContext) -> Iterator[AddPage[ReadPage]]:
    with context.workspace.store.writer(uri) as target:

        def add(page: ReadPage) -> None:
            target.write(document_bytes(_document(page.line, context.job)))

        yield add


def _document(line: OcrLine, job: Job) -> Any:
    return _E.PcGts(
        {SCHEMA_LOCATION: f"{NAMESPACE} {SCHEMA}"},
        _E.Metadata(
            _E.Creator(f"{SOFTWARE} {software_version()}"),
            _E.Created(submitted_at(job)),
            _E.LastChange(submitted_at(job)),
            _step(job),
        ),
        _page(line),
    )


def _step(job: Job) -> Any:
    labels = (_E.Label(type=name, value=value) for name, value in settings_of(job).items())
    return _E.MetadataItem(
        _E.Labels(*labels, externalModel=SOFTWARE, externalId="parameters"),
        type="processingStep",
        name="ocr",
        value=f"{SOFTWARE} {software_version()}",
        date=submitted_at(job),
    )


def _page(line: OcrLine) -> Any:
    height, width = line.dimensions
    blocks = text_blocks(line)
    order = [
        _E.RegionRefIndexed(index=str(index), regionRef=identity)
        for index, (identity, _, _) in enumerate(blocks)
    ]
    return _E.Page(
        *([_E.ReadingOrder(_E.OrderedGroup(*order, id="reading_order"))] if order else ()),
        *(_region(identity, block, texts, line) for identity, block, texts in blocks),
        imageFilename=for_xml(_image(line)),
        imageWidth=str(width),
        imageHeight=str(height),
    )


def _image(line: OcrLine) -> str:
    """Return the name of a page's image, with the number of a document's page, as `--regions` reads it."""
    document = claimed_document(line.id)
    return line.name if document is None else line.name + line.id.removeprefix(document)


def _region(identity: str, block: Block, texts: list[TextLine], line: OcrLine) -> Any:
    return _E.TextRegion(
        _coords(block.geometry, block.detection_score, line),
        *(_line(f"{identity}_line_{number}", text, line) for number, text in enumerate(texts, 1)),
        _text("\n".join(_value(text) for text in texts)),
        id=identity,
    )


def _line(identity: str, text: TextLine, line: OcrLine) -> Any:
    return _E.TextLine(
        _coords(text.geometry, text.detection_score, line),
        *(_word(f"{identity}_word_{number}", word, line) for number, word in enumerate(text.words, 1)),
        _text(_value(text)),
        id=identity,
    )


def _word(identity: str, word: Word, line: OcrLine) -> Any:
    return _E.Word(
        _coords(word.geometry, word.detection_score, line),
        _text(word.value, conf=score(word.confidence)),
        id=identity,
    )


def _coords(geometry: Geometry, detection_score: float, line: OcrLine) -> Any:
    points = written_points(corners(geometry, line.dimensions))
    return _E.Coords(points=points, conf=score(detection_score))


def _text(value: str, **attributes: str) -> Any:
    return _E.TextEquiv(_E.Unicode(for_xml(value)), **attributes)


def _value(text: TextLine) -> str:
    return " ".join(word.value for word in text.words)


SINK = DocumentSink("page", read_page, _open, file_of=lambda item: item.id, suffix="page.xml")
