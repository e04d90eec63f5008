"""What XML files of regions may do to us: nothing."""

import re
from io import BytesIO

import lxml.etree
import pytest

from contract.errors import SourceError
from producer.regions import FORMATS, xml
from producer.regions.base import OtherFormatError, RegionOptions, RegionText
from tests.schemas import schema
from tests.unit.producer.regions.test_every_format import READ, SAMPLE_OF, regions_of, written

PAGE = SAMPLE_OF["page"].data
ALTO = SAMPLE_OF["alto"].data
HOCR = SAMPLE_OF["hocr"].data
NEWEST, OLDER = b"2019-07-15", b"2013-07-15"

BOMB = b"""<?xml version="1.0"?><!DOCTYPE PcGts [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<PcGts><Page imageFilename="&b;"/></PcGts>"""

FETCHING = b"""<?xml version="1.0"?><!DOCTYPE PcGts [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<PcGts><Page>&a;</Page></PcGts>"""


@pytest.mark.parametrize("data", [BOMB, FETCHING])
def test_a_file_that_declares_entities_is_refused_before_they_are_expanded(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"declares the entity 'a'"):
        regions_of(FORMATS["page"], data)


def test_versions_that_are_not_read_are_named() -> None:
    with pytest.raises(SourceError, match=r"pagecontent/2010-03-19'.*2013-07-15 to 2019-07-15"):
        regions_of(FORMATS["page"], PAGE.replace(NEWEST, b"2010-03-19"))


def test_each_version_is_read_but_not_two_in_one_file() -> None:
    older = PAGE.replace(NEWEST, OLDER)
    mixed = PAGE.replace(
        b'<TextLine id="l3">',
        b'<TextLine id="l3" xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15">',
    )

    assert regions_of(FORMATS["page"], older) == regions_of(FORMATS["page"], PAGE)
    with pytest.raises(SourceError, match=r"line 35: it mixes the versions .*2019-07-15 and .*2013-07-15"):
        regions_of(FORMATS["page"], mixed)


def test_an_attribute_is_not_taken_for_the_value_of_another_one() -> None:
    odd = b"""<TextEquiv comments='> conf="1" ' dataType="other"\n conf = "0.25" ><Unicode>olde"""
    data = PAGE.replace(b'<TextEquiv conf="0.25"><Unicode>olde', odd)

    copy = written(FORMATS["page"], data, lambda *_: READ, "word")

    assert b"""<TextEquiv comments='> conf="1" ' dataType="other"\n conf = "0.8750" >""" in copy
    valid("page-2019-07-15.xsd", copy)


def test_elements_of_other_vocabularies_are_no_regions_and_stay() -> None:
    foreign = PAGE.replace(b"<TextStyle", b'<x:TextLine xmlns:x="urn:x" id="l9"/><TextStyle')

    assert list(regions_of(FORMATS["page"], foreign)) == ["l1", "l2", "l3"]
    assert b'<x:TextLine xmlns:x="urn:x" id="l9"/>' in written(FORMATS["page"], foreign, lambda *_: READ)


def test_another_root_is_another_format() -> None:
    with pytest.raises(OtherFormatError, match="its root is <mets>, and that of PAGE-XML is <PcGts>"):
        regions_of(FORMATS["page"], b'<m:mets xmlns:m="http://www.loc.gov/METS/"/>')


def test_depth_and_the_length_of_a_tag_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = PAGE.replace(b"<TextStyle", b"<TextStyle>" * 300 + b"<TextStyle")
    with pytest.raises(SourceError, match="nested more than 200 deep"):
        regions_of(FORMATS["page"], deep)

    monkeypatch.setattr(xml, "MAX_TOKEN_BYTES", 100_000)
    with pytest.raises(SourceError, match="line 3 has a tag of more than"):
        regions_of(FORMATS["page"], PAGE.replace(b'pcGtsId="', b'pcGtsId="' + b"x" * 300_000))


@pytest.mark.parametrize("codec", ["utf-16", "utf-8-sig", "iso-8859-1", "windows-1252"])
def test_a_copy_has_its_files_encoding(codec: str) -> None:
    declared = codec.removesuffix("-sig")
    data = PAGE.decode().replace('encoding="UTF-8"', f'encoding="{declared}"').encode(codec)

    copy = written(FORMATS["page"], data, lambda *_: RegionText("Łódź €", 0.5))

    assert written(FORMATS["page"], data, lambda *_: None) == data
    found = lxml.etree.fromstring(copy)
    texts = found.xpath(
        "//*[local-name()='TextLine']/*[local-name()='TextEquiv'][1]/*[local-name()='Unicode']"
    )
    assert [text.text for text in texts] == ["Łódź €"] * 3


def test_prefixes_are_kept() -> None:
    prefixed = re.sub(rb"<(/?)(?=[A-Za-z])", rb"<\1pc:", PAGE).replace(b"xmlns=", b"xmlns:pc=")

    copy = written(FORMATS["page"], prefixed, lambda *_: READ)

    assert copy.count(b"<pc:Unicode>") == prefixed.count(b"<pc:Unicode") + 1
    valid("page-2019-07-15.xsd", copy)


