"""ALTO and PAGE-XML: made of the lines of pages, and valid against the published schemas."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from contract.errors import ErrorCode
from contract.job import Job, Plan, Retry
from contract.kinds.ocr import OcrParameters
from contract.lines import Block, Estimate, Failure, Geometry, OcrLine, PageText, TextLine, Word, encode_line
from contract.records import Item
from contract.source import Source
from contract.workspace import Workspace
from producer.results.sinks import SINKS, check_exports
from producer.results.sinks.base import MergedLine, SinkContext
from tests.schemas import schema

FORMATS = ("alto", "page")
SCHEMAS = {"alto": "alto-4-2.xsd", "page": "page-2019-07-15.xsd"}
NAMES = {
    "a": "http://www.loc.gov/standards/alto/ns-v4#",
    "p": "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15",
}
BOX: Geometry = (0.1, 0.2, 0.3, 0.25)
TURNED: Geometry = (0.1, 0.2, 0.3, 0.3, 0.29, 0.35, 0.09, 0.25)


def page(identity: str, *lines: str, number: int = 1, geometry: Geometry = BOX) -> OcrLine:
    """Return a page of 200 by 100 pixels, with its lines in one block."""

    def words(text: str) -> tuple[Word, ...]:
        return tuple(Word(word, geometry, 0.5, 0.876543, Estimate()) for word in text.split(" ") if text)

    texts = tuple(TextLine(geometry, 0.5, words(text)) for text in lines)
    name = identity.partition("#page")[0].rpartition("/")[2]
    pages = (PageText((Block(geometry, 0.5, texts),) if texts else ()),)
    return OcrLine(identity, name, number, Estimate(), Estimate(), (100, 200), pages)


@pytest.fixture
def job() -> Job:
    """Given an ocr job that exports both formats."""
    return Job(
        id="pages-1",
        kind="ocr",
        parameters=OcrParameters(recognition_model="parseq", assume_straight_pages=False),
        exports=FORMATS,
        source=Source(type="folder", uri="/scans"),
        chunk_size=2,
        created_at=1_000,
        plan=Plan(chunks=2, items=4),
    )


def export(job: Job, workspace: Workspace, *chunks: list[OcrLine | Item], order: Any = None) -> None:
    """Write chunks of pages and export them; an item is a page that failed.

    Args:
        order: the merged ids, if they are not in the order of the chunks
    """
    merged: dict[str, MergedLine] = {}
    for number, pages in enumerate(chunks):
        for one in pages:
            failure = Failure(ErrorCode.TRUNCATED, "cut") if isinstance(one, Item) else None
            merged[one.id] = MergedLine(encode_line(one).strip(), failure, number)
        items = (one if isinstance(one, Item) else item(one) for one in pages)
        workspace.store.replace(workspace.chunk(number), b"".join(map(encode_line, items)))
    context = SinkContext(job, workspace)
    with contextlib.ExitStack() as stack:
        writes = [stack.enter_context(SINKS[name].open(context)) for name in FORMATS]
        for identity in order or merged:
            for write in writes:
                write(merged[identity])


def item(line: OcrLine) -> Item:
    return Item(line.id, f"/scans/{line.name}", page=line.page if "#page=" in line.id else None)


def exported(workspace: Workspace, name: str) -> Any:
    """Return an export's root, once it is valid."""
    root = etree.parse(Path(workspace.path("exports", name))).getroot()
    schema(SCHEMAS[name.split(".")[-2]]).assertValid(root)
    return root


def found(root: Any, path: str) -> list[Any]:
    return list(root.xpath(path, namespaces=NAMES))


def names(workspace: Workspace) -> list[str]:
    folder = workspace.path("exports") + "/"
    return sorted(uri.removeprefix(folder) for uri, _ in workspace.store.objects(folder))


def test_alto_has_the_words_of_a_page_with_boxes_and_confidences(job: Job, workspace: Workspace) -> None:
    export(job, workspace, [page("scans/a.png", "two words", "three")])

    root = exported(workspace, "scans/a.png.alto.xml")

    assert found(root, "//a:String/@CONTENT") == ["two", "words", "three"]
    assert found(root, "//a:TextLine[1]/a:*[2]/@*[local-name()='HPOS']") == ["60"]
    assert found(root, "//a:String[1]/@WC")[0] == "0.8765"
    (word, *_) = found(root, "//a:String")
    assert [word.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] == ["20", "20", "40", "5"]
    assert found(root, "//a:fileName/text()") == ["a.png"]
    assert found(root, "//a:fileIdentifier/text()") == ["scans/a.png"]
    assert "recognition_model: parseq" in found(root, "//a:processingStepSettings/text()")[0]


