"""Pages of documents: how they are rendered, what bounds them, and what each kind of damage is called."""

import io
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from contract.documents import opened_pdf, page_count
from contract.errors import ErrorCode, ItemError, StorageUnavailableError
from contract.pages import TiffReader
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from tests.unit.documents import form_pdf
from tests.unit.flavours import Tags, tiff_file
from worker.images.decode import DecodedImage, as_decoded
from worker.images.documents import DocumentFiles, PageReader

MAX_PIXELS, DOTS = 1_000_000, 72
"""A limit that no good page here comes near; and a resolution at which a point is a pixel."""

ORIENTATION, UPRIGHT, TURNED = 274, 1, 6
"""TIFF's tag, and two of its values."""

GREY: Tags = {
    tag: (3, [value]) for tag, value in {256: 30, 257: 20, 258: 8, 259: 1, 262: 1, 277: 1, 278: 20}.items()
}
"""The tags of a page of 30 x 20 grey pixels."""

Pdf = Callable[..., bytes]


@pytest.fixture
def page_reader() -> PageReader:
    return PageReader(MAX_PIXELS)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Write a file; return its path."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def tiff(*sizes: tuple[int, int], **options: Any) -> bytes:
    """Return a TIFF of pages of the sizes, in pixels; each is as grey as its number."""
    first, *others = (Image.new("RGB", size, (number,) * 3) for number, size in enumerate(sizes, 1))
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others, **options)
    return buffer.getvalue()


