"""Cut given regions out of pages, as docTR cuts out the words that it finds."""

import cv2
import numpy as np
import numpy.typing as npt
from doctr.utils.geometry import extract_crops, extract_rcrops, order_points

from contract.errors import ErrorCode, ItemError
from contract.region import Region, shown
from worker.kernels.pixels import Pixels

Points = npt.NDArray[np.floating]
"""(n, 2): x and y of corners."""

QUADRILATERAL = 4

FAR = 10
"""Page sizes that a corner may lie outside the page; one further out is moved, for float32."""


def cut_region(page: Pixels, region: Region, padding: float = 0.0) -> Pixels:
    """Return a region's pixels, RGB (height, width, 3) uint8; what lies outside the page is cut off.

    A box is cut out. In the unit `px` its sides are rounded to the nearest edge between two pixels; in `rel`
    docTR's `extract_crops` rounds, whose last row and column belong to the crop. A convex polygon of four
    corners is rectified by docTR's `extract_rcrops`: its first corner becomes the upper left one, and the
    second the upper right one, unless the crop would be mirrored. Any other polygon, also one that crosses
    itself, becomes the rectangle of minimum area around it, with docTR's order of corners.

    Args:
        padding: what is added on each side, as a share of the region's height

    Raises:
        ItemError: the region has a fault, lies outside the page, or no pixel is left of it
    """
    if region.fault:
        raise _bad(region.fault)
    cut = _box if region.is_box else _polygon
    try:
        crop = cut(page, region, padding)
    # Of very large pages, or of very odd geometry.
    except cv2.error as error:
        raise _bad(f"the region cannot be rectified ({error.err}): give it as a box") from error
    if not crop.size:
        raise _bad(f"the region {shown(region.points)} has no pixel on its page of {_size_of(page)}")
    # A view would keep the whole page in memory.
    return crop if crop.base is None else crop.copy()


def _box(page: Pixels, region: Region, padding: float) -> Pixels:
    height, width = page.shape[:2]
    x_min, y_min, x_max, y_max = region.points
    right, bottom = (1.0, 1.0) if region.unit == "rel" else (width, height)
    if x_max <= 0 or y_max <= 0 or x_min >= right or y_min >= bottom:
        raise _outside(page, region)
    if padding:
        down = padding * (y_max - y_min)
        across = down * (height / width if region.unit == "rel" else 1)
        x_min, y_min, x_max, y_max = x_min - across, y_min - down, x_max + across, y_max + down
    box = (max(x_min, 0), max(y_min, 0), min(x_max, right), min(y_max, bottom))
    if region.unit == "rel":
        return _only(extract_crops(page, np.array([box])))
    left, top, past_right, past_bottom = map(round, box)
    return np.ascontiguousarray(page[top:past_bottom, left:past_right])


def _polygon(page: Pixels, region: Region, padding: float) -> Pixels:
    size = np.array(page.shape[1::-1], np.float64)
    given = np.array(region.corners)
    corners = given * size if region.unit == "rel" else np.clip(given, -FAR * size, (1 + FAR) * size)
    if (corners.max(axis=0) <= 0).any() or (corners.min(axis=0) >= size).any():
        raise _outside(page, region)
    quadrilateral = _quadrilateral(corners, size)
    if padding:
        quadrilateral = _padded(quadrilateral, padding)
    if (quadrilateral < 0).any() or (quadrilateral > size).any():
        quadrilateral = _cut_off(quadrilateral, size, page, region)
    _, across, down = _sides(quadrilateral)
    if not np.linalg.norm(across) * np.linalg.norm(down) <= 2 * size.prod():
        raise _bad(f"the region {shown(region.points)} is too oblique to be a line of text")
    # As given if possible: dividing by the size may change the last bit.
    unchanged = quadrilateral is corners and region.unit == "rel"
    return _only(extract_rcrops(page, (given if unchanged else quadrilateral / size)[None]))


def _quadrilateral(corners: Points, size: Points) -> Points:
    """Return the corners to rectify, clockwise from the upper left one of the text; (4, 2)."""
    if len(corners) == QUADRILATERAL:
        edges = np.roll(corners, -1, axis=0) - corners
        following = np.roll(edges, -1, axis=0)
        turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
        if (turns >= 0).all() and turns[0]:
            return corners
        if (turns <= 0).all() and turns[2]:
            return corners[[0, 3, 2, 1]]
    on_page = np.clip(corners, 0, size).astype(np.float32)
    rectangle = cv2.boxPoints(cv2.minAreaRect(on_page))
    return np.asarray(order_points(rectangle), np.float64)


def _padded(corners: Points, padding: float) -> Points:
    """Return the parallelogram of three corners, the only ones that docTR uses, with padding on each side."""
    first, across, down = _sides(corners)
    height, width = np.linalg.norm(down), np.linalg.norm(across)
    more_across = across * (padding * height / width) if width else across
    more_down = down * padding
    return _parallelogram(first - more_across - more_down, across + 2 * more_across, down + 2 * more_down)


def _cut_off(corners: Points, size: Points, page: Pixels, region: Region) -> Points:
    """Return the part of the parallelogram between the page's outermost corners in its own directions."""
    first, across, down = _sides(corners)
    basis = np.stack([across, down], axis=1)
    if not np.linalg.det(basis):
        raise _bad(f"the region {shown(region.points)} has no area")
    places = np.linalg.solve(basis, (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size - first).T)
    low, high = np.clip(places.min(axis=1), 0, 1), np.clip(places.max(axis=1), 0, 1)
    if (low == high).any():
        raise _outside(page, region)
    return _parallelogram(first + basis @ low, across * (high - low)[0], down * (high - low)[1])


def _sides(corners: Points) -> tuple[Points, Points, Points]:
    return corners[0], corners[1] - corners[0], corners[2] - corners[1]


def _parallelogram(first: Points, across: Points, down: Points) -> Points:
    return np.stack([first, first + across, first + across + down, first + down])


def _only(crops: list[Pixels]) -> Pixels:
    (crop,) = crops
    return crop


def _outside(page: Pixels, region: Region) -> ItemError:
    return _bad(f"the region {shown(region.points)} lies outside its page of {_size_of(page)}")


def _size_of(page: Pixels) -> str:
    return f"{page.shape[1]} x {page.shape[0]} pixels"


def _bad(what: str) -> ItemError:
    return ItemError(ErrorCode.BAD_REGION, what)
