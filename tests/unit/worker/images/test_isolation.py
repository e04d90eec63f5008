"""What an image or a page does to the child that decodes it, and what is said of it then.

The children are real ones; in them a poisoned Pillow crashes or hangs over files that hold a marker, and a
poisoned pdfium over pages of certain widths.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pypdfium2
import pytest
from PIL import Image

from contract.child_processes import CRASHES_TO_BLAME
from contract.errors import ErrorCode, ItemError
from contract.pages import WITHOUT_FORMS
from contract.time_limits import WAITS
from tests.unit.documents import form_pdf
from worker.images.decode import decode_crop
from worker.images.decoding import Request
from worker.images.documents import PageReader
from worker.images.isolation import CROP, IsolatedDecoder

CRASH, CRASH_ONCE, HANG, FLOOD = b"poison:crash", b"poison:first", b"poison:hang", b"poison:flood"
LIE = b"poison:lie"

CRASH_WIDE, CRASH_ONCE_WIDE, HANG_WIDE = 101, 102, 103
"""Widths of poisoned pages, in points."""

POISONED = """
import os, struct, threading, time
from pathlib import Path
from PIL import Image
from pypdfium2 import PdfDocument, PdfPage

time.sleep(float(os.environ.get("SLOW_START_SECONDS", "0")))
folder, open_image, render = Path(__file__).parent, Image.open, PdfPage.render
init_forms = PdfDocument.init_forms

def open_poisoned(file, *args, **options):
    poison(file.getvalue())
    return open_image(file, *args, **options)

def render_poisoned(page, **options):
    poison({101: b"poison:crash", 102: b"poison:first", 103: b"poison:hang"}.get(page.get_width(), b""))
    return render(page, **options)

def init_poisoned_forms(document):
    if (folder / "poisoned-forms").exists():
        with (folder / "crashes").open("a") as crashes:
            crashes.write("x")
        os._exit(1)
    return init_forms(document)

def poison(data):
    if b"poison:crash" in data:
        with (folder / "crashes").open("a") as crashes:
            crashes.write("x")
        os._exit(1)
    if b"poison:first" in data and not (folder / "crashed").exists():
        (folder / "crashed").touch()
        os._exit(1)
    if b"poison:hang" in data:
        threading.Event().wait()
    if b"poison:lie" in data:
        header = b'{"shape": [2, 2, 3]}'
        os.write(0, struct.pack("!QQ", len(header), 11) + header + bytes(11))
        threading.Event().wait()
    if b"poison:flood" in data:
        bytearray(1 << 40)

