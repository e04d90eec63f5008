"""Images in memory, fakes of the model stage, and a worker that holds them."""

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from doctr.models.detection.linknet.base import LinkNetPostProcessor
from PIL import Image

from contract.broker.ledger import Ledger
from contract.broker.uploads import Uploads
from contract.documents import page_count
from contract.job import Job, Plan
from contract.lines import Line, encode_line
from contract.records import ChunkMessage, Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from worker.images.decode import DecodedImage, decode_crop, decode_image
from worker.images.decoding import Request
from worker.images.documents import PageReader
from worker.jobs.chunk import WorkerContext
from worker.jobs.share import ChunkShare
from worker.kernels.pieces import CropMap, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.models.ctc import Prediction
from worker.models.detection import Map
from worker.models.pool import Models
from worker.monitoring.device import Device
from worker.monitoring.metrics import WorkerMetrics
from worker.monitoring.pace import Pace
from worker.monitoring.watchdog import Watchdog
from worker.pipeline.run import ChunkRun, Pipeline, Timings

Encode = Callable[..., bytes]

REDS = 200
"""A word must be less red than this to differ from paper."""


def read_all(items: Sequence[Item], run: ChunkRun, pipeline: Pipeline) -> tuple[list[Line], Timings]:
    """Return one line per item, and where the time went."""
    return list(pipeline.run(items, run)), run.timings


