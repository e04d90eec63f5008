"""Viewing an item: found with its last line and its picture, drawn so that nothing in it is executed."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import EpsImagePlugin, Image

from contract.errors import ErrorCode, ItemError, OutsideAllowedRootsError, StorageError, UsageError
from contract.job import Job, Plan, Retry
from contract.kinds.detection import DetectionParameters
from contract.kinds.documents import PDF_RESOLUTION
from contract.kinds.ocr import OcrParameters
from contract.kinds.recognition import RecognitionParameters
from contract.lines import (
    Block,
    DetectionLine,
    ErrorLine,
    Estimate,
    Failure,
    Geometry,
    OcrLine,
    PageText,
    RecognitionLine,
    TextLine,
    Word,
    encode_lines,
)
from contract.records import Item
from contract.region import Region, region_of
from contract.settings import Settings
from contract.source import Source
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from producer.cli.main import cli
from producer.results.drawing import document_html
from producer.results.finding import Found, find
from producer.results.view import Pictures
from tests.unit.conftest import MockBucket
from worker.images.decode import decode_image
from worker.images.documents import PageReader

ATTACK = "<script>alert(1)</script>"


@pytest.fixture
def job() -> Job:
    """Given a job over a document of three pages in two chunks."""
    return Job(
        id="pages-1",
        kind="ocr",
        parameters=OcrParameters(),
        source=Source(type="folder", uri="/scans"),
        chunk_size=2,
        created_at=1_000,
        plan=Plan(chunks=2, items=4),
    )


NONE = Estimate()
EVERYWHERE = (0.0, 0.0, 1.0, 1.0)


def word(value: str, geometry: Geometry, confidence: float = 0.9) -> Word:
    return Word(value, geometry, 0.8, confidence, NONE)


def ocr_line(identity: str, *words: Word) -> OcrLine:
    text = PageText((Block(EVERYWHERE, 0.8, (TextLine(EVERYWHERE, 0.8, words),)),))
    return OcrLine(identity, identity, 1, NONE, NONE, (10, 10), (text,))


def failed_line(identity: str, code: ErrorCode, message: str = "no") -> ErrorLine:
    return ErrorLine(identity, f"/{identity}", Failure(code, message), 1)


def failed_region(item: Item) -> ErrorLine:
    return ErrorLine(item.id, item.uri, Failure(ErrorCode.BAD_REGION, "outside"), 1)


def write_chunk(workspace: Workspace, number: int, *items: Item) -> None:
    workspace.store.replace(workspace.chunk(number), encode_lines(items))


def write_part(workspace: Workspace, number: int, *lines: OcrLine | ErrorLine) -> None:
    workspace.store.replace(workspace.part(number), encode_lines(lines))


@pytest.fixture
def planned(job: Job, workspace: Workspace) -> Workspace:
    """Given the job's chunks; only the first is read."""
    workspace.save_job(job)
    pages = [Item(f"a.pdf#page={page}", "/scans/a.pdf", page=page) for page in (1, 2, 3)]
    write_chunk(workspace, 0, Item("0.png", "/scans/0.png"), pages[0])
    write_chunk(workspace, 1, *pages[1:])
    write_part(workspace, 0, ocr_line("0.png"), ocr_line("a.pdf#page=1"))
    return workspace


