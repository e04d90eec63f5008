"""Sources: the same files give the same items in the same order, from a folder or from S3."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from contract.errors import SourceError, UsageError
from contract.job import Job
from contract.source import Source
from contract.storage import Storage
from contract.storage.opening import open_folder
from producer.sources import SOURCES
from producer.sources.base import PAGE_EXTENSIONS, Listing
from producer.sources.listing import identify_source, list_source, root_of
from producer.sources.sorting import sort_in_runs

NAMES = [
    "-dash.png",
    "50%20.png",
    "A.PNG",
    "a b.jpeg",
    "a-b/x.png",
    "a.png",
    "a/x.png",
    "a/y/z.webp",
    "a0.tif",
    "b.bmp",
    "zwei\nZeilen.jpg",
    "ü.tiff",
    "画像.png",
    "😀.png",
]
"""Names in the order of their UTF-8 bytes, which is S3's."""

Crops = Callable[..., Path]


@pytest.fixture
def listed(storage: Storage) -> Callable[[str], Listing]:
    return lambda source: list_source(identify_source(source), storage, BytesIO())


@pytest.fixture
def listed_pages(storage: Storage) -> Callable[[str], Listing]:
    """List a source as a page job does."""
    return lambda source: list_source(identify_source(source), storage, BytesIO(), PAGE_EXTENSIONS)


def ids(listing: Listing) -> list[str]:
    return [item.id for item in listing]


# a folder


def test_a_folder_gives_its_images_in_the_order_of_their_names(crops: Crops, listed: Any) -> None:
    folder = crops(*NAMES)

    items = list(listed(str(folder)))

    assert [item.id for item in items] == NAMES
    assert [item.uri for item in items] == [f"{folder}/{name}" for name in NAMES]


def test_an_s3_prefix_with_the_same_files_gives_the_same_ids(s3_bucket: Any, listed: Any) -> None:
    for name in NAMES:
        s3_bucket.put(f"scans/crops/{name}")
    s3_bucket.put("scans/crops-2/x.png")

    items = list(listed("s3://bucket/scans/crops"))

    assert [item.id for item in items] == NAMES
    assert [item.uri for item in items] == [f"s3://bucket/scans/crops/{name}" for name in NAMES]


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "PNG", "Jpg"])
def test_images_are_recognised_by_their_extension(extension: str, crops: Crops, listed: Any) -> None:
    assert ids(listed(str(crops(f"a.{extension}")))) == [f"a.{extension}"]


def test_other_files_are_passed_over_and_counted(crops: Crops, listed: Any, tmp_path: Path) -> None:
    folder = crops("a.png", ".hidden.png", ".git/b.png", "notes.txt", "png", "c.gif", "d.png.bak")
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe.png")

    listing = listed(str(folder))

    assert ids(listing) == ["a.png"]
    assert listing.passed_over == {"hidden": 2, "other_extension": 4, "linked_folder": 1, "not_a_file": 1}


def test_other_objects_on_s3_are_passed_over_and_counted(s3_bucket: Any, listed: Any) -> None:
    for key in ("a.png", ".hidden.png", ".git/b.png", "x/.y/c.png", "notes.txt"):
        s3_bucket.put(f"crops/{key}")
    for key in ("crops/", "crops/x/", "crops/x.png/"):
        s3_bucket.put(key, b"")

    listing = listed("s3://bucket/crops/")

    assert ids(listing) == ["a.png"]
    assert listing.passed_over == {"hidden": 3, "other_extension": 1, "placeholder": 3}


OF_A_WORKSPACE = [
    "_SUCCESS",
    "chunks/000000.jsonl",
    "exports/in/a.pdf",
    "job.json",
    "page_exports/000000.pdf",
]
"""Names that a workspace has, among them what could be taken for a source."""


def test_workspaces_in_a_folder_are_passed_over_and_counted(
    job: Job, crops: Crops, listed_pages: Any
) -> None:
    ours = [f"jobs/out/{name}" for name in OF_A_WORKSPACE]
    folder = crops(
        "a.pdf", *ours, "jobs/out2.pdf", "jobs/theirs/exports/b.pdf", "jobs/theirs/job.json", "z.pdf"
    )
    (folder / "jobs/out/job.json").write_bytes(job.to_json())
    (folder / ".trace-ocr/jobs").mkdir(parents=True)

    listing = listed_pages(str(folder))

    assert ids(listing) == ["a.pdf", "jobs/out2.pdf", "jobs/theirs/exports/b.pdf", "z.pdf"]
    assert listing.passed_over == {"workspace": 1, "hidden": 1, "other_extension": 1}


def test_workspaces_below_a_prefix_are_passed_over_and_counted(
    job: Job, s3_bucket: Any, listed_pages: Any
) -> None:
    ours = [f"jobs/out/{name}" for name in OF_A_WORKSPACE]
    for key in (
        "a.pdf",
        *ours,
        "jobs/out2.pdf",
        "jobs/theirs/exports/b.pdf",
        "jobs/theirs/job.json",
        "z.pdf",
    ):
        s3_bucket.put(f"crops/{key}")
    s3_bucket.put("crops/jobs/out/job.json", job.to_json())

    listing = listed_pages("s3://bucket/crops/")

    assert ids(listing) == ["a.pdf", "jobs/out2.pdf", "jobs/theirs/exports/b.pdf", "z.pdf"]
    assert listing.passed_over == {"workspace": 1, "other_extension": 1}


