"""Memory stays flat over a long document, in the worker and in the process that renders; models are fakes."""

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest

from contract.kinds.ocr import OcrParameters
from contract.lines import Line, OcrLine
from contract.records import Item
from tests.unit.worker.conftest import REDS, FakeDetector, FakePool, FakeReader
from worker.images.decode import DecodedImage, File
from worker.images.decoding import Request
from worker.images.files import Decoder, Decoding
from worker.images.isolation import DecoderPool, IsolatedDecoder
from worker.kernels.pieces import PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kinds import make_pipeline
from worker.kinds.pages import FOUND_AHEAD
from worker.models.pool import Models
from worker.pipeline.run import ChunkRun

PAGES, FEW_PAGES, CHUNK, LONG_CHUNK = 500, 64, 32, 128

WINDOW, DETECTED_AT_ONCE = 4, 2

RESOLUTION, SIZE = 144, (200, 300)
"""Dots per inch, and points: pages whose pixels outweigh whatever else is held of them."""

PAGE_BYTES = 400 * 600 * 3

AHEAD = WINDOW + DETECTED_AT_ONCE + FOUND_AHEAD * DETECTED_AT_ONCE + 1
"""Pages at most on their way: scaled ahead, in a detection batch, cut ahead; and one whose words are read."""

Read = Callable[[range, int], None]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory, pdf: Callable[..., bytes]) -> Path:
    """A PDF of PAGES pages, each with its number as its word."""
    path = tmp_path_factory.mktemp("scans") / "long.pdf"
    path.write_bytes(pdf(*[SIZE] * PAGES))
    return path


@pytest.fixture
def decoders() -> Iterator[DecoderPool]:
    pool = DecoderPool(lambda: IsolatedDecoder(10_000_000, 120, 1 << 31))
    yield pool
    pool.close()


class BulkyReader(FakeReader):
    """Reads pieces as large as detection's input, so that a chunk's pieces weigh what its pages do."""

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        crop = super().prepare(pixels)
        return PreparedCrop([np.full(FakeDetector.input_shape, piece[0, 0, 0]) for piece in crop.pieces], [])


class LivePages:
    """Counts the pages whose pixels somebody holds; `most` is how many there were at once."""

    def __init__(self, decode: Decoder) -> None:
        self._decode = decode
        # Reentrant: a page may be freed while another one is counted.
        self._lock = threading.RLock()
        self.now = self.most = 0

    def __call__(self, item: Item, file: File) -> DecodedImage:
        image = self._decode(item, file)
        self._count(1)
        # Of the array below: the crops of a page are views that hold that one.
        weakref.finalize(image.pixels.base, self._count, -1)
        return image

    def _count(self, change: int) -> None:
        with self._lock:
            self.now += change
            self.most = max(self.most, self.now)


@pytest.fixture
def live_pages(decoders: DecoderPool) -> LivePages:
    return LivePages(Decoder(decoders, 10_000_000, Decoding(pages=True, resolution=RESOLUTION)))


@pytest.fixture
def read(document: Path, live_pages: LivePages, pool: Executor) -> Read:
    """Read pages chunk by chunk, as a worker does; a chunk has as many pages as is said."""
    detector = FakeDetector()
    parameters = OcrParameters(detection_batch_size=DETECTED_AT_ONCE, recognition_batch_size=8)
    models = Models(FakePool(BulkyReader()), FakePool(detector), FakePool(None))  # type: ignore[arg-type]
    pipeline = make_pipeline("ocr", parameters, models)
    run = ChunkRun(
        fetch=lambda _: document,
        decode=live_pages,  # type: ignore[arg-type]
        attempt=1,
        pool=pool,
        window=WINDOW,
        stop=threading.Event(),
    )

    def read_pages(pages: range, chunk: int) -> None:
        for first in range(pages.start, pages.stop, chunk):
            numbers = range(first, min(first + chunk, pages.stop))
            items = [Item(f"long.pdf#page={number}", str(document), page=number) for number in numbers]
            lines = list(pipeline.run(items, run))
            # Or it is the memory of nothing that is measured.
            assert [word_of(line) for line in lines] == [str(number % REDS) for number in numbers]

    return read_pages


def word_of(line: Line) -> str:
    """Return the one word of a page."""
    assert isinstance(line, OcrLine)
    return line.pages[0].blocks[0].lines[0].words[0].value


def memory_of(read: Read, pages: int, chunk: int) -> tuple[int, int]:
    """Return the bytes that this process still holds once it has read the pages, and the most it held."""
    gc.collect()
    tracemalloc.start()
    try:
        read(range(1, pages + 1), chunk)
        gc.collect()
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_the_worker_holds_no_more_of_many_pages_than_of_few(read: Read, live_pages: LivePages) -> None:
    # given models and threads that have read before, which is when what they keep is made
    read(range(1, CHUNK + 1), CHUNK)

    few_left, few_most = memory_of(read, FEW_PAGES, CHUNK)
    for pages, chunk in ((PAGES, CHUNK), (LONG_CHUNK, LONG_CHUNK)):
        left, most = memory_of(read, pages, chunk)

        # How many of the pages that may be on their way are so at once is the threads' affair.
        assert most - few_most < AHEAD * PAGE_BYTES
        assert left - few_left < PAGE_BYTES
    assert live_pages.most <= AHEAD < CHUNK
    assert live_pages.now == 0


def test_the_process_that_renders_grows_no_further_with_each_page(
    decoders: DecoderPool, document: Path
) -> None:
    with decoders.lent() as decoder:
        few = most_memory(decoder, document, range(1, FEW_PAGES + 1))
        many = most_memory(decoder, document, range(FEW_PAGES + 1, PAGES + 1))

    assert many < 1.2 * few


def most_memory(decoder: IsolatedDecoder, document: Path, pages: range) -> int:
    """Return the most kilobytes of memory that the decoder's child has had once it has rendered the pages."""
    for number in pages:
        decoder.decode(Request("page", str(document), number, RESOLUTION))
    status = Path(f"/proc/{decoder._child.pid}/status").read_text(encoding="ascii")
    (most,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(most.split()[1])
