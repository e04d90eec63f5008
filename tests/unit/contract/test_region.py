"""A region is a box or a polygon; what cannot be one says why, and costs its own item only."""

import math

import msgspec
import pytest

from contract.records import Item, decode_item
from contract.region import MAX_POINTS, Region, page_of_region, region_id, region_of


def test_a_box_and_a_polygon_survive_a_chunk_file():
    # Given an item with each form of region
    items = [
        Item("a#r=1", "/a.png", region=region_of([1, 2.5, 30, 40], name="1")),
        Item("a#r=2", "/a.png", page=2, region=region_of([[0.1, 0], [1, 0], [1, 1]], "rel", "2")),
    ]
    # When they are written and read again, they are the same
    assert [decode_item(msgspec.json.encode(item)) for item in items] == items
    box, polygon = (item.region or Region() for item in items)
    assert box.is_box
    assert box.corners == ((1, 2.5), (30, 2.5), (30, 40), (1, 40))
    assert polygon.corners == ((0.1, 0), (1, 0), (1, 1))


@pytest.mark.parametrize(
    ("value", "unit", "word"),
    [
        ("box", "px", "region is"),
        ([], "px", "4 numbers"),
        ([1, 2, 3], "px", "4 numbers"),
        ([1, 2, "3", 4], "px", "numbers"),
        ([1, 2, True, 4], "px", "numbers"),
        ([1, 2, math.nan, 4], "px", "finite"),
        ([1, 2, 10**400, 4], "px", "finite"),
        ([5, 5, 5, 9], "px", "empty"),
        ([9, 5, 5, 9], "px", "empty"),
        ([[1, 1], [2, 2]], "px", "corners"),
        ([[1, 1], [2, 2], [3, 3]], "px", "no area"),
        ([[1, 1], [2, 2], [3]], "px", "x and a y"),
        ([[i, i * i] for i in range(MAX_POINTS + 1)], "px", "corners"),
        ([0, 0, 1.01, 1], "rel", "0..1"),
        ([-0.1, 0, 1, 1], "rel", "0..1"),
    ],
)
def test_what_is_no_region_says_why(value, unit, word):
    region = region_of(value, unit, "7")
    assert (region.unit, region.name) == (unit, "7")
    assert word in str(region.fault)
    # Views draw what can be drawn of it
    assert bool(region.points) == (word in ("empty", "no area", "0..1"))


@pytest.mark.parametrize(
    ("identity", "name", "page"),
    [
        ("a.png#r=3", None, "a.png"),
        ("a.png#r=l7", "l7", "a.png"),
        ("b.pdf#page=2&r=12", None, "b.pdf#page=2"),
        ("b.pdf#page=2&r=r=1", "r=1", "b.pdf#page=2"),
        ("a.png#r=3", "l7", None),
        ("total", "total", None),
        ("total", None, None),
        ("#r=3", None, None),
    ],
)
def test_the_page_of_a_region_is_in_its_id_unless_it_is_one_of_its_own(identity, name, page):
    assert page_of_region(identity, Region(name=name)) == page


def test_the_id_of_a_region_extends_the_id_of_its_page():
    assert region_id("scans/a.png", "l7") == "scans/a.png#r=l7"
    assert region_id("b.pdf#page=2", "12") == "b.pdf#page=2&r=12"