def test_an_empty_image_is_an_item_so_that_it_ends_as_an_error_line(s3_bucket: Any, listed: Any) -> None:
    s3_bucket.put("crops/a.png", b"")

    assert ids(listed("s3://bucket/crops/")) == ["a.png"]


def test_a_folder_named_like_an_image_is_a_folder(crops: Crops, listed: Any) -> None:
    assert ids(listed(str(crops("album.png/a.png")))) == ["album.png/a.png"]


@pytest.mark.parametrize("target", ["nowhere.png", "a.png"])
def test_a_broken_link_is_an_item_so_that_it_ends_as_an_error_line(
    target: str, crops: Crops, listed: Any
) -> None:
    folder = crops("b.png")
    (folder / "a.png").symlink_to(folder / target)

    assert ids(listed(str(folder))) == ["a.png", "b.png"]


def test_a_linked_file_is_an_item(crops: Crops, listed: Any) -> None:
    folder = crops("b.png")
    (folder / "a.png").symlink_to("b.png")

    assert ids(listed(str(folder))) == ["a.png", "b.png"]


def test_bytes_that_are_not_utf8_are_escaped_and_the_rest_is_listed(crops: Crops, listed: Any) -> None:
    folder = crops("a.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/b\xff.png")).touch()

    items = list(listed(str(folder)))

    assert [item.id for item in items] == ["a.png", "b\\xff.png"]
    assert items[1].uri == f"{folder}/b\\xff.png"


def test_a_folder_that_may_not_be_listed_is_passed_over_and_counted(
    crops: Crops, listed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = crops("a.png", "lost+found/b.png", "z.png")

    def refuse(path: str) -> int:
        if "lost+found" in path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_folder(path)

    monkeypatch.setattr("producer.sources.folder.open_folder", refuse)
    listing = listed(str(folder))

    assert ids(listing) == ["a.png", "z.png"]
    assert listing.passed_over == {"unreadable_folder": 1}


def test_the_source_itself_must_be_listed(crops: Crops, listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    listing = listed(str(crops("a.png")))
    monkeypatch.setattr("producer.sources.folder.open_folder", refuse)

    with pytest.raises(SourceError, match="cannot be listed: Permission denied"):
        ids(listing)


def test_an_empty_folder_gives_nothing(tmp_path: Path, listed: Any) -> None:
    assert ids(listed(str(tmp_path))) == []


@pytest.mark.usefixtures("s3_bucket")
def test_a_bucket_that_is_not_there_is_an_error_of_the_source(listed: Any) -> None:
    with pytest.raises(SourceError, match="no-such-bucket"):
        ids(listed("s3://no-such-bucket/crops/"))


# documents

DOCUMENTS = ["B.PDF", "a.pdf", "b.png", "x/c.tiff"]


def test_pdfs_are_items_of_page_jobs_and_passed_over_by_others(
    crops: Crops, listed: Any, listed_pages: Any
) -> None:
    folder = str(crops(*DOCUMENTS, "notes.txt"))

    of_crops, of_pages = listed(folder), listed_pages(folder)

    assert ids(of_crops) == ["b.png", "x/c.tiff"]
    assert of_crops.passed_over == {"other_extension": 3}
    assert ids(of_pages) == DOCUMENTS
    assert of_pages.passed_over == {"other_extension": 1}


def test_pdfs_are_recognised_on_s3_too(s3_bucket: Any, listed: Any, listed_pages: Any) -> None:
    for name in (*DOCUMENTS, "notes.txt"):
        s3_bucket.put(f"scans/{name}")

    of_crops, of_pages = listed("s3://bucket/scans"), listed_pages("s3://bucket/scans")

    assert ids(of_crops) == ["b.png", "x/c.tiff"]
    assert of_crops.passed_over == {"other_extension": 3}
    assert ids(of_pages) == DOCUMENTS
    assert of_pages.passed_over == {"other_extension": 1}


# a single file


@pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "zwei\nZeilen.tiff", "画像.png"])
def test_a_single_file_is_one_item_under_its_own_name(name: str, crops: Crops, listed_pages: Any) -> None:
    folder = crops(name, "other.pdf")

    (item,) = listed_pages(f"{folder}/{name}")

    assert (item.id, item.uri, item.page) == (name, f"{folder}/{name}", None)


def test_a_single_object_on_s3_is_one_item_under_its_own_name(listed_pages: Any) -> None:
    (item,) = listed_pages("s3://bucket/scans/2026/a.pdf")

    assert (item.id, item.uri) == ("a.pdf", "s3://bucket/scans/2026/a.pdf")


def test_a_single_image_is_a_source_of_recognition_jobs_too(crops: Crops, listed: Any) -> None:
    assert ids(listed(f"{crops('a.png')}/a.png")) == ["a.png"]