@pytest.mark.parametrize("level", ["line", "word", "region"])
def test_written_page_files_are_valid(level: str) -> None:
    copy = written(FORMATS["page"], PAGE, lambda *_: READ, level)

    valid("page-2019-07-15.xsd", PAGE)
    valid("page-2019-07-15.xsd", copy)


@pytest.mark.parametrize("level", ["line", "word", "region"])
@pytest.mark.parametrize("version", [2, 3, 4])
def test_written_alto_files_are_valid(level: str, version: int) -> None:
    data = ALTO.replace(b"ns-v4#", b"ns-v%d#" % version)
    copy = written(FORMATS["alto"], data, lambda *_: READ, level)

    valid("alto-4-2.xsd", ALTO)
    valid("alto-4-2.xsd", copy.replace(b"ns-v%d#" % version, b"ns-v4#"))


def test_the_text_of_an_alto_line_takes_the_place_of_its_words() -> None:
    copy = written(FORMATS["alto"], ALTO, lambda *_: RegionText("a b", 0.5))

    lines = lxml.etree.fromstring(copy).findall(".//{*}TextLine")
    words, empty = ([dict(string.attrib) for string in line.findall("{*}String")] for line in lines)
    box = {"HPOS": "20", "VPOS": "20", "WIDTH": "560", "HEIGHT": "40"}
    assert words == [{"ID": "s1", **box, "CONTENT": "a b", "WC": "0.5000"}]
    assert empty == [
        {"CONTENT": "a b", "HPOS": "22", "VPOS": "70", "WIDTH": "558", "HEIGHT": "42", "WC": "0.5000"}
    ]
    assert copy.count(b"<!-- An") == 2


def test_a_line_and_a_block_without_content_get_some() -> None:
    bare = ALTO.replace(b'<String CONTENT="" HPOS="22" VPOS="70" WIDTH="558" HEIGHT="42"></String>', b"")

    line = written(FORMATS["alto"], bare, lambda *_: READ)
    block = written(FORMATS["alto"], ALTO, lambda *_: READ, "region")

    assert (
        lxml.etree.fromstring(line).findall(".//{*}TextLine")[1].find("{*}String").get("CONTENT")
        == READ.value
    )
    (added,) = lxml.etree.fromstring(block).find(".//{*}TextBlock[@ID='b2']")
    assert dict(added.attrib) == {"HPOS": "20", "VPOS": "220", "WIDTH": "560", "HEIGHT": "60"}
    assert added.find("{*}String").get("CONTENT") == READ.value


@pytest.mark.parametrize(
    ("unit", "size", "points", "fault"),
    [
        (b"mm10", b'WIDTH="600" HEIGHT="400"', (20 / 600, 0.05, 580 / 600, 0.15), None),
        (b"inch1200", b'WIDTH="1200" HEIGHT="400"', (20 / 1200, 0.05, 580 / 1200, 0.15), None),
        (b"mm10", b"", (), "its page has no size in mm10, so its pixels are unknown"),
        (b"mm10", b'WIDTH="0" HEIGHT="x"', (), "its page has no size in mm10, so its pixels are unknown"),
        (b"furlong", b'WIDTH="600" HEIGHT="400"', (), "the unit 'furlong' is not known"),
    ],
)
def test_units_of_length_are_shares_of_the_page(
    unit: bytes, size: bytes, points: tuple[float, ...], fault: str | None
) -> None:
    data = ALTO.replace(b">pixel<", b">" + unit + b"<").replace(
        b'PHYSICAL_IMG_NR="1" WIDTH="600" HEIGHT="400"', size
    )

    region = regions_of(FORMATS["alto"], data)["l1"]

    assert (region.points, region.fault) == (points, fault)
    assert fault or region.unit == "rel"


@pytest.mark.parametrize(("first", "pages"), [(0, [1, 2]), (1, [1, 2]), (7, [7, 8])])
def test_the_pages_of_a_document_have_their_numbers(first: int, pages: list[int]) -> None:
    start, end = ALTO.index(b"<Page "), ALTO.index(b"</Layout>")
    page = ALTO[start:end]
    several = b"".join(
        page.replace(b'PHYSICAL_IMG_NR="1"', b'PHYSICAL_IMG_NR="%d"' % number)
        for number in (first, first + 1)
    )
    data = (ALTO[:start] + several + ALTO[end:]).replace(b"0001.png", b"book.pdf")

    found = [
        (page.image, page.page, len(list(page.regions)))
        for page in FORMATS["alto"].pages(BytesIO(data), RegionOptions())
    ]

    assert found == [("book.pdf", pages[0], 2), ("book.pdf", pages[1], 2)]


