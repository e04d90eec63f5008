"""Regions are cut out of pages as docTR cuts words; what no pixel is left of says why."""

import numpy as np
import pytest
from doctr.utils.geometry import extract_crops, extract_rcrops

from contract.errors import ErrorCode, ItemError
from contract.region import Region, region_of
from worker.kernels.pixels import Pixels
from worker.kernels.regions import cut_region

HEIGHT, WIDTH = 120, 200


@pytest.fixture(scope="module")
def page() -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def smooth() -> Pixels:
    """A page that says where each pixel was: its column in red, its row in green."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)


def assert_close(ours: Pixels, theirs: Pixels) -> None:
    """Rectifying resamples: a pixel may be from one or two columns or rows away."""
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_a_box_of_pixels_is_cut_out_as_it_is(page: Pixels) -> None:
    assert np.array_equal(cut_region(page, region_of([10, 20, 60, 40])), page[20:40, 10:60])
    assert np.array_equal(cut_region(page, region_of([9.6, 20.4, 60.4, 39.5])), page[20:40, 10:60])


def test_a_relative_box_is_cut_out_by_doctr(page: Pixels) -> None:
    boxes = np.random.default_rng(8).random((50, 4)).reshape(-1, 2, 2)
    boxes = np.sort(boxes, axis=1).reshape(-1, 4)

    ours = [cut_region(page, region_of(box.tolist(), "rel")) for box in boxes]

    for mine, theirs in zip(ours, extract_crops(page, boxes), strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("unit", ["px", "rel"])
def test_four_corners_are_rectified_by_doctr(unit: str, page: Pixels) -> None:
    corners = np.array([[30, 40], [110, 20], [118, 50], [38, 70]], float)
    relative = corners / np.array([WIDTH, HEIGHT])
    given = (relative if unit == "rel" else corners).tolist()

    (theirs,) = extract_rcrops(page, relative[None] if unit == "rel" else corners.astype(int)[None])

    assert np.array_equal(cut_region(page, region_of(given, unit)), theirs)
    # The other way round they would be a mirror image.
    assert np.array_equal(cut_region(page, region_of([given[0], *given[:0:-1]], unit)), theirs)


@pytest.mark.parametrize(
    "corners",
    [
        [[20, 30], [100, 30], [100, 50], [60, 50], [20, 50]],
        # One that crosses itself, and one whose second side is none.
        [[20, 30], [100, 50], [100, 30], [20, 50]],
        [[20, 30], [60, 30], [100, 30], [60, 50]],
    ],
)
def test_another_polygon_is_the_rectangle_around_it(corners: list[list[int]], smooth: Pixels) -> None:
    crossed = Region(tuple(float(number) for corner in corners for number in corner))

    assert_close(cut_region(smooth, crossed), smooth[30:50, 20:100])


@pytest.mark.parametrize("unit", ["px", "rel"])
@pytest.mark.parametrize("polygon", [False, True])
def test_padding_is_a_share_of_the_height_on_each_side(unit: str, polygon: bool, smooth: Pixels) -> None:
    box = [50, 40, 90, 60]
    given = np.array([[50, 40], [90, 40], [90, 60], [50, 60]] if polygon else box, float)
    if unit == "rel":
        given = given / (np.array([WIDTH, HEIGHT]) if polygon else np.array([WIDTH, HEIGHT] * 2))

    # docTR adds the last row and column to relative boxes.
    more = int(unit == "rel" and not polygon)
    crop = cut_region(smooth, region_of(given.tolist(), unit), padding=0.25)
    assert_close(crop, smooth[35 : 65 + more, 45 : 95 + more])


@pytest.mark.parametrize(
    ("region", "shape"),
    [
        ([-50, -9, 30, 20], (20, 30)),
        ([180, 100, 1e300, 1e300], (20, 20)),
        ([[-50, 10], [50, 10], [50, 40], [-50, 40]], (30, 50)),
        ([[150, 100], [250, 100], [250, 140], [150, 140]], (20, 50)),
        ([[-1e300, 10], [50, 10], [50, 40], [-1e300, 40]], (30, 50)),
        ([[-50, -50], [250, -50], [250, 60], [100, 170], [-50, 60]], (120, 200)),
    ],
)
def test_what_lies_outside_the_page_is_cut_off(
    region: list[object], shape: tuple[int, int], page: Pixels
) -> None:
    crop = cut_region(page, region_of(region))

    assert crop.shape == (*shape, 3)


def test_a_tilted_region_over_the_edge_keeps_its_tilt(smooth: Pixels) -> None:
    tilted = [[-40, 60], [60, 35], [66, 59], [-34, 84]]

    crop = cut_region(smooth, region_of(tilted))

    # Its right side is where it was, and as much is left as lies between the page's outermost corners.
    assert np.abs(crop[0, -1, :2].astype(int) - tilted[1]).max() <= 2
    assert np.abs(crop[-1, -1, :2].astype(int) - tilted[2]).max() <= 2
    assert 60 < crop.shape[1] < 90


@pytest.mark.parametrize(
    ("region", "said"),
    [
        (Region(fault="a box has 4 numbers, not 3"), "not 3"),
        (region_of([200, 20, 230, 40]), r"outside its page of 200 x 120 pixels"),
        (region_of([-9, 20, 0, 40]), "outside"),
        (region_of([0.5, 0, 1, 1], "rel"), None),
        (region_of([1, 0.5, 1, 0.7], "rel"), "empty"),
        (region_of([10.1, 20, 10.2, 40]), "no pixel"),
        (region_of([[300, 10], [350, 10], [350, 40], [300, 40]]), "outside"),
        (region_of([[-60, 50], [-5, 118], [-9, 180], [-90, 100]]), "outside"),
        # Beyond a corner: only the page's own directions overlap.
        (region_of([[190, 150], [230, 110], [240, 120], [200, 160]]), "outside"),
        (region_of([[1e308, 1e308], [-1e308, 1e308], [-1e308, -1e308], [1e308, -1e308]]), None),
        (region_of([[1e308, 1e308], [1e307, 1e308], [1e307, 1e307]]), "outside"),
        (region_of([[0, 0], [0, 119], [0.4, 119]]), "no pixel"),
        (region_of([[10, 10], [10.2, 10], [10.2, 10.2], [10, 10.2]]), "no pixel"),
    ],
)
def test_what_cannot_be_cut_is_a_bad_region(region: Region, said: str | None, page: Pixels) -> None:
    if said is None:
        assert cut_region(page, region).size
        return
    with pytest.raises(ItemError, match=said) as caught:
        cut_region(page, region)
    assert caught.value.code is ErrorCode.BAD_REGION


def test_an_oblique_region_does_not_become_a_crop_larger_than_its_page() -> None:
    page = np.zeros((10_000, 10, 3), np.uint8)

    with pytest.raises(ItemError, match="too oblique"):
        cut_region(page, region_of([[9, 0], [5, 9_999], [0, 0], [4, 0]]))


def test_a_crop_does_not_keep_its_page_in_memory(page: Pixels) -> None:
    assert cut_region(page, region_of([0, 10, WIDTH, 30])).base is None