def test_page_xml_has_the_words_of_a_page_in_reading_order(job: Job, workspace: Workspace) -> None:
    export(job, workspace, [page("scans/a.png", "two words", "three")])

    root = exported(workspace, "scans/a.png.page.xml")

    assert found(root, "//p:Word/p:TextEquiv/p:Unicode/text()") == ["two", "words", "three"]
    assert found(root, "//p:TextLine/p:TextEquiv/p:Unicode/text()") == ["two words", "three"]
    assert found(root, "//p:TextRegion/p:TextEquiv/p:Unicode/text()") == ["two words\nthree"]
    assert found(root, "//p:RegionRefIndexed/@regionRef") == found(root, "//p:TextRegion/@id")
    assert found(root, "//p:Word/p:TextEquiv/@conf")[0] == "0.8765"
    assert found(root, "//p:Word/p:Coords/@points")[0] == "20,20 60,20 60,25 20,25"
    (image,) = found(root, "//p:Page")
    assert [image.get(f"image{name}") for name in ("Filename", "Width", "Height")] == ["a.png", "200", "100"]
    assert found(root, "//p:Label[@type='recognition_model']/@value") == ["parseq"]


def test_turned_words_are_polygons(job: Job, workspace: Workspace) -> None:
    export(job, workspace, [page("a.png", "turned", geometry=TURNED)])

    corners = "20,20 60,30 58,35 18,25"
    assert set(found(exported(workspace, "a.png.alto.xml"), "//a:Polygon/@POINTS")) == {corners}
    assert set(found(exported(workspace, "a.png.page.xml"), "//p:Coords/@points")) == {corners}


def test_corners_outside_the_page_are_moved_to_its_edge(job: Job, workspace: Workspace) -> None:
    export(job, workspace, [page("a.png", "cut", geometry=(-0.1, 0.5, 1.1, 0.5, 1.1, 1.2, -0.1, 1.2))])

    points = found(exported(workspace, "a.png.page.xml"), "//p:Word/p:Coords/@points")
    assert points == ["0,50 200,50 200,100 0,100"]
    exported(workspace, "a.png.alto.xml")


def test_alto_has_a_document_and_page_xml_a_page_in_one_file(job: Job, workspace: Workspace) -> None:
    # given a document in two chunks, of which a page failed at first and another one for good
    job = job.model_copy(update={"retries": (Retry(first_chunk=2, chunks=1, items=1),)})
    pages = {number: page(f"b.pdf#page={number}", f"text {number}", number=number) for number in (1, 2, 4)}
    failed = Item("b.pdf#page=3", "/scans/b.pdf", page=3)
    order = ["a.png", "b.pdf#page=1", "b.pdf#page=2", failed.id, "b.pdf#page=4"]

    export(job, workspace, [page("a.png", "a"), pages[1]], [failed, pages[4]], [pages[2]], order=order)

    document = exported(workspace, "b.pdf.alto.xml")
    assert found(document, "//a:Page/@PHYSICAL_IMG_NR") == ["1", "2", "4"]
    assert found(document, "//a:String/@CONTENT") == ["text", "1", "text", "2", "text", "4"]
    each = [f"b.pdf#page={number}.page.xml" for number in (1, 2, 4)]
    assert names(workspace) == ["a.png.alto.xml", "a.png.page.xml", *each, "b.pdf.alto.xml"]
    assert [found(exported(workspace, one), "//p:Word")[1].xpath("string()").strip() for one in each] == [
        "1",
        "2",
        "4",
    ]


@pytest.mark.parametrize("lines", [(), ("",), ("", "one")])
def test_a_page_or_a_line_without_words_is_valid(
    lines: tuple[str, ...], job: Job, workspace: Workspace
) -> None:
    export(job, workspace, [page("a.png", *lines)])

    for name in FORMATS:
        exported(workspace, f"a.png.{name}.xml")


def test_characters_that_xml_forbids_are_replaced_and_markup_is_text(job: Job, workspace: Workspace) -> None:
    hostile = "a\x00\x1b\ufffe<&\"'>]]>"
    export(job, workspace, [page(f"{hostile}.png", hostile)])

    texts = {"alto": "//a:String/@CONTENT", "page": "//p:Word//p:Unicode/text()"}
    for name in names(workspace):
        assert found(exported(workspace, name), texts[name.split(".")[-2]]) == [
            "a\ufffd\ufffd\ufffd<&\"'>]]>"
        ]


def test_a_folder_is_not_named_as_a_file(job: Job, workspace: Workspace) -> None:
    export(job, workspace, [page("report", "a"), page("report.ALTO.xml/annex", "b")])

    assert names(workspace) == [
        "report.ALTO%2Exml/annex.alto.xml",
        "report.ALTO%2Exml/annex.page.xml",
        "report.alto.xml",
        "report.page.xml",
    ]


def test_pages_that_are_not_straight_can_be_exported(job: Job) -> None:
    check_exports(job)
