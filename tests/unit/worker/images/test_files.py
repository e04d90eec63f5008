"""From an item's file to its image: what is decoded here, and what in a process of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from contract.errors import ErrorCode, ItemError
from contract.records import Item
from tests.unit.worker.conftest import FakeDecoders
from worker.images.decode import DecodedImage, File
from worker.images.decoding import Request
from worker.images.files import Decoder, Decoding
from worker.images.isolation import CROP, IMAGE

MAX_PIXELS, RESOLUTION = 1_000_000, 100

Encode = Callable[..., bytes]
MakeDecoder = Callable[..., Decoder]


class NotedDecoders(FakeDecoders):
    """Decoders that note what they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []

    def decode(self, request: Request, data: bytes = b"") -> DecodedImage:
        self.asked.append(request)
        return super().decode(request, data)


@pytest.fixture
def decoders() -> NotedDecoders:
    return NotedDecoders()


@pytest.fixture
def make_decoder(decoders: NotedDecoders) -> MakeDecoder:
    def make(*, pages: bool = True, here: bool = False) -> Decoder:
        return Decoder(decoders, MAX_PIXELS, Decoding(pages, RESOLUTION), crops_here=here)  # type: ignore[arg-type]

    return make


@pytest.fixture
def tiff(tmp_path: Path, encode: Encode) -> Path:
    """Return a TIFF of two pages, 30 and 40 pixels wide."""
    first, second = (Image.new("RGB", (width, 20)) for width in (30, 40))
    path = tmp_path / "a.tiff"
    path.write_bytes(encode(first, "TIFF", save_all=True, append_images=[second]))
    return path


@pytest.fixture
def document(tmp_path: Path, pdf: Callable[..., bytes]) -> Path:
    """Return a PDF of two pages, 72 and 144 points wide."""
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf((72, 36), (144, 36)))
    return path


def item_of(path: Path | str, page: int | None = None) -> Item:
    return Item(str(path), str(path), page=page)


def refusal(decoder: Decoder, item: Item, file: File) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decoder(item, file)
    return raised.value


class TestImages:
    @pytest.mark.parametrize(
        ("pages", "here", "asked"),
        [(True, True, [IMAGE]), (True, False, [IMAGE]), (False, False, [CROP]), (False, True, [])],
    )
    def test_only_crops_may_be_decoded_here(
        self,
        pages: bool,
        here: bool,
        asked: list[Request],
        make_decoder: MakeDecoder,
        decoders: NotedDecoders,
        png: Encode,
    ) -> None:
        image = make_decoder(pages=pages, here=here)(item_of("a.png"), png(7))

        assert image.pixels[0, 0].tolist() == [7, 7, 7]
        assert decoders.asked == asked

    @pytest.mark.parametrize("here", [False, True])
    def test_a_page_may_have_a_shape_that_no_crop_has(
        self, here: bool, make_decoder: MakeDecoder, png: Encode
    ) -> None:
        sliver = png(0, (600, 2))

        assert make_decoder()(item_of("a.png"), sliver).pixels.shape == (2, 600, 3)
        of_crops = make_decoder(pages=False, here=here)
        assert refusal(of_crops, item_of("a.png"), sliver).code == ErrorCode.EXTREME_ASPECT

    def test_the_limit_holds(self, make_decoder: MakeDecoder, png: Encode) -> None:
        large = png(0, (1001, 1000))

        assert refusal(make_decoder(), item_of("a.png"), large).code == ErrorCode.TOO_MANY_PIXELS


class TestDocuments:
    @pytest.mark.parametrize(("name", "size"), [("document", (50, 200, 3)), ("tiff", (20, 40, 3))])
    def test_a_page_is_decoded_in_a_process_of_its_own(
        self,
        name: str,
        size: tuple[int, int, int],
        make_decoder: MakeDecoder,
        decoders: NotedDecoders,
        request: pytest.FixtureRequest,
    ) -> None:
        path = request.getfixturevalue(name)

        image = make_decoder(here=True)(item_of(path, 2), path)

        assert decoders.asked == [Request("page", str(path), 2, RESOLUTION, forms=True)]
        assert image.pixels.shape == size

    def test_the_content_says_what_a_document_is_and_not_its_name(
        self, make_decoder: MakeDecoder, decoders: NotedDecoders, tiff: Path, document: Path
    ) -> None:
        renamed = tiff.rename(tiff.with_name("b.pdf")), document.rename(document.with_name("c.png"))

        pages = [make_decoder()(item_of(path, 2), path) for path in renamed]

        assert [page.pixels.shape for page in pages] == [(20, 40, 3), (50, 200, 3)]

    def test_one_that_is_gone_by_now(self, make_decoder: MakeDecoder, tiff: Path) -> None:
        tiff.unlink()

        assert refusal(make_decoder(), item_of(tiff, 1), tiff).code == ErrorCode.DAMAGED_DOCUMENT

    def test_a_page_that_is_not_there(self, make_decoder: MakeDecoder, tiff: Path) -> None:
        assert refusal(make_decoder(), item_of(tiff, 3), tiff).code == ErrorCode.NO_SUCH_PAGE


class TestDocumentsThatCouldNotBePlanned:
    def test_what_is_wrong_with_one_is_said_now(self, make_decoder: MakeDecoder, tmp_path: Path) -> None:
        # given the one item that stands for a document whose pages nobody could count
        path = tmp_path / "a.pdf"
        path.write_bytes(b"no pdf")

        refused = refusal(make_decoder(), item_of(path), path)

        assert refused.code == ErrorCode.DAMAGED_DOCUMENT
        assert "cannot be opened" in refused.message

    def test_one_that_is_sound_by_now_is_to_be_planned_again(
        self, make_decoder: MakeDecoder, document: Path
    ) -> None:
        refused = refusal(make_decoder(), item_of(document), document)

        assert refused.code == ErrorCode.DAMAGED_DOCUMENT
        assert "now they are 2: submit it in a new job" in refused.message
