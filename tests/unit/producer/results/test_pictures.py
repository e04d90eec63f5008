"""Pictures of items as JPEGs, drawn in a child process: crops, regions, pages of PDFs and TIFFs."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contract.errors import (
    ErrorCode,
    ItemError,
    ObjectMissingError,
    OutsideAllowedRootsError,
    TooManyBytesError,
)
from contract.job import Job
from contract.records import Item
from contract.region import Region
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.results import pictures
from producer.results.pictures import PictureDesk
from tests.unit.documents import pdf

RED, BLUE = (200, 0, 0), (0, 0, 200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Given a crop whose right half is blue, a PDF and a TIFF of two pages, and files that are none."""
    folder = tmp_path_factory.mktemp("scans")
    crop = Image.new("RGB", (80, 40), RED)
    crop.paste(BLUE, (40, 0, 80, 40))
    crop.save(folder / "crop.png")
    (folder / "two.pdf").write_bytes(pdf((100, 50), (300, 600)))
    crop.save(folder / "two.tif", save_all=True, append_images=[Image.new("RGB", (30, 90), BLUE)])
    (folder / "broken.png").write_bytes((folder / "crop.png").read_bytes()[:60])
    (folder / "text.pdf").write_text("no document")
    Image.new("1", (4000, 4000)).save(folder / "huge.png")
    return folder


@pytest.fixture(scope="module")
def desk(folder: Path) -> Iterator[PictureDesk]:
    settings = Settings(max_pixels=1_000_000, max_bytes=100_000, allowed_roots=(str(folder),))
    desk = PictureDesk(Storage(settings), settings)
    yield desk
    desk.close()


def drawn(
    desk: PictureDesk, folder: Path, job: Job, item: Item, side: int = 500, **given: Any
) -> Image.Image:
    data = desk.jpeg(item, job, AllowedRoots((str(folder),)), side, **given)
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image.convert("RGB")


@pytest.mark.parametrize(
    ("name", "page", "size"),
    [
        ("crop.png", None, (80, 40)),
        ("two.pdf", 1, (200, 100)),
        ("two.pdf", 2, (250, 500)),
        ("two.tif", 1, (80, 40)),
        ("two.tif", 2, (30, 90)),
    ],
)
def test_a_page_is_drawn_no_larger_than_asked(
    name: str, page: int | None, size: tuple[int, int], desk: PictureDesk, folder: Path, job: Job
) -> None:
    assert drawn(desk, folder, job, Item("x", str(folder / name), page=page)).size == size


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("region", [Region((40, 0, 80, 20)), Region((0.5, 0.0, 1.0, 0.0, 1.0, 0.5), "rel")])
def test_a_region_is_cut_out_of_its_page(
    region: Region, cut: bool, desk: PictureDesk, folder: Path, job: Job
) -> None:
    picture = drawn(desk, folder, job, Item("x", str(folder / "crop.png"), region=region), cut=cut)

    assert picture.size == ((40, 20) if cut else (80, 40))
    corner: Any = picture.getpixel((2, 2))
    assert (corner[2] > 150) is cut


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"uri": "broken.png"}, ErrorCode.TRUNCATED),
        ({"uri": "text.pdf", "page": 1}, ErrorCode.DAMAGED_DOCUMENT),
        ({"uri": "two.pdf", "page": 3}, ErrorCode.NO_SUCH_PAGE),
        ({"uri": "huge.png"}, ErrorCode.TOO_MANY_PIXELS),
        ({"uri": "crop.png", "region": Region((90, 0, 99, 9))}, ErrorCode.BAD_REGION),
        ({"uri": "crop.png", "region": Region(fault="none")}, ErrorCode.BAD_REGION),
    ],
)
def test_what_cannot_be_drawn_is_an_item_error(
    item: dict[str, Any], code: ErrorCode, desk: PictureDesk, folder: Path, job: Job
) -> None:
    with pytest.raises(ItemError) as error:
        drawn(desk, folder, job, Item("x", **{**item, "uri": str(folder / item["uri"])}), cut=True)

    assert error.value.code == code


def test_a_file_outside_the_roots_is_not_read(desk: PictureDesk, folder: Path, job: Job) -> None:
    with pytest.raises(OutsideAllowedRootsError):
        drawn(desk, folder, job, Item("x", "/etc/hostname"))
    with pytest.raises(ObjectMissingError):
        drawn(desk, folder, job, Item("x", str(folder / "none.png")))


def test_a_file_that_is_too_large_is_not_read(desk: PictureDesk, folder: Path, job: Job) -> None:
    (folder / "large.png").write_bytes(b"x" * 100_001)

    with pytest.raises(TooManyBytesError, match="TRACE_OCR_MAX_BYTES"):
        drawn(desk, folder, job, Item("x", str(folder / "large.png")))


def test_a_file_that_crashes_the_child_costs_only_its_picture(
    desk: PictureDesk, folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an answer that is larger than any picture, which counts as a crash
    monkeypatch.setattr(pictures, "MAX_JPEG", 10)
    small = PictureDesk(desk._storage, desk._settings)

    with pytest.raises(ItemError, match="crashed") as error:
        drawn(small, folder, job, Item("x", str(folder / "crop.png")))

    assert error.value.code == ErrorCode.WORKER_CRASHED
    small.close()
