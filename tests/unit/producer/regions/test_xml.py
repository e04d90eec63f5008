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