def test_an_hocr_file_has_many_pages_and_keeps_what_is_no_text() -> None:
    start, end = HOCR.index(b"  <div class='ocr_page'"), HOCR.index(b" </body>")
    pages = b"".join(HOCR[start:end].replace(b"ppageno 0", b"ppageno %d" % number) for number in (4, 5))
    data = HOCR[:start] + pages + HOCR[end:]

    def numbers(image: bytes) -> list[tuple[str | None, int | None]]:
        found = FORMATS["hocr"].pages(BytesIO(data.replace(b"0001.png", image)), RegionOptions())
        return [(page.image, page.page) for page in found]

    assert numbers(b"book.pdf") == [("book.pdf", 5), ("book.pdf", 6)]
    assert numbers(b"book.tif") == [("book.tif", 1), ("book.tif", 2)]
    copy = written(FORMATS["hocr"], data, lambda image, page, name: READ if page == 2 else None)
    assert copy[: start + (end - start)] == data[: start + (end - start)]
    assert copy.count(b"x_wconf 88'") == 3


def test_the_texts_of_hocr_are_content_with_a_confidence_in_percent() -> None:
    copy = written(FORMATS["hocr"], HOCR, lambda *_: RegionText("a<b", 0.876)).decode()

    assert "title='bbox 20 20 200 60; x_wconf 88'>a&lt;b</span>" in copy
    assert "id='word_1_3' title='bbox 22 70 580 112; x_wconf 88'>a&lt;b</span>" in copy
    assert "<strong>" not in copy
    assert "Regions&nbsp;&mdash; as" in copy


@pytest.mark.parametrize(
    ("title", "fault"),
    [("x_size 4", "its title has no bbox"), ("bbox 1 2 x 4", "numbers"), ("bbox 9 2 1 4", "is empty")],
)
def test_an_hocr_element_without_a_box_is_a_faulty_region(title: str, fault: str) -> None:
    data = HOCR.replace(b"bbox 20 20 200 60; x_wconf 96", title.encode())

    assert fault in str(regions_of(FORMATS["hocr"], data)["word_1_1"].fault)


def test_boxes_on_an_image_without_a_name_are_shares_of_its_page() -> None:
    # as docTR writes it, also for the pages of a PDF
    data = HOCR.replace(b'image "0001.png"; ', b"image; ")

    page = next(FORMATS["hocr"].pages(BytesIO(data), RegionOptions()))
    region = next(page.regions)

    assert (page.image, region.unit, region.points) == ("", "rel", (20 / 600, 0.05, 200 / 600, 0.15))


def test_html_without_pages_is_another_format_and_soup_is_damaged() -> None:
    with pytest.raises(OtherFormatError, match="no element of the class ocr_page"):
        regions_of(FORMATS["hocr"], b"<html><body/></html>")
    with pytest.raises(SourceError, match="line 1 is not well-formed XML"):
        regions_of(FORMATS["hocr"], b"<html><body><br></body></html>")


@pytest.mark.parametrize(
    "points", ["22,70 580,72 578,110 24,112", "580,72 578,110 24,112 22,70", "24,112 578,110 580,72 22,70"]
)
def test_the_corners_of_an_outline_begin_at_the_upper_left_however_it_was_drawn(points: str) -> None:
    data = PAGE.replace(b"22,70 300,72 580,70 578,110 24,112", points.encode())

    assert regions_of(FORMATS["page"], data)["l2"].points == (22, 70, 580, 72, 578, 110, 24, 112)


def test_characters_that_no_xml_file_can_hold_are_replaced() -> None:
    copy = written(FORMATS["page"], PAGE, lambda *_: RegionText("a\x00\x0b\ud800b", 1.0))

    assert "a\ufffd\ufffd\ufffdb".encode() in copy
    valid("page-2019-07-15.xsd", copy)


def test_a_line_without_an_outline_is_a_faulty_region_and_gets_a_number_for_a_name() -> None:
    regions = regions_of(
        FORMATS["page"], PAGE.replace(b'<TextRegion id="r2">', b'<TextLine/><TextRegion id="r2">')
    )

    assert regions["1"].fault == "it has no Coords"


def test_the_pixels_of_a_pdf_are_shares_of_its_page() -> None:
    regions = regions_of(FORMATS["page"], PAGE.replace(b"0001.png", b"0001.pdf"))

    assert (regions["l1"].unit, regions["l1"].points) == ("rel", (20 / 600, 0.05, 580 / 600, 0.15))


def test_a_file_is_read_page_by_page_and_line_by_line() -> None:
    lines = b"".join(
        b'<TextLine id="x%d"><Coords points="0,0 9,0 9,9 0,8"/></TextLine>' % number
        for number in range(20_000)
    )
    data = PAGE.replace(b'<TextRegion id="r2">', lines + b'<TextRegion id="r2">')
    stream = BytesIO(data)

    page = next(FORMATS["page"].pages(stream, RegionOptions()))
    next(page.regions)

    assert stream.tell() < len(data) / 4


def valid(name: str, data: bytes) -> None:
    """Check a file against a schema."""
    schema(name).assertValid(lxml.etree.fromstring(data))