def turned_tiff(*orientations: int) -> bytes:
    """Return a TIFF of pages 30 pixels wide and 20 high that are to be shown in the orientations."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for orientation in orientations:
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            tags[ORIENTATION] = orientation
            Image.new("RGB", (30, 20)).save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    return buffer.getvalue()


def encrypted(plain: bytes) -> bytes:
    """Return the PDF as one that asks for a password: a handler of the standard kind whose keys fit none."""
    head, _, trailer = plain.rpartition(b"trailer")
    keys = b"/O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b">"
    handler = b"/Encrypt << /Filter /Standard /V 1 /R 2 " + keys + b" /P -4 >> /ID [<30> <30>] "
    return head + b"trailer" + trailer.replace(b"<<", b"<<" + handler, 1)


def read_page(path: Path, page: int, max_pixels: int) -> DecodedImage:
    return as_decoded(TiffReader(max_pixels).page(path, page))


def refusal(read: Callable[[], object]) -> ItemError:
    with pytest.raises(ItemError) as raised:
        read()
    return raised.value


def bytes_and_calls() -> tuple[int, int]:
    """Return what this process has read from files, and with how many calls."""
    lines = Path("/proc/self/io").read_text().split()
    return int(lines[1]), int(lines[5])


class TestPdf:
    @pytest.mark.parametrize(("resolution", "shape"), [(72, (200, 300, 3)), (144, (400, 600, 3))])
    def test_a_page_is_rendered_at_the_resolution(
        self, resolution: int, shape: tuple[int, ...], page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        image = page_reader.page(put("a.pdf", pdf((300, 200))), 1, resolution)

        assert (image.pixels.shape, image.pixels.dtype) == (shape, np.uint8)
        assert image.note is None

    def test_it_is_red_green_blue_on_white(self, page_reader: PageReader, put: Any, pdf: Pdf) -> None:
        pixels = page_reader.page(put("a.pdf", pdf((40, 20), (40, 20))), 2, DOTS).pixels

        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[10, 20].tolist() == [2, 0, 255]

    def test_each_page_has_its_own_size(self, page_reader: PageReader, put: Any, pdf: Pdf) -> None:
        path = put("a.pdf", pdf((300, 200), (50, 100)))

        assert [page_reader.page(path, page, DOTS).pixels.shape[:2] for page in (2, 1)] == [
            (100, 50),
            (200, 300),
        ]

    def test_its_pixels_outlive_the_next_page_and_document(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        path = put("a.pdf", pdf((40, 20), (40, 20)))

        first = page_reader.page(path, 1, DOTS).pixels
        page_reader.page(path, 2, DOTS)
        page_reader.page(put("b.pdf", pdf((40, 20))), 1, DOTS)

        assert first[10, 20].tolist() == [1, 0, 255]

    @pytest.mark.parametrize("appearance", [True, False])
    def test_what_is_filled_in_a_form_is_drawn(
        self, appearance: bool, page_reader: PageReader, put: Any
    ) -> None:
        path = put("a.pdf", form_pdf(appearance=appearance))

        filled, empty = (page_reader.page(path, 1, DOTS, forms=forms).pixels for forms in (True, False))

        # It is on white: a viewer's highlight of fields is no part of the page.
        assert (empty == 255).all()
        assert (filled[:, :200] == 255).all()
        assert (filled[:, 200:] < 64).any()
        assert (filled[72:75, 212:388] == 255).all()

    def test_a_document_without_forms_is_drawn_as_ever(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        path = put("a.pdf", pdf((300, 200)))

        with_forms, without = (page_reader.page(path, 1, DOTS, forms=forms).pixels for forms in (True, False))

        assert np.array_equal(with_forms, without)

    def test_a_document_is_opened_once_for_its_pages(
        self, page_reader: PageReader, put: Any, pdf: Pdf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a count of what is opened
        one, other = put("a.pdf", pdf(*[(40, 20)] * 3)), put("b.pdf", pdf((40, 20)))
        opened: list[Path] = []

        def counted(path: Path, **options: Any) -> Any:
            opened.append(path)
            return opened_pdf(path, **options)

        monkeypatch.setattr("worker.images.documents.opened_pdf", counted)

        for path, page in ((one, 1), (one, 2), (one, 3), (other, 1), (one, 1)):
            page_reader.page(path, page, DOTS)

        assert opened == [one, other, one]

    def test_a_document_that_was_exchanged_is_opened_again(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        page_reader.page(put("a.pdf", pdf((300, 200))), 1, DOTS)

        exchanged = put("a.pdf", pdf((50, 100)))

        assert page_reader.page(exchanged, 1, DOTS).pixels.shape == (100, 50, 3)

    def test_a_table_of_objects_that_is_lost_is_mended(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        path = put("a.pdf", pdf((300, 200)).replace(b"startxref", b"startxxxx"))

        assert page_reader.page(path, 1, DOTS).pixels.shape == (200, 300, 3)


class TestBadPdf:
    @pytest.mark.parametrize("points", [14_400, 1e9], ids=["largest", "absurd"])
    def test_a_page_larger_than_the_limit_is_not_rendered_and_others_are(
        self, points: float, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        path = put("a.pdf", pdf((40, 20), (points, points)))

        refused = refusal(lambda: page_reader.page(path, 2, DOTS))

        assert refused.code == ErrorCode.TOO_MANY_PIXELS
        assert f"page 2: {points:.0f} x {points:.0f} pixels" in refused.message
        assert page_reader.page(path, 1, DOTS).pixels.shape == (20, 40, 3)

    def test_the_limit_is_one_of_pixels_not_of_points(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        path = put("a.pdf", pdf((800, 800)))

        assert page_reader.page(path, 1, DOTS).pixels.shape == (800, 800, 3)
        assert refusal(lambda: page_reader.page(path, 1, 144)).code == ErrorCode.TOO_MANY_PIXELS

    def test_a_page_that_it_does_not_have(self, page_reader: PageReader, put: Any, pdf: Pdf) -> None:
        refused = refusal(lambda: page_reader.page(put("a.pdf", pdf((40, 20), (40, 20))), 3, DOTS))

        assert refused.code == ErrorCode.NO_SUCH_PAGE
        assert "has 2 pages, and no page 3" in refused.message

    def test_a_password(self, page_reader: PageReader, put: Any, pdf: Pdf) -> None:
        path = put("a.pdf", encrypted(pdf((40, 20))))

        refused = refusal(lambda: page_reader.page(path, 1, DOTS))

        assert refused.code == ErrorCode.ENCRYPTED
        assert "save a copy without one" in refused.message

    def test_no_pages(self, page_reader: PageReader, put: Any, pdf: Pdf) -> None:
        assert refusal(lambda: page_reader.page(put("a.pdf", pdf()), 1, DOTS)).code == ErrorCode.NO_PAGES

    @pytest.mark.parametrize("damage", ["cut", "no-pdf", "garbage"])
    def test_damage(self, damage: str, page_reader: PageReader, put: Any, pdf: Pdf) -> None:
        whole = pdf((40, 20))
        data = {
            "cut": whole[: len(whole) // 2],
            "no-pdf": b"dear sirs",
            "garbage": b"%PDF-1.7\n" + bytes(range(256)) * 9,
        }

        refused = refusal(lambda: page_reader.page(put("a.pdf", data[damage]), 1, DOTS))

        assert refused.code == ErrorCode.DAMAGED_DOCUMENT
        assert "save it again from the original" in refused.message

    def test_one_page_that_is_broken_costs_no_other(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        # given a second page that is not in the file
        whole = pdf(*[(40, 20)] * 3)
        path = put("a.pdf", re.sub(rb"(/Kids\[ *\d+ 0 R +)\d+", rb"\g<1>9999", whole))

        refused = refusal(lambda: page_reader.page(path, 2, DOTS))

        assert refused.code == ErrorCode.DAMAGED_PAGE
        assert [page_reader.page(path, page, DOTS).pixels.shape for page in (1, 3)] == [(20, 40, 3)] * 2

    def test_a_bad_document_does_not_stand_in_for_the_one_before(
        self, page_reader: PageReader, put: Any, pdf: Pdf
    ) -> None:
        good, bad = put("a.pdf", pdf((40, 20))), put("b.pdf", b"no pdf")
        page_reader.page(good, 1, DOTS)

        assert [refusal(lambda: page_reader.page(bad, 1, DOTS)).code for _ in range(2)] == [
            ErrorCode.DAMAGED_DOCUMENT
        ] * 2
        assert page_reader.page(good, 1, DOTS).pixels.shape == (20, 40, 3)


class TestTiff:
    def test_each_page_has_its_own_size(self, put: Any) -> None:
        path = put("a.tiff", tiff((300, 200), (80, 400)))

        pages = [read_page(path, page, MAX_PIXELS).pixels for page in (2, 1)]

        assert [page.shape for page in pages] == [(400, 80, 3), (200, 300, 3)]
        assert [page[0, 0].tolist() for page in pages] == [[2, 2, 2], [1, 1, 1]]

    @pytest.mark.parametrize("name", ["a.tif", "a.TIFF"])
    def test_it_is_read_with_a_name_in_any_case(self, name: str, page_reader: PageReader, put: Any) -> None:
        assert page_reader.page(put(name, tiff((30, 20))), 1, DOTS).pixels.shape == (20, 30, 3)

    def test_its_own_pixels_are_read_at_any_resolution(self, page_reader: PageReader, put: Any) -> None:
        assert page_reader.page(put("a.tiff", tiff((30, 20))), 1, 600).pixels.shape == (20, 30, 3)

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
    def test_every_kind_of_samples_comes_as_red_green_blue(self, mode: str, put: Any) -> None:
        buffer = io.BytesIO()
        Image.new(mode, (30, 20)).save(buffer, "TIFF")

        pixels = read_page(put("a.tiff", buffer.getvalue()), 1, MAX_PIXELS).pixels

        assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)

    @pytest.mark.parametrize("orientations", [(UPRIGHT, TURNED), (TURNED, UPRIGHT)])
    def test_each_page_is_turned_as_it_says_itself(self, orientations: tuple[int, int], put: Any) -> None:
        path = put("a.tiff", turned_tiff(*orientations))

        shapes = [read_page(path, page, MAX_PIXELS).pixels.shape for page in (1, 2)]

        assert shapes == [(30, 20, 3) if turn == TURNED else (20, 30, 3) for turn in orientations]


class TestManyPages:
    def test_a_page_costs_as_many_reads_wherever_it_is(self, put: Any) -> None:
        # given a document whose directories are known; compressed, so that libtiff reads it too
        path = put("a.tif", tiff(*[(30, 20)] * 250, compression="tiff_lzw"))
        reader = TiffReader(MAX_PIXELS)
        reader.page(path, 1)

        def cost(page: int) -> tuple[int, int]:
            before = bytes_and_calls()
            assert reader.page(path, page).image.getpixel((0, 0)) == (page,) * 3
            return tuple(after - then for after, then in zip(bytes_and_calls(), before, strict=True))

        for page in (2, 249):
            read, calls = cost(page)
            # Two blocks of the file's buffer, where the directories of all pages have a hundred calls more.
            assert (read < 20_000, calls < 20) == (True, True), (read, calls)

    def test_pages_are_found_again_in_a_document_that_was_exchanged(self, put: Any) -> None:
        reader = TiffReader(MAX_PIXELS)
        reader.page(put("a.tif", tiff((30, 20))), 1)

        exchanged = put("a.tif", tiff((30, 20), (50, 40)))

        assert reader.page(exchanged, 2).image.size == (50, 40)

    def test_a_page_that_is_broken_costs_no_other(self, put: Any) -> None:
        grey = bytes(30 * 20)
        pages = [(GREY, [grey]), ({**GREY, 258: (3, [7])}, [grey]), (GREY, [grey])]
        path = put("a.tif", tiff_file(*pages))

        assert page_count(path) == 3
        assert [read_page(path, page, MAX_PIXELS).pixels.shape for page in (1, 3)] == [(20, 30, 3)] * 2
        assert refusal(lambda: read_page(path, 2, MAX_PIXELS)).code == ErrorCode.UNSUPPORTED_IMAGE

    @pytest.mark.parametrize("kind", [1, 4, 5])
    def test_smaller_copies_and_masks_are_no_pages(self, kind: int, put: Any) -> None:
        grey = bytes(30 * 20)
        copy = {**GREY, 254: (4, [kind])}
        path = put("a.tif", tiff_file((GREY, [grey]), (copy, [grey]), ({**GREY, 254: (4, [2])}, [grey])))

        assert page_count(path) == 2


class TestBadTiff:
    def test_a_page_larger_than_the_limit_is_not_decoded_and_others_are(self, put: Any) -> None:
        path = put("a.tiff", tiff((30, 20), (1001, 1000), compression="tiff_lzw"))

        refused = refusal(lambda: read_page(path, 2, MAX_PIXELS))

        assert refused.code == ErrorCode.TOO_MANY_PIXELS
        assert "page 2: 1001 x 1000 pixels" in refused.message
        assert read_page(path, 1, MAX_PIXELS).pixels.shape == (20, 30, 3)

    @pytest.mark.parametrize("page", [3, 90])
    def test_a_page_that_it_does_not_have(self, page: int, put: Any) -> None:
        refused = refusal(lambda: read_page(put("a.tiff", tiff((30, 20), (30, 20))), page, MAX_PIXELS))

        assert refused.code == ErrorCode.NO_SUCH_PAGE
        assert f"has 2 pages, and no page {page}" in refused.message

    @pytest.mark.parametrize(
        "data", [b"dear sirs", b"II*\0", tiff((30, 20))[:9]], ids=["none", "head", "cut"]
    )
    def test_what_is_no_tiff(self, data: bytes, put: Any) -> None:
        refused = refusal(lambda: read_page(put("a.tiff", data), 1, MAX_PIXELS))

        assert refused.code == ErrorCode.DAMAGED_DOCUMENT
        assert "save it again from the original" in refused.message

    def test_of_one_that_was_cut_off_the_pages_that_are_there_are_read(self, put: Any) -> None:
        # given a last page that lacks its last pixels
        path = put("a.tiff", tiff((30, 20), (30, 20))[:-100])

        refused = refusal(lambda: read_page(path, 2, MAX_PIXELS))

        assert refused.code == ErrorCode.DAMAGED_PAGE
        assert "page 2 cannot be read" in refused.message
        assert read_page(path, 1, MAX_PIXELS).pixels.shape == (20, 30, 3)

    def test_a_page_whose_pixels_are_damaged_costs_no_other(self, put: Any) -> None:
        # given a second page whose compressed bytes begin as no others do
        data = bytearray(tiff((30, 20), (30, 20), compression="tiff_deflate"))
        with Image.open(io.BytesIO(data)) as image:
            image.seek(1)
            begin = image.tag_v2[TiffImagePlugin.STRIPOFFSETS][0]
        data[begin : begin + 2] = b"\xff\xff"
        path = put("a.tiff", data)

        assert refusal(lambda: read_page(path, 2, MAX_PIXELS)).code == ErrorCode.DAMAGED_PAGE
        assert read_page(path, 1, MAX_PIXELS).pixels.shape == (20, 30, 3)

    def test_pages_that_lead_back_to_the_first_end(self, put: Any) -> None:
        # given a directory that says it is its own successor
        data = bytearray(tiff((30, 20)))
        first = int.from_bytes(data[4:8], "little")
        successor = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
        data[successor : successor + 4] = data[4:8]

        refused = refusal(lambda: read_page(put("a.tiff", data), 2, MAX_PIXELS))

        assert refused.code == ErrorCode.NO_SUCH_PAGE

    def test_memory_that_is_short_is_not_the_files_fault(
        self, put: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def short(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr("contract.pages.upright_rgb", short)

        with pytest.raises(MemoryError):
            read_page(put("a.tiff", tiff((30, 20))), 1, MAX_PIXELS)


class TestFilesOfThisMachine:
    @pytest.fixture
    def files(self, storage: Storage, tmp_path: Path) -> Iterator[DocumentFiles]:
        """The documents below the test's folder, of 100 bytes at most."""
        with DocumentFiles(storage, AllowedRoots((str(tmp_path),)), 100) as files:
            yield files

    def test_a_local_document_is_not_copied(self, files: DocumentFiles, put: Any) -> None:
        path = put("a.pdf", b"x" * 100)

        assert files.path(str(path)) == path
        assert path.is_file()

    def test_one_that_is_larger_than_the_limit(self, files: DocumentFiles, put: Any) -> None:
        refused = refusal(lambda: files.path(str(put("a.pdf", b"x" * 101))))

        assert refused.code == ErrorCode.TOO_MANY_BYTES
        assert "larger than 100 bytes: raise TRACE_OCR_MAX_DOCUMENT_BYTES" in refused.message

    def test_one_that_is_empty(self, files: DocumentFiles, put: Any) -> None:
        assert refusal(lambda: files.path(str(put("a.pdf", b"")))).code == ErrorCode.EMPTY_FILE

    def test_one_that_is_missing(self, files: DocumentFiles, tmp_path: Path) -> None:
        assert refusal(lambda: files.path(f"{tmp_path}/a.pdf")).code == ErrorCode.NOT_FOUND

    def test_one_that_goes_missing_between_two_pages(self, files: DocumentFiles, put: Any) -> None:
        path = put("a.pdf", b"x")
        files.path(str(path))

        path.unlink()

        assert refusal(lambda: files.path(str(path))).code == ErrorCode.NOT_FOUND

    def test_a_folder_of_that_name(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").mkdir()
        with DocumentFiles(storage, AllowedRoots((str(tmp_path),)), 1 << 20) as files:
            assert refusal(lambda: files.path(f"{tmp_path}/a.pdf")).code == ErrorCode.NOT_A_FILE

    def test_one_outside_the_roots(self, storage: Storage, tmp_path: Path, put: Any) -> None:
        path = put("a.pdf", b"x")
        with DocumentFiles(storage, AllowedRoots((f"{tmp_path}/scans",)), 100) as files:
            assert refusal(lambda: files.path(str(path))).code == ErrorCode.OUTSIDE_ALLOWED_ROOTS

    def test_what_can_be_no_document(self, files: DocumentFiles) -> None:
        assert refusal(lambda: files.path("http://here/a.pdf")).code == ErrorCode.UNSUPPORTED_URI


class TestFilesOfS3:
    @pytest.fixture
    def files(self, storage: Storage, s3_bucket: Any) -> Iterator[DocumentFiles]:
        """The documents of the bucket, of 100 bytes at most."""
        with DocumentFiles(storage, AllowedRoots(("s3://bucket",)), 100) as files:
            yield files

    def test_a_document_is_copied_once_for_all_its_pages(self, files: DocumentFiles, s3_bucket: Any) -> None:
        uri = s3_bucket.put("scans/a.PDF", b"first")

        copy = files.path(uri)
        s3_bucket.put("scans/a.PDF", b"second")

        assert files.path(uri) == copy
        assert (copy.read_bytes(), copy.suffix) == (b"first", ".PDF")

    def test_two_of_one_name_are_two_copies(self, files: DocumentFiles, s3_bucket: Any) -> None:
        copies = [files.path(s3_bucket.put(f"{folder}/a.tiff", folder.encode())) for folder in "xy"]

        assert [copy.read_bytes() for copy in copies] == [b"x", b"y"]

    def test_threads_that_ask_at_once_share_a_copy(self, files: DocumentFiles, s3_bucket: Any) -> None:
        uri = s3_bucket.put("a.pdf", b"x")
        together = threading.Barrier(4)

        def ask(_: int) -> Path:
            together.wait(30)
            return files.path(uri)

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(ask, range(4)))) == 1

    def test_copies_go_with_the_chunk(self, storage: Storage, s3_bucket: Any) -> None:
        with DocumentFiles(storage, AllowedRoots(("s3://bucket",)), 100) as files:
            copy = files.path(s3_bucket.put("a.pdf", b"x"))

        assert not copy.parent.exists()

    def test_what_is_wrong_with_one_costs_no_other(self, files: DocumentFiles, s3_bucket: Any) -> None:
        large, empty = s3_bucket.put("large.pdf", b"x" * 101), s3_bucket.put("empty.pdf", b"")

        codes = [
            refusal(lambda uri=uri: files.path(uri)).code for uri in (large, empty, s3_bucket.uri("no.pdf"))
        ]

        assert codes == [ErrorCode.TOO_MANY_BYTES, ErrorCode.EMPTY_FILE, ErrorCode.NOT_FOUND]
        assert files.path(s3_bucket.put("a.pdf", b"good")).read_bytes() == b"good"

    def test_storage_that_is_away_is_no_error_of_the_document(
        self, files: DocumentFiles, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise StorageUnavailableError("S3 cannot be reached")

        monkeypatch.setattr("contract.storage.s3.S3Store.size", away)

        with pytest.raises(StorageUnavailableError):
            files.path(s3_bucket.uri("a.pdf"))