Image.open, PdfPage.render = open_poisoned, render_poisoned
PdfDocument.init_forms = init_poisoned_forms
"""

MAX_PIXELS, PATIENCE, MEMORY = 1_000_000, 120.0, 2**31
"""Limits that no good image here comes near, however busy the machine is."""

DOTS = 72
"""Dots per inch at which a point is a pixel."""

Encode = Callable[..., bytes]


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given children whose Pillow has bugs; return the folder where these keep count."""
    (tmp_path / "sitecustomize.py").write_text(POISONED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_decoder() -> Iterator[Callable[..., IsolatedDecoder]]:
    made = []

    def make(seconds: float = PATIENCE, memory: int = MEMORY, pixels: int = MAX_PIXELS) -> IsolatedDecoder:
        made.append(IsolatedDecoder(pixels, seconds, memory))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[IsolatedDecoder]:
    decoder = IsolatedDecoder(MAX_PIXELS, PATIENCE, MEMORY)
    yield decoder
    decoder.close()


@pytest.fixture
def decoder(request: pytest.FixtureRequest) -> IsolatedDecoder:
    """One decoder for all tests that give their children no poison; else one whose child is not started."""
    if "poisoned" in request.fixturenames:
        return cast("IsolatedDecoder", request.getfixturevalue("make_decoder")())
    return cast("IsolatedDecoder", request.getfixturevalue("shared"))


def child_of(decoder: IsolatedDecoder) -> int | None:
    """Return the process id of the decoder's child."""
    return decoder._child.pid


def refusal(decoder: IsolatedDecoder, data: bytes) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decoder.decode(CROP, data)
    return raised.value


def refused_page(decoder: IsolatedDecoder, page: Request) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decoder.decode(page)
    return raised.value


@pytest.fixture
def pages_of(tmp_path: Path, pdf: Callable[..., bytes]) -> Callable[..., list[Request]]:
    """Return the requests for all pages of a PDF of pages of the widths, in points, each 20 high."""

    def make(*widths: int) -> list[Request]:
        path = tmp_path / "a.pdf"
        path.write_bytes(pdf(*((width, 20) for width in widths)))
        return [Request("page", str(path), number, DOTS) for number in range(1, len(widths) + 1)]

    return make


class TestGoodImages:
    def test_the_pixels_are_those_of_decoding_in_this_process(
        self, decoder: IsolatedDecoder, encode: Encode
    ) -> None:
        noise = np.random.default_rng(7).integers(0, 256, (13, 29, 3), np.uint8)
        for file_format in ("PNG", "JPEG", "BMP"):
            data = encode(Image.fromarray(noise), file_format)

            image = decoder.decode(CROP, data)

            assert np.array_equal(image.pixels, decode_crop(data, MAX_PIXELS).pixels)
            assert (image.pixels.dtype, image.note) == (np.uint8, None)

    def test_the_note_comes_along(self, decoder: IsolatedDecoder, encode: Encode) -> None:
        frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
        data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

        assert decoder.decode(CROP, data).note == "first of 2 frames"

    def test_the_pixels_may_be_written_to_as_those_of_this_process_may(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        assert decoder.decode(CROP, png(9)).pixels.flags.writeable

    def test_one_child_serves_many_images(self, decoder: IsolatedDecoder, png: Encode) -> None:
        children = set()
        for level in range(5):
            decoder.decode(CROP, png(level))
            children.add(child_of(decoder))

        assert len(children) == 1

    def test_a_childs_memory_does_not_grow_with_the_cores(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        # Each thread of OpenBLAS takes a share of the child's limit for its buffers.
        decoder.decode(CROP, png(1))

        assert len(list(Path(f"/proc/{child_of(decoder)}/task").iterdir())) == 1

    def test_a_closed_decoder_has_no_child_and_may_be_closed_again(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        decoder.decode(CROP, png(1))

        decoder.close()
        decoder.close()

        assert child_of(decoder) is None


class TestBadImages:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"no image", ErrorCode.NOT_AN_IMAGE),
            (b"\x89PNG\r\n\x1a\n", ErrorCode.TRUNCATED),
            ((1, 8), ErrorCode.TOO_SMALL),
            ((600, 2), ErrorCode.EXTREME_ASPECT),
            ((1001, 1000), ErrorCode.TOO_MANY_PIXELS),
        ],
        ids=str,
    )
    def test_what_is_said_is_what_decoding_in_this_process_says(
        self, data: bytes | tuple[int, int], code: ErrorCode, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        bad = data if isinstance(data, bytes) else png(0, data)
        with pytest.raises(ItemError) as here:
            decode_crop(bad, MAX_PIXELS)

        there = refusal(decoder, bad)

        assert (there.code, there.message) == (code, here.value.message)

    def test_a_bad_image_costs_no_child(self, decoder: IsolatedDecoder, png: Encode) -> None:
        decoder.decode(CROP, png(1))
        child = child_of(decoder)

        refusal(decoder, b"no image")

        assert child_of(decoder) == child


@pytest.mark.usefixtures("poisoned")
class TestPoison:
    def test_an_image_that_crashes_two_children_is_to_blame_and_the_next_is_read(
        self, decoder: IsolatedDecoder, png: Encode, poisoned: Path
    ) -> None:
        blamed = refusal(decoder, png(1) + CRASH)

        assert blamed.code == ErrorCode.WORKER_CRASHED
        assert "crashed 2 processes in a row" in blamed.message
        assert (poisoned / "crashes").read_text() == "xx"
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7

    def test_an_image_over_which_one_child_died_is_read_by_the_next(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        assert decoder.decode(CROP, png(7) + CRASH_ONCE).pixels[0, 0, 0] == 7

    def test_an_image_that_makes_a_child_lie_is_to_blame_and_the_next_is_read_by_a_new_child(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        # when a child that an image took over sends fewer pixels than it says
        blamed = refusal(decoder, png(1) + LIE)

        assert blamed.code == ErrorCode.WORKER_CRASHED
        assert child_of(decoder) is None
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7

    def test_an_image_that_hangs_is_timed_out_and_the_next_is_read_by_a_new_child(
        self, decoder: IsolatedDecoder, png: Encode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a child that is up
        decoder.decode(CROP, png(1))
        hung = child_of(decoder)

        # when an image takes longer than it may
        with monkeypatch.context() as impatient:
            impatient.setattr(decoder, "_seconds", 0.2 / WAITS)
            late = refusal(decoder, png(1) + HANG)

        # then
        assert late.code == ErrorCode.TIMED_OUT
        assert "longer than 0.2 s" in late.message
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7
        assert child_of(decoder) != hung

    def test_the_start_of_a_child_does_not_count_as_the_images_time(
        self, make_decoder: Callable[..., IsolatedDecoder], encode: Encode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLOW_START_SECONDS", "1.5")
        # No PNG: a child imports numba for its first one.
        bitmap = encode(Image.new("RGB", (8, 4), "white"), "BMP")

        assert make_decoder(seconds=1.0).decode(CROP, bitmap).pixels[0, 0, 0] == 255

    def test_an_image_that_floods_the_memory_is_to_blame_and_costs_no_child(
        self, make_decoder: Callable[..., IsolatedDecoder], png: Encode
    ) -> None:
        decoder = make_decoder(memory=2**29)
        decoder.decode(CROP, png(1))
        child = child_of(decoder)

        blamed = refusal(decoder, png(1) + FLOOD)

        assert blamed.code == ErrorCode.WORKER_CRASHED
        assert "more than 536,870,912 bytes" in blamed.message
        assert child_of(decoder) == child
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7


def test_an_image_whose_pixels_do_not_fit_the_memory_is_to_blame(
    make_decoder: Callable[..., IsolatedDecoder], encode: Encode
) -> None:
    """No poison here: a BMP that says it is 40,000 pixels on each side, and a limit below what that takes."""
    data = bytearray(encode(Image.new("RGB", (8, 4)), "BMP"))
    data[18:26] = (40_000).to_bytes(4, "little") * 2

    blamed = refusal(make_decoder(memory=2**29, pixels=10**10), bytes(data))

    assert blamed.code == ErrorCode.WORKER_CRASHED
    assert "more than 536,870,912 bytes" in blamed.message


class TestPages:
    def test_the_pixels_are_those_of_rendering_in_this_process(
        self, decoder: IsolatedDecoder, pages_of: Callable[..., list[Request]]
    ) -> None:
        for page in pages_of(40, 60):
            here = PageReader(MAX_PIXELS).page(Path(page.path), page.page, page.resolution).pixels

            assert np.array_equal(decoder.decode(page).pixels, here)

    def test_a_pdf_is_never_opened_in_this_process(
        self,
        decoder: IsolatedDecoder,
        pages_of: Callable[..., list[Request]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (page,) = pages_of(40)
        # given a process in which pdfium is not to be used
        monkeypatch.delattr(pypdfium2, "PdfDocument")

        assert decoder.decode(page).pixels.shape == (20, 40, 3)
        assert decoder.page_count(Path(page.path)) == 1

    def test_pages_of_a_tiff_are_read_there_too(
        self, decoder: IsolatedDecoder, encode: Encode, tmp_path: Path
    ) -> None:
        first, second = (Image.new("RGB", size) for size in ((30, 20), (8, 40)))
        path = tmp_path / "a.tiff"
        path.write_bytes(encode(first, "TIFF", save_all=True, append_images=[second]))

        assert decoder.page_count(path) == 2
        assert decoder.decode(Request("page", str(path), 2)).pixels.shape == (40, 8, 3)

    def test_one_child_serves_all_pages_and_images(
        self, decoder: IsolatedDecoder, pages_of: Callable[..., list[Request]], png: Encode
    ) -> None:
        children = set()
        for page in pages_of(40, 60):
            decoder.decode(page)
            decoder.decode(CROP, png(1))
            children.add(child_of(decoder))

        assert len(children) == 1

    def test_what_is_said_of_a_bad_page_is_what_rendering_in_this_process_says_and_costs_no_child(
        self, decoder: IsolatedDecoder, pages_of: Callable[..., list[Request]]
    ) -> None:
        # given a page that is too large, and one that is not there
        good, large = pages_of(40, 14_400 * 4)
        missing = Request("page", good.path, 3, DOTS)
        decoder.decode(good)
        child = child_of(decoder)

        for page, code in ((large, ErrorCode.TOO_MANY_PIXELS), (missing, ErrorCode.NO_SUCH_PAGE)):
            with pytest.raises(ItemError) as here:
                PageReader(MAX_PIXELS).page(Path(page.path), page.page, page.resolution)
            there = refused_page(decoder, page)

            assert (there.code, there.message) == (code, here.value.message)
        assert child_of(decoder) == child

    def test_a_document_that_cannot_be_counted_says_why(
        self, decoder: IsolatedDecoder, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.pdf"
        path.write_bytes(b"no pdf")

        with pytest.raises(ItemError) as raised:
            decoder.page_count(path)

        assert raised.value.code == ErrorCode.DAMAGED_DOCUMENT


@pytest.mark.usefixtures("poisoned")
class TestPoisonedPages:
    def test_a_page_that_crashes_two_children_is_to_blame_and_the_others_are_read(
        self, decoder: IsolatedDecoder, pages_of: Callable[..., list[Request]], poisoned: Path
    ) -> None:
        first, poison, last = pages_of(40, CRASH_WIDE, 60)
        before = decoder.decode(first)

        blamed = refused_page(decoder, poison)

        assert blamed.code == ErrorCode.WORKER_CRASHED
        assert "decoding page 2 crashed" in blamed.message
        assert (poisoned / "crashes").read_text() == "xx"
        assert before.pixels.shape == (20, 40, 3)
        assert decoder.decode(last).pixels.shape == (20, 60, 3)

    def test_a_page_over_which_one_child_died_is_read_by_the_next(
        self, decoder: IsolatedDecoder, pages_of: Callable[..., list[Request]]
    ) -> None:
        (page,) = pages_of(CRASH_ONCE_WIDE)

        assert decoder.decode(page).pixels.shape == (20, CRASH_ONCE_WIDE, 3)

    def test_a_page_that_hangs_is_timed_out_and_the_next_is_read_by_a_new_child(
        self,
        decoder: IsolatedDecoder,
        pages_of: Callable[..., list[Request]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # given a child that is up
        first, poison, last = pages_of(40, HANG_WIDE, 60)
        decoder.decode(first)
        hung = child_of(decoder)

        # when a page takes longer than it may
        with monkeypatch.context() as impatient:
            impatient.setattr(decoder, "_seconds", 0.2 / WAITS)
            late = refused_page(decoder, poison)

        # then
        assert late.code == ErrorCode.TIMED_OUT
        assert "decoding page 2 took longer than 0.2 s" in late.message
        assert decoder.decode(last).pixels.shape == (20, 60, 3)
        assert child_of(decoder) != hung


def test_a_page_whose_pixels_do_not_fit_the_memory_is_to_blame_and_costs_no_child(
    make_decoder: Callable[..., IsolatedDecoder], pages_of: Callable[..., list[Request]]
) -> None:
    """No poison here: a page of 1.2 GB as it is rendered, and a limit below that."""
    decoder = make_decoder(memory=2**29, pixels=10**10)
    first, large, last = pages_of(40, 20_000_000, 60)
    decoder.decode(first)
    child = child_of(decoder)

    blamed = refused_page(decoder, large)

    assert blamed.code == ErrorCode.WORKER_CRASHED
    assert "more than 536,870,912 bytes" in blamed.message
    assert decoder.decode(last).pixels.shape == (20, 60, 3)
    assert child_of(decoder) == child


class TestForms:
    @pytest.fixture
    def form(self, tmp_path: Path) -> Request:
        path = tmp_path / "form.pdf"
        path.write_bytes(form_pdf(appearance=True))
        return Request("page", str(path), 1, DOTS, forms=True)

    def test_they_are_drawn(self, form: Request, decoder: IsolatedDecoder) -> None:
        image = decoder.decode(form)

        assert image.note is None
        assert image.pixels.min() < 64

    def test_those_that_crash_are_left_out_once_for_all_pages_of_their_document(
        self, form: Request, decoder: IsolatedDecoder, poisoned: Path
    ) -> None:
        (poisoned / "poisoned-forms").touch()

        images = [decoder.decode(form) for _ in range(2)]

        assert [image.note for image in images] == [WITHOUT_FORMS] * 2
        assert all((image.pixels == 255).all() for image in images)
        assert (poisoned / "crashes").read_text() == "x" * CRASHES_TO_BLAME

    def test_a_page_without_forms_that_crashes_is_not_tried_again(
        self, pages_of: Callable[..., list[Request]], decoder: IsolatedDecoder, poisoned: Path
    ) -> None:
        (page,) = pages_of(CRASH_WIDE)

        error = refused_page(decoder, msgspec.structs.replace(page, forms=True))

        assert error.code == ErrorCode.WORKER_CRASHED
        assert (poisoned / "crashes").read_text() == "x" * CRASHES_TO_BLAME