@pytest.fixture
def encode() -> Encode:
    """Return the bytes of a file of the named format that holds the image."""

    def to_bytes(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        return buffer.getvalue()

    return to_bytes


@pytest.fixture
def png(encode: Encode) -> Callable[..., bytes]:
    """Return the bytes of a grey PNG; its level is what the fake reader reads."""

    def of_level(level: int, size: tuple[int, int] = (8, 4)) -> bytes:
        return encode(Image.new("RGB", size, (level, level, level)))

    return of_level


class FakeReader:
    """Reads the red of a crop's middle as its text; a crop wider than 8:1 comes in pieces, as with docTR.

    `batch_sizes` lists what was read; a batch that holds a level in `broken` fails as a device does.
    """

    identity = {"architecture": "fake"}  # noqa: RUF012 - as the real one's, never changed
    sample, parameter, pieces = "crop", "recognition_model", None

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.prepared = 0
        self.broken: set[int] = set()
        self.fitting_batch_size: int | None = None

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        self.prepared += 1
        height, width = pixels.shape[:2]
        piece = np.full((3, 1, 1), pixels[height // 2, width // 2, 0], np.uint8)
        return PreparedCrop([piece] * max(1, width // (8 * height)), [])

    def read(self, batch: Pixels) -> list[Prediction]:
        self.batch_sizes.append(len(batch))
        levels = [int(piece[0, 0, 0]) for piece in batch]
        if self.broken & set(levels):
            raise RuntimeError("device-side assert")
        return [(str(level), level / 255) for level in levels]

    def join(self, _: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        values, confidences = zip(*predictions, strict=True)
        return "+".join(values), min(confidences)


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


class FakeDetector:
    """Finds words where a page is blue: paper and padding are grey. Boxes are made of that by docTR.

    `batch_sizes` lists what was read; a batch with a word whose red is in `broken` fails as a device does.
    """

    identity = {"architecture": "fake detector"}  # noqa: RUF012 - as the real one's, never changed
    input_shape = (3, 256, 256)
    class_names = ["words"]  # noqa: RUF012 - as above
    sample, parameter = "page", "detection_model"

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.broken: set[int] = set()
        self.fitting_batch_size: int | None = None

    def postprocessor(
        self, binary_threshold: float, box_threshold: float, *, assume_straight_pages: bool
    ) -> Any:
        return LinkNetPostProcessor(binary_threshold, box_threshold, assume_straight_pages)

    def read(self, batch: Pixels) -> list[Map]:
        self.batch_sizes.append(len(batch))
        red, blue = batch[:, 0].astype(int), batch[:, 2].astype(int)
        words = blue - red > 30
        if self.broken & set(red[words].tolist()):
            raise RuntimeError("device-side assert")
        return list(words[..., None].astype(np.float32))


@pytest.fixture
def detector() -> FakeDetector:
    return FakeDetector()


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """Return the bytes of a PDF of pages of the sizes, in points; each has one word, as red as its number."""

    def of_sizes(*sizes: tuple[float, float]) -> bytes:
        document = pypdfium2.PdfDocument.new()
        for number, size in enumerate(sizes, 1):
            page = document.new_page(*size)
            word = pypdfium2.raw.FPDFPageObj_CreateNewRect(size[0] / 4, size[1] / 4, size[0] / 2, size[1] / 2)
            pypdfium2.raw.FPDFPageObj_SetFillColor(word, number % REDS, 0, 255, 255)
            pypdfium2.raw.FPDFPath_SetDrawMode(word, pypdfium2.raw.FPDF_FILLMODE_WINDING, False)
            pypdfium2.raw.FPDFPage_InsertObject(page, word)
            page.gen_content()
        buffer = io.BytesIO()
        document.save(buffer)
        document.close()
        return buffer.getvalue()

    return of_sizes


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


class FakePool:
    """A recogniser pool of one fake reader, or of an error; `asked` lists the architectures wanted."""

    def __init__(self, reader: FakeReader) -> None:
        self.reader = reader
        self.asked: list[str] = []
        self.error: Exception | None = None

    def get(self, architecture: str) -> FakeReader:
        self.asked.append(architecture)
        if self.error:
            raise self.error
        return self.reader


@pytest.fixture
def recognisers(reader: FakeReader) -> FakePool:
    return FakePool(reader)


class FakeDecoders:
    """A pool of one decoder, in this very process; `decoded` counts the images it was given."""

    def __init__(self) -> None:
        self.decoded = 0
        # As in a child process, one page at a time: pdfium is not thread-safe.
        self._one = threading.Lock()
        self._pages = PageReader(10_000_000)

    @contextlib.contextmanager
    def lent(self) -> Iterator["FakeDecoders"]:
        with self._one:
            yield self

    def decode(self, request: Request, data: bytes = b"") -> DecodedImage:
        self.decoded += 1
        if request.kind == "page":
            return self._pages.page(Path(request.path), request.page, request.resolution, forms=request.forms)
        return (decode_crop if request.kind == "crop" else decode_image)(data, 1_000_000)

    def page_count(self, path: Path) -> int:
        return page_count(path)

    def page_sizes(self, path: Path, pages: int, resolution: int) -> tuple[int, ...]:
        return self._pages.sizes(path, pages, resolution)


@pytest.fixture
def isolated() -> FakeDecoders:
    return FakeDecoders()


@pytest.fixture
def context(
    settings: Settings,
    storage: Storage,
    ledger: Ledger,
    recognisers: FakePool,
    pool: Executor,
    reader: FakeReader,
    isolated: FakeDecoders,
    uploads: Uploads,
) -> WorkerContext:
    """A worker whose model is a fake; roots, storage and ledger are real, Redis is in memory."""
    return WorkerContext(
        name="cpu@here",
        settings=settings,
        storage=storage,
        roots=AllowedRoots(settings.allowed_roots),
        ledger=ledger,
        models=Models(recognisers, detectors=FakePool(reader), orientations=FakePool(reader)),  # type: ignore[arg-type]
        executor=pool,
        fetchers=pool,
        stop=threading.Event(),
        unfit=threading.Event(),
        feeders=None,
        decoders=isolated,  # type: ignore[arg-type]
        uploads=uploads,
        share=ChunkShare(settings.chunk_share, lambda: False),
        large_images=threading.Lock(),
        watchdog=Watchdog(settings.stall_seconds),
        metrics=WorkerMetrics(Device("cpu")),
        pace=Pace(),
    )


@pytest.fixture
def message(job: Job, workspace: Workspace, ledger: Ledger, png: Callable[..., bytes]) -> ChunkMessage:
    """The message of chunk 0 of a running job of four items, two of which are in that chunk."""
    folder = Path(job.source.uri)
    folder.mkdir()
    items = []
    for level in (10, 20, 30, 40):
        (folder / f"{level}.png").write_bytes(png(level))
        items.append(Item(id=f"{level}.png", uri=f"{folder}/{level}.png"))
    workspace.save_job(job.model_copy(update={"plan": Plan(chunks=2, items=4)}))
    for chunk in (0, 1):
        lines = b"".join(map(encode_line, items[2 * chunk : 2 * chunk + 2]))
        workspace.store.create(workspace.chunk(chunk), lines)
    ledger.open(job.id, workspace.root, "recognition", job.source.uri, job.created_at)
    ledger.plan_done(job.id, 2, 4)
    return ChunkMessage(job=job.id, workspace=workspace.root, chunk=0)
