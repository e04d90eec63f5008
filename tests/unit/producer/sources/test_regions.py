"""Regions as items: in the order of their files, with images that are never outside of the source."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.documents import page_id
from contract.errors import SourceError, StorageRefusedError, StorageUnavailableError, UsageError
from contract.lines import encode_line
from contract.records import MAX_TEXT, Item, decode_item
from contract.region import MAX_NAME, Region
from contract.source import Regions, Sample, Selection, Source
from contract.storage import Storage
from producer.regions.base import OtherFormatError, PageRegions, Readable, RegionOptions
from producer.regions.files import AHEAD, AHEAD_BYTES, RegionFile
from producer.regions.images import Images
from producer.sources.base import Listing
from producer.sources.listing import identify_source
from producer.sources.regions import check_regions, identify_regions, list_regions


class Lines:
    """A format for tests: `image NAME [PAGE]`, then a region's name per line; `other` and `damaged` files."""

    extensions = frozenset({".txt"})
    levels = ("line", "word")
    has_categories = True

    def __init__(self, image: str | None = "") -> None:
        self._image = image
        self.lines = 0

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        words = [line.split() for line in file.read().decode().splitlines()]
        if words[0] == ["other"]:
            raise OtherFormatError("it is another one")
        for place, line in enumerate(words):
            if line[0] == "image":
                following = itertools.takewhile(lambda one: one[0] != "image", words[place + 1 :])
                number = int(line[2]) if len(line) > 2 else None
                name = None if self._image is None else line[1] if len(line) > 1 else ""
                yield PageRegions(name, self._regions(following), number)

    def _regions(self, lines: Any) -> Iterator[Region]:
        for line in lines:
            self.lines += 1
            if line[0] == "damaged":
                raise SourceError("line 2 is damaged")
            yield Region((0, 0, 9, 9), name=line[0])


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> dict[str, Lines]:
    """Given the formats `lines` and `template`."""
    formats = {"lines": Lines(), "template": Lines(None)}
    for module in ("producer.sources.regions", "producer.regions.files"):
        monkeypatch.setattr(f"{module}.FORMATS", formats)
    return formats


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Given a folder with two images."""
    return written(tmp_path / "scans", {"1.png": "", "2.png": ""})


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def listed(
    storage: Storage, source: Path | str, regions: Path | str, **changes: Any
) -> tuple[list[Item], Counter[str]]:
    listing = listing_of(storage, source, f"lines:{regions}", **changes)
    return list(listing), listing.passed_over


def listing_of(
    storage: Storage, source: Path | str, regions: str, pages: list[Item] | None = None, **changes: Any
) -> Listing:
    found = identify_source(str(source)).model_copy(update={"regions": identify_regions(regions), **changes})
    return list_regions(found, storage, str, lambda: Listing(iter(pages or []), Counter()))


def test_items_are_the_regions_in_the_order_of_their_files(
    storage: Storage, scans: Path, tmp_path: Path
) -> None:
    boxes = written(
        tmp_path / "boxes", {"b.txt": "image 1.png\nr1\nr2", "a.txt": "image 2.png\nr1", "c.md": ""}
    )

    items, passed_over = listed(storage, scans, boxes)

    assert [item.id for item in items] == ["2.png#r=r1", "1.png#r=r1", "1.png#r=r2"]
    assert items[0] == Item("2.png#r=r1", f"{scans}/2.png", region=Region((0, 0, 9, 9), name="r1"))
    assert passed_over == {"other_extension": 1}


def test_one_file_may_describe_many_pages_and_pages_without_regions(storage: Storage, scans: Path) -> None:
    file = written(scans, {"all.txt": "image 1.png\nimage 2.png\nr1\nimage gone.png\nr9"}) / "all.txt"

    items, _ = listed(storage, scans, file)

    assert [(item.id, item.uri) for item in items] == [
        ("2.png#r=r1", f"{scans}/2.png"),
        ("gone.png#r=r9", f"{scans}/gone.png"),
    ]


def test_nothing_is_read_before_it_is_asked_for(
    storage: Storage, scans: Path, formats: dict[str, Lines]
) -> None:
    file = written(scans, {"all.txt": "image 1.png\n" + "r\n" * 3}) / "all.txt"
    items = iter(listing_of(storage, scans, f"lines:{file}"))
    assert formats["lines"].lines == 0

    next(items)

    assert formats["lines"].lines == 1


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"a.txt": "image 1.png\nr", "b.txt": "image 1.png\nr"}, "a.txt and .*b.txt"),
        ({"a.txt": "image 1.png\nr\nimage 1.png\ns"}, "a.txt and .*a.txt"),
        ({"a.txt": "image 1.png\nr", "b.txt": "image x/../1.png\nr"}, "a.txt and .*b.txt"),
    ],
)
def test_a_page_that_is_described_twice_names_both_files(
    storage: Storage, scans: Path, files: dict[str, str], names: str
) -> None:
    with pytest.raises(SourceError, match=f"{names} describe the same page '1.png'"):
        listed(storage, scans, written(scans, files))


def test_a_damaged_file_is_named_and_ends_the_list_where_it_is(storage: Storage, scans: Path) -> None:
    written(scans, {"a.txt": "image 1.png\nr", "b.txt": "image 2.png\ndamaged", "c.txt": "image 3.png\nr"})
    items = iter(listing_of(storage, scans, f"lines:{scans}"))

    assert next(items).id == "1.png#r=r"
    with pytest.raises(SourceError, match=r"scans/b.txt: line 2 is damaged"):
        next(items)


def test_files_of_another_format_are_passed_over_in_a_folder_only(storage: Storage, scans: Path) -> None:
    written(scans, {"a.txt": "image 1.png\nr", "mets.txt": "other", ".b.txt": "x"})

    items, passed_over = listed(storage, scans, scans)

    assert len(items) == 1
    assert passed_over == {"other_format": 1, "hidden": 1, "other_extension": 2}
    with pytest.raises(SourceError, match=r"mets.txt: it is another one"):
        listed(storage, scans, scans / "mets.txt")


def test_workspaces_below_the_folder_are_passed_over(storage: Storage, scans: Path, job: Any) -> None:
    written(scans, {"a.txt": "image 1.png\nr", "out/exports/a.txt": "image 1.png\nr"})
    (scans / "out/job.json").write_bytes(job.to_json())

    items, passed_over = listed(storage, scans, scans)

    assert len(items) == 1
    assert passed_over["workspace"] == 1


def test_a_file_that_is_a_link_is_refused(storage: Storage, scans: Path, tmp_path: Path) -> None:
    (scans / "a.txt").symlink_to(written(tmp_path, {"secret": "image 1.png\nr"}) / "secret")

    with pytest.raises(SourceError, match=r"a.txt cannot be read"):
        listed(storage, scans, scans)


PLACES = ["1.png", "book/1.png", "book/page/2.png", "img/3.png", "a.tif", "book/own.jpg"]


@pytest.mark.parametrize(
    ("file", "image", "found"),
    [
        ("1.txt", "1.png", "1.png"),
        ("book/page/1.txt", "1.png", "book/1.png"),
        ("book/page/1.txt", "2.png", "book/page/2.png"),
        ("book/page/1.txt", "../1.png", "book/1.png"),
        ("book/page/1.txt", "img/3.png", "img/3.png"),
        ("book/page/1.txt", r"img\3.png", "img/3.png"),
        ("book/page/1.txt", "./1.png", "book/1.png"),
        ("1.txt", "/data/old place/1.png", "1.png"),
        ("1.txt", r"C:\scans\1.png", "1.png"),
        ("1.txt", "https://example.org/iiif/1.png", "1.png"),
        ("book/own.txt", "", "book/own.jpg"),
        ("none.txt", "", "none.png"),
        ("book/1.png.txt", "", "book/1.png"),
        ("book/page/1.txt", "gone.png", "book/page/gone.png"),
        ("1.txt", "../../1.png", "1.png"),
        ("1.txt", "../../../etc/passwd", "passwd"),
        ("1.txt", "img/../../../etc/passwd", "passwd"),
        ("1.txt", "..", "1.png"),
    ],
)
@pytest.mark.parametrize("inside", [True, False], ids=["among the images", "elsewhere"])
def test_images_are_found_below_the_source_only(
    storage: Storage, tmp_path: Path, file: str, image: str, found: str, inside: bool
) -> None:
    scans = written(tmp_path / "scans", dict.fromkeys(PLACES, ""))
    place = scans if inside else tmp_path / "boxes"
    images = Images(Source(type="folder", uri=str(scans)), storage, str)

    page = images.find(RegionFile(f"{place}/{file}", "", file[: file.rfind("/") + 1]), image, None)

    assert page is not None
    assert (page.id, page.uri) == (found, f"{scans}/{found}")


@pytest.mark.parametrize(
    ("image", "page", "identity", "number"),
    [
        ("1.png", 3, "1.png", None),
        ("book.pdf", None, page_id("book.pdf", 1), 1),
        ("book.pdf", 7, page_id("book.pdf", 7), 7),
        ("a.tif", None, "a.tif", None),
        ("a.tif", 2, page_id("a.tif", 2), 2),
        ("book.pdf#page=3", None, page_id("book.pdf", 3), 3),
        ("book.pdf#page=0", None, "book.pdf#page=0", None),
    ],
)
def test_pages_of_documents_have_their_ids(
    storage: Storage, scans: Path, image: str, page: int | None, identity: str, number: int | None
) -> None:
    found = Images(Source(type="folder", uri=str(scans)), storage, str).find(
        RegionFile(f"{scans}/x.txt", "", ""), image, page
    )

    assert found is not None
    assert (found.id, found.page) == (identity, number)


def test_of_one_image_only_its_own_pages_are_read(storage: Storage, scans: Path) -> None:
    written(scans, {"a.txt": "image 1.png\nr\nimage 2.png\nr", "b.txt": "image\nr", "1.txt": "image\ns"})
    (scans / "a.txt").write_text("image 2.png\nr")

    items, passed_over = listed(storage, scans / "1.png", scans)

    assert [(item.id, item.uri) for item in items] == [("1.png#r=s", f"{scans}/1.png")]
    assert passed_over["other_image"] == 2


def test_prefixes_are_read_from_s3(storage: Storage, s3_bucket: Any) -> None:
    s3_bucket.put("scans/book/1.png")
    s3_bucket.put("boxes/book/page/1.txt", b"image 1.png\nr")

    items, _ = listed(storage, "s3://bucket/scans/", "s3://bucket/boxes")

    assert [(item.id, item.uri) for item in items] == [("book/1.png#r=r", "s3://bucket/scans/book/1.png")]


def test_remote_files_are_fetched_ahead_and_taken_in_their_order(
    storage: Storage, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = range(AHEAD * 2)
    for number in numbers:
        s3_bucket.put(f"boxes/{number:02}.txt", f"image {number}.png\nr".encode())
    s3_bucket.put(
        "boxes/05.txt", b"image 5.png\n" + b"\n".join(b"r%d" % number for number in range(AHEAD_BYTES // 6))
    )
    s3_bucket.put("boxes/99.txt", b"other")

    items, passed_over = listed(storage, "s3://bucket/scans", "s3://bucket/boxes")

    assert [*dict.fromkeys(item.id.partition("#")[0] for item in items)] == [
        f"{number}.png" for number in numbers
    ]
    assert passed_over == {"other_format": 1}


def test_a_remote_file_that_cannot_be_read_is_named(
    storage: Storage, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> bytes:
        raise StorageRefusedError("the object is archived")

    s3_bucket.put("boxes/1.txt", b"image 1.png\nr")
    monkeypatch.setattr("contract.storage.s3.S3Store.read", refused)

    with pytest.raises(SourceError, match=r"s3://bucket/boxes/1.txt cannot be read: the object is archived"):
        listed(storage, "s3://bucket/scans", "s3://bucket/boxes")


def test_storage_that_is_away_is_no_error_of_the_files(
    storage: Storage, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StorageUnavailableError("away")

    written(scans, {"a.txt": "image 1.png\nr"})
    for method in ("reader", "names"):
        monkeypatch.setattr(f"contract.storage.local.LocalStore.{method}", away)

    with pytest.raises(StorageUnavailableError):
        listed(storage, scans, scans)


def test_an_image_whose_name_looks_like_a_region_is_refused(storage: Storage, scans: Path) -> None:
    with pytest.raises(SourceError, match=r"'1.png#r=2' cannot have regions"):
        listed(storage, scans, written(scans, {"a.txt": "image 1.png#r=2\nr"}))


def test_the_longest_names_fit_into_a_chunk(storage: Storage, scans: Path) -> None:
    longest = "x" * (MAX_TEXT - len(f"{scans}/") - 4) + ".pdf"
    written(scans, {"a.txt": f"image {longest} 100000\n" + "r" * MAX_NAME})

    (item,), _ = listed(storage, scans, scans)

    assert decode_item(encode_line(item)) == item
    with pytest.raises(SourceError, match="cannot have regions: give it a shorter"):
        listed(storage, scans, written(scans, {"a.txt": f"image x{longest}\nr"}))


def test_globs_are_of_pages_and_a_limit_is_of_regions(storage: Storage, scans: Path) -> None:
    written(scans, {"a.txt": "image 1.png\nr1\nr2", "b.txt": "image 2.png\nr3\nr4"})
    selection = Selection(exclude=("/1.*",), limit=1)

    items, passed_over = listed(storage, scans, scans, selection=selection)

    assert [item.id for item in items] == ["2.png#r=r3"]
    assert passed_over["excluded"] == 2


def test_a_sample_is_one_of_regions(storage: Storage, scans: Path) -> None:
    written(scans, {"a.txt": "image 1.png\n" + "\n".join(f"r{number}" for number in range(9))})

    items, passed_over = listed(storage, scans, scans, sample=Sample(items=3))

    assert len(items) == 3
    assert passed_over["not_sampled"] == 6


def test_a_template_is_laid_over_every_page(storage: Storage, scans: Path) -> None:
    form = written(scans, {"form.txt": "image\nname\nborn"}) / "form.txt"
    pages = [Item("1.png", "/1.png"), Item("a.pdf#page=2", "/a.pdf", page=2, label="x")]

    items = list(listing_of(storage, scans, f"template:{form}", pages))

    assert [(item.id, item.uri, item.page) for item in items] == [
        ("1.png#r=name", "/1.png", None),
        ("1.png#r=born", "/1.png", None),
        ("a.pdf#page=2&r=name", "/a.pdf", 2),
        ("a.pdf#page=2&r=born", "/a.pdf", 2),
    ]


@pytest.mark.parametrize("page", [Item("a#r=1", "/a"), Item("a", "/a", region=Region((0, 0, 1, 1)))])
def test_no_template_is_laid_over_a_region(storage: Storage, scans: Path, page: Item) -> None:
    form = written(scans, {"form.txt": "image\nname"}) / "form.txt"

    with pytest.raises(SourceError, match="no template can be laid over 'a"):
        list(listing_of(storage, scans, f"template:{form}", [page]))


@pytest.mark.parametrize(
    ("text", "level", "categories", "said"),
    [
        ("page.xml", None, (), "give FORMAT:PATH, with a format of lines, template"),
        ("excel:x", None, (), "give FORMAT:PATH, with a format of lines, template"),
        ("lines:", None, (), "give FORMAT:PATH"),
        ("lines:/no/such", None, (), "there is no folder or file /no/such with regions"),
        ("lines:ftp://x/y", None, (), "ftp:// is no storage that this version knows"),
        ("lines:a\0b", None, (), "is not a valid path|there is no folder or file"),
        ("lines:.", "region", (), "no level region: it has line, word"),
        (None, "word", (), "give FORMAT:PATH of those too"),
        (None, None, ("text",), "give FORMAT:PATH of those too"),
    ],
)
def test_what_names_no_regions_is_refused(
    text: str | None, level: Any, categories: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        identify_regions(text, level, categories)


def test_regions_are_recorded_with_their_canonical_place(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scans)

    assert identify_regions("lines:.", "word", ("text",)) == Regions(
        format="lines", uri=f"{scans}/", level="word", categories=("text",)
    )
    assert identify_regions("lines:s3://b/x") == Regions(format="lines", uri="s3://b/x/")
    assert identify_regions("lines:s3://b/x.txt") == Regions(format="lines", uri="s3://b/x.txt")
    assert identify_regions(None) is None


@pytest.mark.parametrize("kind", ["ocr", "detection", "kie"])
def test_only_jobs_that_read_crops_take_regions(kind: str) -> None:
    source = Source(type="folder", uri="/a", regions=Regions(format="lines", uri="/b"))

    with pytest.raises(UsageError, match=f"{kind} jobs find .* recognition and compare jobs take given ones"):
        check_regions(source, kind)
    check_regions(source, "compare")


def test_a_manifest_has_the_regions_of_a_template_only() -> None:
    manifest = Source(type="manifest", uri="/a.jsonl", confined=False)
    named, template = Regions(format="lines", uri="/b"), Regions(format="template", uri="/b")

    with pytest.raises(UsageError, match=r"/a.jsonl is a manifest"):
        check_regions(manifest.model_copy(update={"regions": named}), "recognition")
    check_regions(manifest.model_copy(update={"regions": template}), "recognition")


def test_regions_of_a_newer_version_are_an_error_that_names_those_that_are_known(storage: Storage) -> None:
    source = Source(type="folder", uri="/a", regions=Regions(format="pdfmap", uri="/b"))

    with pytest.raises(SourceError, match=r"'pdfmap', which this version does not know: it knows lines"):
        list(list_regions(source, storage, str, lambda: Listing(iter([]), Counter())))
