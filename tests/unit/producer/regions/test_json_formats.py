"""What is particular to each JSON format, by the rules of its own readers."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from contract.errors import SourceError, UsageError
from contract.region import Region
from producer.regions import FORMATS
from producer.regions.base import RegionOptions, RegionText
from producer.regions.json_text import read_whole
from tests.unit.producer.regions.test_every_format import READ, SAMPLE_OF, regions_of, written

COCO_DATA = SAMPLE_OF["coco"].data


def read(name: str, content: Any, *categories: str) -> dict[str, list[Region]]:
    """Return the regions of each image that a file of a format describes."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    pages = FORMATS[name].pages(BytesIO(data), RegionOptions(categories=categories))
    return {str(page.image): list(page.regions) for page in pages}


def annotation(identity: int, image: int, **others: Any) -> dict[str, Any]:
    return {"id": identity, "image_id": image, "category_id": 1, **others}


def coco(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "annotations": annotations,
        "images": [{"id": 2, "file_name": "b.png"}, {"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "line"}, {"id": 2, "name": "stamp"}],
    }


class TestCoco:
    def test_annotations_in_any_order_are_grouped_by_image_in_the_order_of_the_images(self) -> None:
        found = read(
            "coco",
            coco(
                annotation(5, 1, bbox=[0, 0, 9, 9]),
                annotation(6, 2, bbox=[0, 0, 9, 9]),
                annotation(7, 1, bbox=[0, 0, 9, 9]),
            ),
        )

        assert {image: [region.name for region in regions] for image, regions in found.items()} == {
            "b.png": ["6"],
            "a.png": ["5", "7"],
        }
        assert list(found) == ["b.png", "a.png"]

    def test_a_polygon_is_preferred_and_a_mask_or_an_object_in_parts_is_its_box(self) -> None:
        polygon, part = [1, 2, 9, 3, 8, 9], [20, 20, 30, 20, 30, 30]
        box, mask = [1, 2, 30, 40.5], {"counts": "abc", "size": [9, 9]}

        (regions,) = read(
            "coco",
            coco(
                annotation(1, 1, bbox=box, segmentation=[polygon]),
                annotation(2, 1, bbox=box, segmentation=[polygon, part]),
                annotation(3, 1, bbox=box, segmentation=mask),
                annotation(4, 1, segmentation=mask),
                annotation(5, 1, bbox=[1, 2, 0, 9]),
                annotation(6, 1, bbox=[1, 2, None, 9]),
            ),
        ).values()

        assert [region.points for region in regions[:3]] == [(*polygon,), (1, 2, 31, 42.5), (1, 2, 31, 42.5)]
        assert [bool(region.fault) for region in regions] == [False] * 3 + [True] * 3

    def test_only_annotations_of_the_categories_are_read(self) -> None:
        stamp = {**annotation(2, 1, bbox=[0, 0, 9, 9]), "category_id": 2}
        content = coco(annotation(1, 1, bbox=[0, 0, 9, 9]), stamp)

        assert [region.name for region in read("coco", content, "stamp")["a.png"]] == ["2"]
        assert read("coco", content, "no such") == {}

    def test_an_annotation_of_no_image_is_an_error_that_names_it(self) -> None:
        with pytest.raises(SourceError, match="annotation 8 is of an image that is not in `images`: 3"):
            read("coco", coco(annotation(8, 3, bbox=[0, 0, 9, 9])))

    def test_pycocotools_reads_the_copy_and_finds_the_texts(self, tmp_path: Path) -> None:
        path = tmp_path / "copy.json"
        path.write_bytes(written(FORMATS["coco"], COCO_DATA, lambda image, page, name: READ))

        loaded = COCO(path)

        assert loaded.getAnnIds(imgIds=[391], catIds=[2]) == [13, 15]
        for one in loaded.loadAnns([12, 13, 15]):
            assert one["utf8_string"] == one["attributes"]["text"] == READ.value
            assert one["attributes"]["confidence"] == READ.confidence
        assert loaded.anns[13]["attributes"]["occluded"] is False


def shape(points: Any, kind: str = "rectangle", **others: Any) -> dict[str, Any]:
    return {"label": "text", "points": points, "shape_type": kind, **others}


def labelme(*shapes: dict[str, Any], path: str = "a.png") -> dict[str, Any]:
    return {"imagePath": path, "shapes": shapes, "imageData": None}


class TestLabelMe:
    def test_a_rectangle_may_be_drawn_from_any_corner(self) -> None:
        content = labelme(shape([[1, 20], [9, 2]]), shape([[9, 20], [1, 2]]), shape([[1, 2], [9, 20]]))

        assert [region.points for region in read("labelme", content)["a.png"]] == [(1, 2, 9, 20)] * 3

    def test_a_path_of_windows_is_read(self) -> None:
        assert list(read("labelme", labelme(path="..\\scans\\a.png"))) == ["../scans/a.png"]

    def test_what_is_no_area_is_a_faulty_region_unless_its_label_is_left_out(self) -> None:
        content = labelme(shape([[1, 2]], "point", label="corner"), shape([[1, 2], [9, 20]]), shape("?"))

        found = read("labelme", content)["a.png"]

        assert found[0].fault == "polygons and rectangles are read, this is a point"
        assert found[2].fault
        assert [region.name for region in read("labelme", content, "text")["a.png"]] == ["2", "3"]

    def test_a_copy_has_all_keys_of_its_shapes_in_the_style_of_the_file(self) -> None:
        original = SAMPLE_OF["labelme"].data

        copy = written(FORMATS["labelme"], original, lambda image, page, name: RegionText(name, 0.5))

        before, after = json.loads(original), json.loads(copy)
        texts = [(one.pop("description"), one.pop("confidence")) for one in after["shapes"]]
        assert texts == [("1", 0.5), ("2", 0.5), ("3", 0.5)]
        for one in before["shapes"]:
            one.pop("description", None)
        assert after == before
        assert copy.decode() == json.dumps(json.loads(copy), ensure_ascii=False, indent=2)


class TestDocTr:
    def test_polygons_by_class_are_named_and_chosen_by_it(self) -> None:
        box, polygon = [1, 2, 3, 4], [[0, 0], [9, 1], [9, 9], [0, 8]]
        content = {
            "a.png": {"polygons": {"words": [box, polygon], "dates": [box]}},
            "b.png": {"polygons": []},
        }

        assert [region.name for region in read("doctr", content)["a.png"]] == [
            "words.1",
            "words.2",
            "dates.1",
        ]
        assert [region.name for region in read("doctr", content, "dates")["a.png"]] == ["dates.1"]
        assert "b.png" not in read("doctr", content)

    def test_a_later_image_without_polygons_is_damage_and_not_another_format(self) -> None:
        with pytest.raises(SourceError, match=r"the image 'b.png' is malformed"):
            read("doctr", {"a.png": {"polygons": [[1, 2, 3, 4]]}, "b.png": {}})


class TestFunsd:
    def test_the_text_of_an_entity_is_that_of_its_words(self) -> None:
        data = SAMPLE_OF["funsd"].data
        texts = {"0.1": RegionText("SERIAL", 0.5), "1.1": RegionText("0043", 0.75)}

        copy = json.loads(written(FORMATS["funsd"], data, lambda image, page, name: texts.get(name), "word"))

        assert [entity["text"] for entity in copy["form"]] == ["SERIAL 12", "0043"]
        assert copy["form"][1]["words"] == [{"box": [22, 70, 580, 112], "text": "0043", "confidence": 0.75}]

    def test_entities_are_chosen_by_their_label(self) -> None:
        assert [region.name for region in read("funsd", SAMPLE_OF["funsd"].data, "answer")[""]] == ["1.1"]


class TestTemplate:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ([], "has 1 to 1,000 regions, not 0"),
            ([{"name": "a", "region": [0, 0, 1, 1]}] * 2, "two regions have the name 'a'"),
            ([{"name": "a", "region": [0, 0, 0, 1]}], r"the region 'a': the box .* is empty"),
            ([{"name": "a", "region": [0, 0, 2, 1], "unit": "rel"}], "the region 'a': .* must lie in 0..1"),
            ([{"name": "errors", "region": [0, 0, 1, 1]}], "'errors' is a column of the results' table"),
            ([{"name": "a", "region": [0, 0, 1, 1], "units": "rel"}], "unknown field `units`"),
            ([{"name": "", "region": [0, 0, 1, 1]}], "length >= 1"),
            ({"regions": []}, r'it is not a template, \[\{"name": "total"'),
        ],
    )
    def test_a_mistake_in_a_template_is_an_error_before_a_page_is_read(
        self, content: Any, problem: str
    ) -> None:
        with pytest.raises(SourceError, match=problem):
            read("template", content)


