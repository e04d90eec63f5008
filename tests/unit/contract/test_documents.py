"""Documents: page counts, and the errors of documents that cannot be opened."""

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PIL import Image, TiffImagePlugin

from contract.documents import (
    EXTENSIONS,
    MAX_PAGES,
    claimed_document,
    document_of,
    is_document,
    opened_pdf,
    page_count,
    page_id,
)
from contract.errors import ErrorCode, ItemError
from tests.unit.documents import encrypted_pdf, pdf, tiff, tiff_of

SQUARE = (100, 100)
A_WORD, A_LONG = "<H", "<I"
"""TIFF's little-endian numbers, of 2 bytes and of 4."""

ENTRY_BYTES = 12
"""Bytes of one entry of a TIFF's directory."""

Put = Callable[[str, bytes], Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file; return its path."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def refusal(path: Path) -> ItemError:
    """Return the error that counting the document's pages ends with."""
    with pytest.raises(ItemError) as raised:
        page_count(path)
    return raised.value


def open_files() -> set[Path]:
    """Return what this process has open."""
    return {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


class Links:
    """The offsets of a TIFF's directories, and of each one's pointer to the next."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.directories, self.places = [self._number(A_LONG, 4)], [4]
        while True:
            start = self.directories[-1]
            self.places.append(start + 2 + ENTRY_BYTES * self._number(A_WORD, start))
            following = self._number(A_LONG, self.places[-1])
            if not following:
                break
            self.directories.append(following)

    def _number(self, kind: str, at: int) -> int:
        found: int = struct.unpack_from(kind, self.data, at)[0]
        return found

    def led_to(self, directory: int, target: int) -> bytes:
        """Return the file with the link to a directory, counted from 0, changed."""
        return self.patched(self.places[directory], struct.pack(A_LONG, target))

    def patched(self, at: int, data: bytes) -> bytes:
        """Return the file with some bytes exchanged."""
        return self.data[:at] + data + self.data[at + len(data) :]


class TestNames:
    @pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "a.tif", "a.Tiff", "s3://bucket/x/a.pdf", ".pdf"])
    def test_documents_are_told_by_their_extension(self, name: str) -> None:
        assert is_document(name)

    @pytest.mark.parametrize("name", ["a.png", "a.pdf.png", "pdf", "a.pdf/b.jpg", "a.pdf#page=1", ""])
    def test_everything_else_has_one_page(self, name: str) -> None:
        assert not is_document(name)

    def test_a_page_is_named_after_its_document(self) -> None:
        assert page_id("scans/ledger.pdf", 12) == "scans/ledger.pdf#page=12"

    @pytest.mark.parametrize(
        "name",
        ["a.pdf", "b/A.PDF", "a.tif", "invoice-17", "zwei\nZeilen.pdf", "x.pdf#page=1.pdf", "x#page=1"],
    )
    @pytest.mark.parametrize("page", [1, 12, 100_000])
    def test_the_document_of_a_page_is_found_again(self, name: str, page: int) -> None:
        assert document_of(page_id(name, page), page) == name
        assert claimed_document(page_id(name, page)) == name

    @pytest.mark.parametrize("name", ["a.png", "a.png#page=1", "a.pdf", "a.pdf#page=1"])
    def test_an_item_that_is_no_page_is_its_own_document(self, name: str) -> None:
        assert document_of(name, None) == name

    @pytest.mark.parametrize(
        "name", ["a.png", "a.pdf#page=", "a.pdf#page=1.png", "a#page=0", "a#page=01", "a#page=1\n", "#page=1"]
    )
    def test_no_page_has_such_an_id(self, name: str) -> None:
        assert claimed_document(name) is None


class TestContents:
    @pytest.mark.parametrize("name", ["a.pdf", "a.tif", "a.png", "a"])
    def test_pages_are_counted_by_what_is_in_a_file_whatever_its_name(self, name: str, put: Put) -> None:
        assert page_count(put(name, pdf(SQUARE, SQUARE, SQUARE))) == 3
        assert page_count(put(name, tiff(SQUARE, SQUARE))) == 2
        assert page_count(put(name, png())) == 0

    @pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "BMP", "GIF", "PPM", "JPEG2000"])
    def test_every_image_is_known_by_its_beginning(self, image_format: str, put: Put) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9)).save(buffer, image_format)

        assert page_count(put("a.tif", buffer.getvalue())) == 0


class TestPageCount:
    @pytest.mark.parametrize("extension", [*EXTENSIONS, ".PDF", ".Tif"])
    @pytest.mark.parametrize("pages", [1, 3])
    def test_pages_of_any_size_are_counted(self, extension: str, pages: int, put: Put) -> None:
        make = pdf if extension.lower() == ".pdf" else tiff

        assert page_count(put(f"a{extension}", make(*[(30, 20), (20, 300), (5, 5)][:pages]))) == pages

    def test_pages_of_a_tiff_may_differ_in_their_modes(self, put: Put) -> None:
        modes = [Image.new(mode, (30, 20)) for mode in ("1", "L", "RGB", "I;16", "CMYK")]

        assert page_count(put("a.tif", tiff_of(*modes))) == 5

    def test_nothing_is_rendered(self, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise AssertionError("rendered")

        monkeypatch.setattr(pypdfium2.PdfPage, "render", fail)
        monkeypatch.setattr(pypdfium2.PdfDocument, "get_page", fail)
        monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", fail)

        assert page_count(put("a.pdf", pdf((14_000, 14_000), (14_000, 14_000)))) == 2
        assert page_count(put("a.tiff", tiff((30, 20), (30, 20)))) == 2

    def test_a_page_larger_than_pillow_likes_is_counted_for_our_own_limit_applies_later(
        self, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

        assert page_count(put("a.tiff", tiff((30, 20), (30, 20)))) == 2

    @pytest.mark.parametrize("make", [pdf, tiff])
    def test_what_claims_too_many_pages_is_damaged(
        self, make: Callable[..., bytes], put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("contract.documents.MAX_PAGES", 2)
        name = f"a.{make.__name__}"

        assert page_count(put(name, make(SQUARE, SQUARE))) == 2
        error = refusal(put(name, make(SQUARE, SQUARE, SQUARE)))

        assert error.code == ErrorCode.DAMAGED_DOCUMENT
        assert "3 pages, the limit is 2" in error.message

    def test_a_count_that_is_made_up_is_bounded_too(self, put: Put) -> None:
        claimed = pdf(SQUARE).replace(b"/Count 1", b"/Count %d" % (2 * MAX_PAGES))

        error = refusal(put("a.pdf", claimed))

        assert error.code == ErrorCode.DAMAGED_DOCUMENT
        assert "200,000 pages" in error.message


class TestBrokenPdf:
    def test_one_that_is_encrypted_asks_for_a_copy_without_password(self, put: Put) -> None:
        error = refusal(put("a.pdf", encrypted_pdf()))

        assert error.code == ErrorCode.ENCRYPTED
        assert "password" in error.message

    def test_one_without_pages_is_told_from_a_damaged_one(self, put: Put) -> None:
        assert refusal(put("a.pdf", pdf())).code == ErrorCode.NO_PAGES

    def test_a_code_does_not_depend_on_what_was_opened_before(self, put: Put) -> None:
        none, locked = put("none.pdf", pdf()), put("locked.pdf", encrypted_pdf())
        garbage, sound = put("garbage.pdf", b"%PDF-1.7\n garbage"), put("sound.pdf", pdf(SQUARE))
        codes = {
            none: ErrorCode.NO_PAGES,
            locked: ErrorCode.ENCRYPTED,
            garbage: ErrorCode.DAMAGED_DOCUMENT,
        }

        for first in codes:
            for second in codes:
                assert (refusal(first).code, refusal(second).code) == (codes[first], codes[second])
            assert page_count(sound) == 1
            assert refusal(none).code == ErrorCode.NO_PAGES

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"hello",
            b"%PDF-1.7\n" + bytes(range(256)) * 9,
            pdf(SQUARE, SQUARE)[:300],
        ],
        ids=["empty", "text", "bytes", "cut off"],
    )
    def test_garbage_is_a_damaged_document_and_says_what_to_do(self, data: bytes, put: Put) -> None:
        error = refusal(put("a.pdf", data))

        assert error.code == ErrorCode.DAMAGED_DOCUMENT
        assert "save it again" in error.message

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data.replace(b"startxref", b"startxxxx"),
            lambda data: data.replace(b"00000 n", b"99999 n"),
            lambda data: re.sub(rb"\d{10} 00000 n", b"0000000001 00000 n", data),
            lambda data: re.sub(rb"startxref\s+\d+", b"startxref\r\n999999999", data),
            lambda data: data[:-10],
            lambda data: b"junk\n" * 10 + data,
        ],
        ids=["no table", "unknown entries", "false places", "table out of reach", "cut off", "junk before"],
    )
    def test_a_broken_cross_reference_table_is_mended(
        self, damage: Callable[[bytes], bytes], put: Put
    ) -> None:
        data = damage(pdf(SQUARE, SQUARE, SQUARE))
        assert data != pdf(SQUARE, SQUARE, SQUARE)

        assert page_count(put("a.pdf", data)) == 3


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
class TestBrokenTiff:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"garbage",
            tiff(SQUARE)[:6],
            Links(tiff(SQUARE)).led_to(0, 10**6),
            Links(tiff(SQUARE)).patched(8, b"\xff" * 60),
        ],
        ids=["empty", "garbage", "cut off", "no directory", "damaged directory"],
    )
    def test_one_that_cannot_be_opened_is_a_damaged_document(
        self, data: bytes, put: Put, tmp_path: Path
    ) -> None:
        error = refusal(put("a.tif", data))

        assert error.code == ErrorCode.DAMAGED_DOCUMENT
        assert "save it again" in error.message
        # The file may be a copy of an object on S3, whose name means nothing to anybody.
        assert str(tmp_path) not in error.message

    def test_pages_whose_pixels_are_cut_off_count(self, put: Put) -> None:
        whole = tiff(SQUARE, SQUARE, SQUARE)

        assert page_count(put("a.tif", whole[:-100])) == 3

    def test_one_cut_within_its_directories_has_one_page_more_than_can_be_reached(self, put: Put) -> None:
        whole = tiff(SQUARE, SQUARE, SQUARE)

        # given that the second page's directory is whole and the third's is gone
        cut = whole[: Links(whole).directories[2]]

        assert page_count(put("a.tif", cut)) == 3

    @pytest.mark.parametrize("damage", [b"\xff" * 100, b"\xff\xff"], ids=["whole", "length"])
    def test_a_damaged_directory_is_the_last_page_since_none_beyond_can_be_reached(
        self, damage: bytes, put: Put
    ) -> None:
        links = Links(tiff(SQUARE, SQUARE, SQUARE))

        assert page_count(put("a.tif", links.patched(links.directories[1], damage))) == 2

    @pytest.mark.parametrize("target", [0, 1, 2])
    def test_directories_that_lead_back_end_the_document(self, target: int, put: Put) -> None:
        links = Links(tiff(SQUARE, SQUARE, SQUARE))
        links.places.append(links.places[-1])

        looped = links.led_to(3, links.directories[target])

        assert page_count(put("a.tif", looped)) == 3


class TestOpened:
    def test_a_pdf_gives_its_pages(self, put: Put) -> None:
        with opened_pdf(put("a.pdf", pdf((30, 20), (50, 60)))) as document:
            assert [page.get_size() for page in document] == [(30, 20), (50, 60)]

    def test_an_error_within_the_block_is_its_own_and_the_file_is_closed(self, put: Put) -> None:
        path = put("a.pdf", pdf(SQUARE))

        held: list[Any] = []

        def fail() -> None:
            with opened_pdf(path) as document:
                held.extend([document, open_files()])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()

        assert path in held[1]
        assert path not in open_files()

    @pytest.mark.parametrize(("name", "make"), [("a.pdf", pdf), ("a.tif", tiff)])
    def test_a_link_that_took_its_place_since_the_check_is_not_followed(
        self, name: str, make: Callable[..., bytes], put: Put, tmp_path: Path
    ) -> None:
        put("secret", make((30, 20)))
        (tmp_path / name).symlink_to(tmp_path / "secret")

        assert refusal(tmp_path / name).code == ErrorCode.DAMAGED_DOCUMENT
        with pytest.raises(ItemError), opened_pdf(tmp_path / name):
            pytest.fail("it is another file")