def test_a_single_pdf_is_passed_over_by_recognition_jobs(crops: Crops, listed: Any) -> None:
    listing = listed(f"{crops('a.pdf')}/a.pdf")

    assert ids(listing) == []
    assert listing.passed_over == {"other_extension": 1}


# what the user's argument names


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given a working folder with a folder, two manifests, an image, two documents, and a text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops").mkdir()
    (tmp_path / "album.csv").mkdir()
    (tmp_path / "binder.pdf").mkdir()
    for name in (
        "list.jsonl",
        "list.csv",
        "list.csv.gz",
        "a.png",
        "a.pdf",
        "b.TIF",
        "notes.txt",
        "labels.json",
    ):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "uri"),
    [
        ("crops", "folder", "{here}/crops"),
        ("./crops/", "folder", "{here}/crops"),
        ("album.csv", "folder", "{here}/album.csv"),
        ("list.jsonl", "manifest", "{here}/list.jsonl"),
        ("list.csv", "manifest", "{here}/list.csv"),
        ("list.csv.gz", "manifest", "{here}/list.csv.gz"),
        ("a.png", "file", "{here}/a.png"),
        ("./a.pdf", "file", "{here}/a.pdf"),
        ("b.TIF", "file", "{here}/b.TIF"),
        ("binder.pdf", "folder", "{here}/binder.pdf"),
        ("s3://bucket/binder.pdf/", "prefix", "s3://bucket/binder.pdf/"),
        ("s3://bucket/labels.json/", "prefix", "s3://bucket/labels.json/"),
        ("s3://bucket/release-1.2", "prefix", "s3://bucket/release-1.2/"),
        ("s3://bucket/scans/a.PDF", "file", "s3://bucket/scans/a.PDF"),
        ("-", "manifest", "-"),
        ("s3://bucket/crops", "prefix", "s3://bucket/crops/"),
        ("s3://bucket", "prefix", "s3://bucket/"),
        ("s3://bucket/list.csv", "manifest", "s3://bucket/list.csv"),
        ("s3://bucket/list.jsonl.gz", "manifest", "s3://bucket/list.jsonl.gz"),
    ],
)
def test_a_source_is_recognised_by_its_name(text: str, kind: str, uri: str, here: Path) -> None:
    assert identify_source(text) == Source(type=kind, uri=uri.format(here=here))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere", "no folder, file or manifest nowhere"),
        ("nowhere.pdf", "no folder, file or manifest nowhere"),
        ("notes.txt", "Pass its folder instead"),
        ("s3://bucket/notes.txt", "Pass its folder instead"),
        ("labels.json", "docTR's labels.json becomes a manifest with: jq"),
        ("s3://bucket/labels.json", "docTR's labels.json becomes a manifest with: jq"),
        ("ftp://host/crops", "ftp:// is no storage that this version knows: local paths, s3://, gs://"),
    ],
)
def test_what_names_no_source_is_a_usage_error(text: str, said: str, here: Path) -> None:
    with pytest.raises(UsageError, match=said):
        identify_source(text)


def test_a_file_that_is_no_source_is_told_all_that_can_be_one(here: Path) -> None:
    with pytest.raises(UsageError) as raised:
        identify_source("notes.txt")

    assert [name for name, source in SOURCES.items() if source.named not in str(raised.value)] == []
    assert ".tar.zst" in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "uri", "root"),
    [
        ("folder", "/data/crops", "/data/crops"),
        ("prefix", "s3://bucket/crops/", "s3://bucket/crops/"),
        ("manifest", "/data/list.csv", "/data"),
        ("manifest", "/list.csv", "/"),
        ("manifest", "s3://bucket/lists/a.csv", "s3://bucket/lists"),
        ("manifest", "-", "{here}"),
        ("file", "/data/a.pdf", "/data"),
        ("file", "s3://bucket/scans/a.pdf", "s3://bucket/scans"),
    ],
)
def test_relative_names_start_from_the_sources_root(kind: Any, uri: str, root: str, here: Path) -> None:
    assert root_of(Source(type=kind, uri=uri)) == root.format(here=here)


# sorting in flat memory


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 35])
def test_sorting_in_runs_agrees_with_sorting_at_once(count: int) -> None:
    names = [f"{n}\n\udcff😀" for n in range(count)]
    random.Random(count).shuffle(names)

    assert list(sort_in_runs(names, run_length=10)) == sorted(names)


@pytest.mark.parametrize(("count", "spilled"), [(9, 0), (25, 3)])
def test_only_what_is_longer_than_a_run_goes_to_disk(
    count: int, spilled: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    names = sort_in_runs((str(n) for n in range(count)), run_length=10)
    next(names)

    assert len(list(tmp_path.glob("trace-ocr-*/*"))) == spilled
    list(names)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_written_before_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    runs_on_disk = []

    def names() -> Iterator[str]:
        for n in range(25):
            runs_on_disk.append(len(list(tmp_path.glob("*/*"))))
            yield str(n)

    list(sort_in_runs(names(), run_length=10))

    assert runs_on_disk == [0] * 10 + [1] * 10 + [2] * 5