@pytest.mark.parametrize("name", ["doctr", "template"])
def test_without_a_place_for_text_nothing_is_written(name: str) -> None:
    with pytest.raises(UsageError, match="no place for text"):
        written(FORMATS[name], SAMPLE_OF[name].data, lambda image, page, name: READ)


def test_a_byte_order_mark_and_spaces_are_no_damage() -> None:
    spaced = b"\xef\xbb\xbf \n" + json.dumps(json.loads(COCO_DATA), indent=1).encode() + b"\n\n"

    assert regions_of(FORMATS["coco"], spaced) == regions_of(FORMATS["coco"], COCO_DATA)
    assert json.loads(written(FORMATS["coco"], spaced, lambda image, page, name: READ))


def test_what_is_not_utf_8_is_an_error_also_where_nothing_is_read() -> None:
    for damaged in (COCO_DATA.replace(b"meters", b"m\xffters"), COCO_DATA.decode().encode("utf-16")):
        with pytest.raises(SourceError, match="it is not UTF-8"):
            regions_of(FORMATS["coco"], damaged)


def test_two_members_of_one_name_are_an_error() -> None:
    twice = COCO_DATA.replace(b'"licenses":', b'"annotations": [], "licenses":')

    with pytest.raises(SourceError, match="two members of the same name"):
        regions_of(FORMATS["coco"], twice)


def test_a_file_above_the_limit_is_an_error_and_short_reads_are_not() -> None:
    class Trickle(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(3, size or 0))

    assert read_whole(Trickle(b"0123456789"), 10) == b"0123456789"
    with pytest.raises(SourceError, match="larger than"):
        read_whole(Trickle(b"0123456789"), 9)
