"""An item to look at: found with the last of its lines and its picture, drawn so that nothing in it runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from PIL import Image

from contract.errors import ItemError, StorageError, UsageError
from contract.job import Job, Plan, Retry, Source
from contract.parameters import OcrParameters
from contract.records import ErrorCode, ErrorLine, Failure, Item, encode_lines
from contract.settings import Settings
from contract.storage import Storage
from contract.workspace import Workspace
from producer.cli import cli
from producer.drawing import Mark, document_html, marks_of
from producer.view import Found, find, picture, words_of

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


def word(value: str, geometry: list[float], confidence: float = 0.9) -> dict[str, Any]:
    return {"value": value, "geometry": geometry, "detection_score": 0.8, "confidence": confidence}


def ocr_line(identity: str, *words: dict[str, Any]) -> dict[str, Any]:
    return {"id": identity, "pages": [{"blocks": [{"lines": [{"words": list(words)}]}]}]}


def write_chunk(workspace: Workspace, number: int, *items: Item) -> None:
    workspace.store.replace(workspace.chunk(number), encode_lines(items))


def write_part(workspace: Workspace, number: int, *lines: dict[str, Any]) -> None:
    data = "".join(json.dumps(line) + "\n" for line in lines)
    workspace.store.replace(workspace.part(number), data.encode())


@pytest.fixture
def planned(job: Job, workspace: Workspace) -> Workspace:
    """Given its chunks, of which the first is read."""
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

    def test_of_an_item_that_was_retried_the_last_line_stands(self, job: Job, planned: Workspace) -> None:
        failed = {"id": "a.pdf#page=2", "error": {"code": "damaged_page", "message": "no"}}
        write_part(planned, 1, failed, ocr_line("a.pdf#page=3"))
        write_chunk(planned, 2, Item("a.pdf#page=2", "/scans/a.pdf", page=2))
        job = job.model_copy(update={"retries": (Retry(first_chunk=2, chunks=1, items=1),)})

        before = find(planned, job, "a.pdf#page=2")
        write_part(planned, 2, ocr_line("a.pdf#page=2"))
        after = find(planned, job, "a.pdf#page=2")

        assert [one.line for one in before + after] == [failed, ocr_line("a.pdf#page=2")]

    def test_an_item_that_is_not_there_is_an_error_that_says_how_items_are_called(
        self, job: Job, planned: Workspace
    ) -> None:
        with pytest.raises(UsageError, match=r"no item 'b\.pdf'.*ledger\.pdf#page=2"):
            find(planned, job, "b.pdf")


class TestPicture:
    def test_an_image_is_shown_upright_and_no_larger_than_a_screen(
        self, storage: Storage, settings: Settings, tmp_path: Path
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        Image.new("RGB", (4000, 1000)).save(tmp_path / "a.jpg", exif=exif)

        image = picture(Item("a.jpg", str(tmp_path / "a.jpg")), storage, settings)

        assert (image.mode, image.size) == ("RGB", (400, 1600))

    def test_pages_of_documents_are_found_by_their_number(
        self, samples: Path, storage: Storage, settings: Settings
    ) -> None:
        sizes = [
            picture(Item(name, str(samples / "pages" / name), page=2), storage, settings).size
            for name in ("ledger.pdf", "scan.tiff")
        ]

        with Image.open(samples / "pages/scan.tiff") as scan:
            scan.seek(1)
            ratio = scan.width / scan.height
        assert [round(width / height, 2) for width, height in sizes] == [round(600 / 780, 2), round(ratio, 2)]

    def test_what_is_too_large_is_not_decoded(
        self, samples: Path, storage: Storage, settings: Settings
    ) -> None:
        small = settings.model_copy(update={"max_pixels": 100, "max_document_bytes": 100})
        page = Item("ledger.pdf", str(samples / "pages/ledger.pdf"), page=1)

        with pytest.raises(StorageError, match="larger than 100 bytes"):
            picture(page, storage, small)
        with pytest.raises(ItemError, match="too many"):
            picture(Item("letter.jpg", str(samples / "pages/letter.jpg")), storage, small)


class TestDrawing:
    @pytest.mark.parametrize(
        ("line", "texts"),
        [
            (ocr_line("a", word("one", [0, 0, 1, 1]), word("two", [0, 0, 1, 1])), ["one", "two"]),
            ({"bounding_boxes": [[0, 0, 1, 1]]}, [""]),
            ({"extracted_fields": [{"field_type": "words", "values": [word("x", [0, 0, 1, 1])]}]}, ["x"]),
            ({"value": "a crop", "confidence": 1.0}, []),
        ],
    )
    def test_every_kind_of_line_has_its_marks(self, line: dict[str, Any], texts: list[str]) -> None:
        assert [mark.text for mark in marks_of(line)] == texts

    def test_boxes_and_polygons_have_four_corners(self) -> None:
        line = {"bounding_boxes": [[0.1, 0.2, 0.3, 0.4], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]]}

        assert marks_of(line) == [
            Mark(((0.1, 0.2), (0.3, 0.2), (0.3, 0.4), (0.1, 0.4))),
            Mark(((0, 0.1), (0.2, 0.3), (0.4, 0.5), (0.6, 0.7))),
        ]

    def test_words_stand_where_they_were_found(self, job: Job) -> None:
        line = ocr_line("a.png", word("sure", [0.1, 0.2, 0.6, 0.4]), word("hardly", [0, 0, 1, 1], 0.3))

        sides = list(drawing(job, line).iter("svg"))

        assert [side.get("viewBox") for side in sides] == ["0 0 200 100"] * 2
        boxes, texts = (list(side.iter("g")) for side in sides)
        assert next(box.find("polygon").get("points") for box in boxes) == (  # type: ignore[union-attr]
            "20.0,20.0 120.0,20.0 120.0,40.0 20.0,40.0"
        )
        assert [text.findtext("text") for text in texts] == ["sure", "hardly"]
        assert [box.findtext("title") for box in boxes] == ["sure (0.90)", "hardly (0.30)"]
        assert [box.get("class") for box in boxes] == [None, "unsure"]

    def test_nothing_that_an_image_says_is_run(self, job: Job) -> None:
        line = ocr_line(ATTACK, word(ATTACK, [0, 0, 1, 1]))

        html = document_html(job, [(Found(Item(ATTACK, "/a.png"), line), Image.new("RGB", (9, 9)))])
        failed = {"error": {"code": "truncated", "message": ATTACK}}
        html += document_html(job, [(Found(Item("a", "/a.png"), failed), ATTACK)])

        assert "<script" not in html
        assert html.count("&lt;script&gt;") >= 5

    def test_an_item_without_a_result_or_a_picture_says_why(self, job: Job) -> None:
        failure = ErrorLine("a", "/a", Failure(ErrorCode.ENCRYPTED, "asks for a password"), 1)
        failed = json.loads(encode_lines([failure]))

        html = document_html(
            job, [(Found(Item("a", "/a"), failed), "no such file"), (Found(Item("b", "/b"), None), "gone")]
        )

        assert "encrypted: asks for a password" in html
        assert "no picture: no such file" in html
        assert "Not read yet." in html

    def test_pages_that_were_straightened_are_not_taken_for_what_was_read(self, job: Job) -> None:
        turned = job.model_copy(update={"parameters": OcrParameters(straighten_pages=True)})

        shown = [document_html(one, [(Found(Item("a", "/a"), None), "")]) for one in (job, turned)]

        assert ["straightened pages before reading" in html for html in shown] == [False, True]


def test_words_of_a_crop_are_none() -> None:
    assert list(words_of({"value": "x", "confidence": 1.0})) == []


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
        assert "a.pdf-page-1.html: 1 page," in done.output
        assert "no picture: ObjectMissingError" in Path("a.pdf-page-1.html").read_text()

    def test_or_as_it_is_told(self, view: Callable[..., Any]) -> None:
        view("a.pdf", "-o", "look.html")

        assert Path("look.html").read_text().count("<section>") == 3


def drawing(job: Job, line: dict[str, Any]) -> ElementTree.Element:
    """Return the section of one page, 200 pixels wide and 100 high."""
    html = document_html(job, [(Found(Item("a.png", "/a.png"), line), Image.new("RGB", (200, 100)))])
    return ElementTree.fromstring(html[html.index("<section>") : html.index("</section>") + 10])
