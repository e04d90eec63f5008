"""CVAT's images 1.1, by the rules of CVAT's and Datumaro's readers."""

from io import BytesIO

import lxml.etree
import pytest

from contract.errors import SourceError
from producer.regions import FORMATS
from producer.regions.base import RegionOptions
from tests.unit.producer.regions.test_every_format import READ, SAMPLE_OF, regions_of, written

CVAT = FORMATS["cvat"]
DATA = SAMPLE_OF["cvat"].data


def file(*shapes: str) -> bytes:
    inner = "".join(shapes)
    return f'<annotations><version>1.1</version><image name="a.png">{inner}</image></annotations>'.encode()


def test_a_turned_box_is_a_polygon_turned_clockwise_about_its_centre() -> None:
    box = '<box label="a" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>'

    turned = regions_of(CVAT, file(box))["1"]

    assert turned.points == pytest.approx((25, 5, 25, 25, 15, 25, 15, 5))


def test_shapes_that_have_no_area_are_faulty_and_keep_the_others_names() -> None:
    regions = regions_of(
        CVAT,
        file(
            '<polyline label="a" points="1,2;3,4"/>',
            '<tag label="a"/>',
            '<mask label="a" rle="1,2" left="1" top="2" width="30" height="40"/>',
            '<skeleton label="s"><points points="1,2"><attribute name="k">x</attribute></points></skeleton>',
            '<box label="a" xtl="1" ytl="?" xbr="3" ybr="4"/>',
            '<box label="a" xtl="1" ytl="2" xbr="3"/>',
        ),
    )

    assert list(regions) == ["1", "2", "3", "4", "5"]
    assert regions["1"].fault == "boxes, polygons and masks are read, this is <polyline>"
    assert regions["2"].points == (1, 2, 31, 42)
    assert [bool(regions[name].fault) for name in ("3", "4", "5")] == [True] * 3


def test_only_shapes_of_the_labels_are_read() -> None:
    page = next(CVAT.pages(BytesIO(DATA), RegionOptions(categories=("reading",))))

    assert [region.name for region in page.regions] == ["2", "3"]


def test_a_video_task_is_named_with_the_export_to_choose() -> None:
    with pytest.raises(SourceError, match="export it as `CVAT for images"):
        regions_of(CVAT, b"<annotations><version>1.1</version><track id='0'/></annotations>")


def test_a_copy_has_the_attributes_in_their_shapes_and_the_rest_byte_for_byte() -> None:
    copy = written(CVAT, DATA, lambda image, page, name: READ)

    shapes = lxml.etree.fromstring(copy).xpath("//box | //polygon")
    for one in shapes:
        assert one.xpath("attribute[@name='text']/text()") == [READ.value]
        assert one.xpath("attribute[@name='confidence']/text()") == ["0.875"]
        assert {child.tag for child in one} == {"attribute"}
    assert [one.xpath("attribute[@name='unit']/text()") for one in shapes] == [[], ["kWh"], ["kWh"]]
    added = b"<attribute name="
    kept = [line for line in DATA.splitlines() if added not in line or b"unit" in line]
    assert [line for line in copy.splitlines() if added not in line or b"unit" in line] == kept


def test_a_shape_that_is_closed_at_once_gets_attributes_too() -> None:
    copy = written(CVAT, file('<box label="a" xtl="1" ytl="2" xbr="3" ybr="4" />'), lambda *_: READ)

    assert lxml.etree.fromstring(copy).xpath("//box/attribute[@name='text']/text()") == [READ.value]
    assert regions_of(CVAT, copy) == regions_of(CVAT, file('<box xtl="1" ytl="2" xbr="3" ybr="4"/>'))


def test_the_shapes_in_a_skeleton_keep_their_attributes() -> None:
    point = '<points points="1,2"><attribute name="text">joint</attribute></points>'

    copy = written(CVAT, file(f'<skeleton label="s">{point}</skeleton>'), lambda *_: READ)

    skeleton = lxml.etree.fromstring(copy).find("image/skeleton")
    assert skeleton.xpath("points/attribute/text()") == ["joint"]
    assert skeleton.xpath("attribute[@name='text']/text()") == [READ.value]