class TestFinding:
    def test_an_item_comes_with_its_line(self, job: Job, planned: Workspace) -> None:
        (found,) = find(planned, job, "a.pdf#page=1")

        assert (found.item.page, found.line) == (1, ocr_line("a.pdf#page=1"))

    def test_a_document_comes_with_all_its_pages_read_or_not(self, job: Job, planned: Workspace) -> None:
        found = find(planned, job, "a.pdf")

        assert [one.item.id for one in found] == ["a.pdf#page=1", "a.pdf#page=2", "a.pdf#page=3"]
        assert [one.line is None for one in found] == [False, True, True]

    def test_the_last_line_of_a_retried_item_counts(self, job: Job, planned: Workspace) -> None:
        failed = failed_line("a.pdf#page=2", ErrorCode.DAMAGED_PAGE)
        write_part(planned, 1, failed, ocr_line("a.pdf#page=3"))
        write_chunk(planned, 2, Item("a.pdf#page=2", "/scans/a.pdf", page=2))
        job = job.model_copy(update={"retries": (Retry(first_chunk=2, chunks=1, items=1),)})

        before = find(planned, job, "a.pdf#page=2")
        write_part(planned, 2, ocr_line("a.pdf#page=2"))
        after = find(planned, job, "a.pdf#page=2")

        assert [one.line for one in before + after] == [failed, ocr_line("a.pdf#page=2")]

    def test_a_document_is_found_by_the_id_of_its_manifest(self, job: Job, planned: Workspace) -> None:
        pages = [Item(f"invoice-7#page={page}", "/scans/b.pdf", page=page) for page in (1, 2)]
        # and others whose names are like it: an image's, and another document's
        others = Item("invoice-7#page=3", "/scans/c.png"), Item("invoice-70#page=1", "/scans/d.pdf", page=1)
        write_chunk(planned, 1, *others, *pages)

        assert [one.item for one in find(planned, job, "invoice-7")] == pages

    @pytest.fixture
    def regions(self, job: Job, planned: Workspace) -> list[Item]:
        """Given regions of an image and of a document's page in the second chunk; only the first is read."""
        items = [
            Item("scans/p.png#r=1", "/in/scans/p.png", region=Region((0, 0, 9, 9))),
            Item("scans/p.png#r=total", "/in/scans/p.png", region=Region((0, 0, 9, 9), name="total")),
            Item("a.pdf#page=2&r=1", "/in/a.pdf", page=2, region=Region((0, 0, 9, 9))),
            Item("form-7-date", "/in/scans/form.png", region=Region((0, 0, 9, 9))),
        ]
        write_chunk(planned, 1, *items)
        line = RecognitionLine(items[0].id, "p.png", "text", 0.9)
        planned.store.replace(planned.part(1), encode_lines([line, *map(failed_region, items[1:])]))
        return items

    @pytest.mark.parametrize(
        ("wanted", "page", "numbers"),
        [
            ("scans/p.png", "scans/p.png", [0, 1]),
            ("p.png", "scans/p.png", [0, 1]),
            ("scans/p.png#r=total", "scans/p.png#r=total", [1]),
            ("a.pdf#page=2", "a.pdf#page=2", [2]),
            ("scans/form.png", "form.png", [3]),
            ("form-7-date", "form-7-date", [3]),
        ],
    )
    def test_a_page_comes_with_its_regions_and_a_region_alone(
        self,
        wanted: str,
        page: str,
        numbers: list[int],
        regions: list[Item],
        job: Job,
        planned: Workspace,
    ) -> None:
        job = job.model_copy(update={"kind": "recognition", "parameters": RecognitionParameters()})

        (found,) = find(planned, job, wanted)

        assert (found.item.id, found.item.region, found.line) == (page, None, None)
        assert [one.item for one in found.regions] == [regions[number] for number in numbers]
        assert all(one.line is not None for one in found.regions)

    def test_a_document_comes_with_the_pages_that_have_regions(
        self, regions: list[Item], job: Job, planned: Workspace
    ) -> None:
        job = job.model_copy(update={"kind": "recognition", "parameters": RecognitionParameters()})
        write_chunk(planned, 0)

        assert [one.item.id for one in find(planned, job, "a.pdf")] == ["a.pdf#page=2"]

    def test_regions_of_one_view_are_bounded(
        self, job: Job, planned: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("producer.results.finding.MAX_REGIONS", 2)
        box = Region((0, 0, 9, 9))
        items = [Item(f"p.png#r={number}", "/p.png", region=box) for number in range(1, 9)]
        write_chunk(planned, 0, *items)
        planned.store.delete(planned.part(0))
        # and a retry of one of them
        write_chunk(planned, 2, items[1])
        planned.store.replace(planned.part(2), encode_lines([failed_region(items[1])]))
        job = job.model_copy(update={"retries": (Retry(first_chunk=2, chunks=1, items=1),)})

        (found,) = find(planned, job, "p.png")

        assert [one.item.id for one in found.regions] == ["p.png#r=1", "p.png#r=2"]
        assert [one.line for one in found.regions] == [None, failed_region(items[1])]

    def test_a_missing_item_is_an_error_that_says_how_items_are_named(
        self, job: Job, planned: Workspace
    ) -> None:
        with pytest.raises(UsageError, match=r"no item 'b\.pdf'.*ledger\.pdf#page=2"):
            find(planned, job, "b.pdf")


@pytest.fixture
def pictures(storage: Storage, settings: Settings) -> Iterator[Pictures]:
    with Pictures(storage, settings, PDF_RESOLUTION) as pictures:
        yield pictures


def found(path: Path | str, page: int | None = None, line: dict[str, Any] | None = None) -> Found:
    return Found(Item("a", str(path), page=page), line)


def gradient(*, kind: type[np.generic], top: float) -> Image.Image:
    """Return an image of 256 x 64 pixels that rises from 0 to `top`."""
    return Image.fromarray(np.tile(np.linspace(0, top, 256).astype(kind), (64, 1)))


class TestPicture:
    def test_an_image_is_shown_upright(self, pictures: Pictures, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        Image.new("RGB", (4000, 1000)).save(tmp_path / "a.jpg", exif=exif)

        image = pictures.of(found(tmp_path / "a.jpg"))

        assert (image.mode, image.size) == ("RGB", (1000, 4000))

    @pytest.mark.parametrize(
        "image",
        [
            gradient(kind=np.uint16, top=65_535),
            gradient(kind=np.int32, top=65_535),
            gradient(kind=np.int32, top=255),
            gradient(kind=np.float32, top=1.0),
            gradient(kind=np.float32, top=255.0),
            gradient(kind=np.uint8, top=255).convert("LA"),
        ],
        ids=["16-bit", "32-bit", "32-bit-dark", "share", "float", "alpha"],
    )
    def test_samples_of_any_depth_look_as_in_the_worker(
        self, image: Image.Image, pictures: Pictures, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.tiff"
        image.save(path)

        shown = np.asarray(pictures.of(found(path)))

        assert np.array_equal(shown, decode_image(path.read_bytes(), 10**6).pixels)

    @pytest.mark.parametrize("name", ["ledger.pdf", "scan.tiff"])
    def test_a_page_looks_as_the_worker_saw_it(self, name: str, samples: Path, pictures: Pictures) -> None:
        document = samples / "pages" / name
        seen = Image.fromarray(PageReader(10**8).page(document, 1, PDF_RESOLUTION).pixels)

        shown = pictures.of(found(document, 1))

        assert (shown.size, shown.tobytes()) == (seen.size, seen.tobytes())

    def test_pages_of_documents_are_found_by_their_number(self, samples: Path, pictures: Pictures) -> None:
        sizes = [pictures.of(found(samples / "pages" / name, 2)).size for name in ("ledger.pdf", "scan.tiff")]

        with Image.open(samples / "pages/scan.tiff") as scan:
            scan.seek(1)
            ratio = scan.width / scan.height
        assert [round(width / height, 2) for width, height in sizes] == [round(600 / 780, 2), round(ratio, 2)]

    def test_a_document_of_s3_is_copied_once_for_all_its_pages(
        self, samples: Path, s3_bucket: MockBucket, pictures: Pictures
    ) -> None:
        uri = s3_bucket.put("ledger.pdf", (samples / "pages/ledger.pdf").read_bytes())

        first = pictures.of(found(uri, 1))
        s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="ledger.pdf")
        third = pictures.of(found(uri, 3))

        assert first.tobytes() != third.tobytes()

    def test_of_two_documents_each_shows_its_own_pages(
        self, samples: Path, s3_bucket: MockBucket, pictures: Pictures
    ) -> None:
        names = ("ledger.pdf", "scan.tiff")
        uris = [s3_bucket.put(name, (samples / "pages" / name).read_bytes()) for name in names]

        shown = [pictures.of(found(uri, 1)).tobytes() for uri in (*uris, uris[0])]

        assert shown[0] == shown[2] != shown[1]

    def test_an_image_that_is_too_large_is_not_decoded(
        self, samples: Path, storage: Storage, settings: Settings
    ) -> None:
        small = settings.model_copy(update={"max_pixels": 100, "max_document_bytes": 100})

        with Pictures(storage, small, PDF_RESOLUTION) as pictures:
            with pytest.raises(StorageError, match=r"larger than 100 bytes.*TRACE_OCR_MAX_DOCUMENT_BYTES"):
                pictures.of(found(samples / "pages/ledger.pdf", 1))
            with pytest.raises(ItemError, match=r"more than the 100 allowed.*TRACE_OCR_MAX_PIXELS"):
                pictures.of(found(samples / "pages/letter.jpg"))

    def test_no_format_is_tried_that_runs_a_program(self, pictures: Pictures, tmp_path: Path) -> None:
        # given PostScript under an image's name, which Pillow would hand to Ghostscript
        (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        with EpsImagePlugin.EpsImageFile(tmp_path / "a.png") as image:
            assert image.size == (9, 9)

        with pytest.raises(ItemError, match="not an image"):
            pictures.of(found(tmp_path / "a.png"))

    @pytest.mark.parametrize(
        "code",
        [
            ErrorCode.WORKER_CRASHED,
            ErrorCode.TIMED_OUT,
            ErrorCode.OUTSIDE_ALLOWED_ROOTS,
            ErrorCode.ACCESS_DENIED,
            ErrorCode.NOT_A_FILE,
        ],
    )
    def test_an_item_that_crashed_a_worker_or_that_it_refused_is_not_opened(
        self, code: ErrorCode, samples: Path, pictures: Pictures
    ) -> None:
        line = failed_line("a", code)

        with pytest.raises(ItemError, match="not opened here"):
            pictures.of(found(samples / "pages/ledger.pdf", 1, line))

    @pytest.mark.parametrize("page", [None, 1])
    def test_a_link_out_of_the_source_is_not_followed(
        self, page: int | None, samples: Path, storage: Storage, settings: Settings, tmp_path: Path
    ) -> None:
        (tmp_path / "scans").mkdir()
        name, secret = ("a.pdf", "ledger.pdf") if page else ("a.jpg", "letter.jpg")
        (tmp_path / "scans" / name).symlink_to(samples / "pages" / secret)
        roots = AllowedRoots((str(tmp_path / "scans"),))

        with (
            Pictures(storage, settings, PDF_RESOLUTION, roots) as pictures,
            pytest.raises(OutsideAllowedRootsError),
        ):
            pictures.of(found(tmp_path / "scans" / name, page))

    @pytest.mark.parametrize("name", ["ledger.pdf", "scan.tiff", "letter.jpg"])
    def test_the_page_of_regions_is_the_first_of_a_document_that_names_none(
        self, name: str, samples: Path, pictures: Pictures
    ) -> None:
        path = samples / "pages" / name
        item = Item("a", str(path))
        region = Found(Item("a#r=1", str(path), region=Region((0, 0, 9, 9))), None)

        shown = pictures.of(Found(item, None, (region,)))

        first = found(path, None if name == "letter.jpg" else 1)
        assert shown.tobytes() == pictures.of(first).tobytes()


class TestDrawing:
    def test_a_picture_is_no_larger_than_a_screen_and_regions_match_it(self, job: Job) -> None:
        # given regions in pixels, as shares, with many corners, outside the page, and without any corner
        outline = tuple(map(float, (400, 800, 2000, 800, 2000, 1600, 1200, 1800, 400, 1600)))
        regions = [
            Region((400.0, 800.0, 2000.0, 1600.0), name="box"),
            Region((0.1, 0.2, 0.5, 0.4), "rel", "share"),
            Region(outline, name="outline"),
            Region((5000.0, 100.0, 6000.0, 200.0), name="outside"),
            region_of([400, 400, 400, 800], name="empty"),
            Region(fault="the coordinates of a region are numbers", name="odd"),
        ]
        crops = job.model_copy(update={"kind": "recognition", "parameters": RecognitionParameters()})
        items = [Item(f"p.png#r={region.name}", "/p.png", region=region) for region in regions]
        lines: list[Any] = [RecognitionLine(item.id, "p.png", "text", 0.3) for item in items[:3]]
        shown = tuple(map(Found, items, [*lines, *map(failed_region, items[3:])]))

        html = document_html(
            crops, "p.png", [(Found(Item("p.png", "/p.png"), None, shown), Image.new("RGB", (4000, 4000)))]
        )

        section = ElementTree.fromstring(html[html.index("<section>") : html.index("</section>") + 10])
        boxes, texts = section.iter("svg")
        assert boxes.get("viewBox") == "0 0 1600 1600"
        drawn = [(group.get("class"), group.find("polygon").get("points")) for group in boxes.iter("g")]  # type: ignore[union-attr]
        box = "160.0,320.0 800.0,320.0 800.0,640.0 160.0,640.0"
        assert drawn == [
            ("unsure", box),
            ("unsure", box),
            ("unsure", "160.0,320.0 800.0,320.0 800.0,640.0 480.0,720.0 160.0,640.0"),
            ("bad", "1600.0,40.0 1600.0,40.0 1600.0,80.0 1600.0,80.0"),
            ("bad", "160.0,160.0 160.0,160.0 160.0,320.0 160.0,320.0"),
        ]
        assert [text.text for text in texts.iter("text")][:3] == ["text"] * 3
        assert [group.findtext("title") for group in boxes.iter("g")][::3] == [
            "box: text (0.30)",
            "outside: bad_region: outside",
        ]
        assert section.findtext("p") == "6 given regions."
        assert [item.text for item in section.iter("li")] == [
            "p.png#r=outside: bad_region: outside",
            "p.png#r=empty: bad_region: outside",
            "p.png#r=odd: bad_region: outside",
        ]

    def test_boxes_and_polygons_are_drawn_with_four_corners(self, job: Job) -> None:
        boxed = job.model_copy(update={"kind": "detection", "parameters": DetectionParameters()})
        boxes = (0.1, 0.2, 0.3, 0.4), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

        (side,) = drawing(boxed, DetectionLine("a", "a", 1, boxes)).iter("svg")

        assert [polygon.get("points") for polygon in side.iter("polygon")] == [
            "20.0,20.0 60.0,20.0 60.0,40.0 20.0,40.0",
            "0.0,10.0 40.0,30.0 80.0,50.0 120.0,70.0",
        ]

    def test_a_crop_is_shown_with_its_text(self, job: Job) -> None:
        crops = job.model_copy(update={"kind": "recognition", "parameters": RecognitionParameters()})

        section = drawing(crops, RecognitionLine("a", "a", "05-09-88", 0.993))

        assert section.findtext("p") == "05-09-88 (0.99)"
        assert list(section.iter("polygon")) == []

    def test_words_are_drawn_at_their_positions(self, job: Job) -> None:
        line = ocr_line("a.png", word("sure", (0.1, 0.2, 0.6, 0.4)), word("hardly", EVERYWHERE, 0.3))

        sides = list(drawing(job, line).iter("svg"))

        assert [side.get("viewBox") for side in sides] == ["0 0 200 100"] * 2
        boxes, texts = (list(side.iter("g")) for side in sides)
        assert next(box.find("polygon").get("points") for box in boxes) == (  # type: ignore[union-attr]
            "20.0,20.0 120.0,20.0 120.0,40.0 20.0,40.0"
        )
        assert [text.findtext("text") for text in texts] == ["sure", "hardly"]
        assert [box.findtext("title") for box in boxes] == ["sure (0.90)", "hardly (0.30)"]
        assert [box.get("class") for box in boxes] == [None, "unsure"]

    def test_nothing_in_an_items_text_is_executed(self, job: Job) -> None:
        line = ocr_line(ATTACK, word(ATTACK, EVERYWHERE))

        html = document_html(job, ATTACK, [(Found(Item(ATTACK, "/a.png"), line), Image.new("RGB", (9, 9)))])
        failed = failed_line("a", ErrorCode.TRUNCATED, ATTACK)
        html += document_html(job, "a", [(Found(Item("a", "/a.png"), failed), ATTACK)])

        assert "<script" not in html
        assert html.count("&lt;script&gt;") >= 5

    def test_an_item_without_a_result_or_a_picture_says_why(self, job: Job) -> None:
        failed = failed_line("a", ErrorCode.ENCRYPTED, "asks for a password")

        html = document_html(
            job,
            "a",
            [(Found(Item("a", "/a"), failed), "no such file"), (Found(Item("b", "/b"), None), "gone")],
        )

        assert "encrypted: asks for a password" in html
        assert "no picture: no such file" in html
        assert "Not read yet." in html

    def test_straightened_pages_are_noted(self, job: Job) -> None:
        turned = job.model_copy(update={"parameters": OcrParameters(straighten_pages=True)})

        shown = [document_html(one, "a", [(Found(Item("a", "/a"), None), "")]) for one in (job, turned)]

        assert ["boxes may be next to their words" in html for html in shown] == [False, True]


@pytest.fixture
def view(planned: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `trace-ocr view` on the planned job in an empty directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda *words: CliRunner().invoke(cli, ["view", planned.root, *words], standalone_mode=False)


class TestCommand:
    def test_it_writes_a_file_named_after_the_item(self, view: Callable[..., Any]) -> None:
        done = view("a.pdf#page=1")

        assert done.exception is None
        assert "a.pdf-page-1.html: 1 page;" in done.output
        assert "no picture: ObjectMissingError" in Path("a.pdf-page-1.html").read_text()

    @pytest.mark.parametrize(
        ("item", "name"),
        [
            ("/scans/b.png", "scans-b.png.html"),
            ("счёт.pdf#page=1", "счёт.pdf-page-1.html"),
            ("-rf.png", "rf.png.html"),
            ("../#", "page.html"),
            ("я" * 4_000 + ".pdf#page=2", "я" * 49 + ".pdf-page-2.html"),
        ],
    )
    def test_any_id_becomes_a_file_name_in_this_directory(
        self, item: str, name: str, planned: Workspace, view: Callable[..., Any]
    ) -> None:
        write_chunk(planned, 1, Item(item, "/scans/b.png"))

        done = view("--", item)

        assert done.exception is None
        assert [path.name for path in Path().iterdir()] == [name]

    def test_an_unwritable_output_is_an_error_that_names_it(self, view: Callable[..., Any]) -> None:
        done = view("a.pdf", "-o", "missing/look.html")

        assert isinstance(done.exception, UsageError)
        assert re.search(r"missing/look\.html cannot be written .*-o", str(done.exception))

    def test_it_writes_the_file_given_with_output(self, view: Callable[..., Any]) -> None:
        view("a.pdf", "-o", "look.html")

        html = Path("look.html").read_text()
        assert html.count("<section>") == 3
        assert "<title>a.pdf - pages-1</title>" in html


def drawing(job: Job, line: Any) -> ElementTree.Element:
    """Return the section of one page, 200 pixels wide and 100 high."""
    html = document_html(job, "a.png", [(Found(Item("a.png", "/a.png"), line), Image.new("RGB", (200, 100)))])
    return ElementTree.fromstring(html[html.index("<section>") : html.index("</section>") + 10])
