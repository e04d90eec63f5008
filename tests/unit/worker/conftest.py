"""Images in memory, fakes of the model stage, and a worker that holds them."""

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.documents import page_count
from contract.job import Job, Plan
from contract.ledger import Ledger
from contract.records import ChunkMessage, Item, encode_line
from contract.roots import AllowedRoots
from contract.settings import Settings
from contract.storage import Storage
from contract.uploads import Uploads
from contract.workspace import Workspace
from worker.batching import Prediction, PreparedCrop
from worker.chunk import WorkerContext
from worker.decode import DecodedImage, Pixels, decode_crop, decode_image
from worker.device import Device
from worker.documents import PageReader
from worker.isolation import Request
from worker.metrics import WorkerMetrics
from worker.reading import Models
from worker.watchdog import Watchdog

Encode = Callable[..., bytes]


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
    """Reads a crop's grey level as its text; a crop wider than 8:1 comes in pieces, as with docTR.

    `batch_sizes` lists what was read; a batch that holds a level in `broken` fails as a device does.
    """

    identity = {"architecture": "fake"}  # noqa: RUF012 - as the real one's, never changed

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.prepared = 0
        self.broken: set[int] = set()
        self.fitting_batch_size: int | None = None

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        self.prepared += 1
        height, width = pixels.shape[:2]
        piece = np.full((3, 1, 1), pixels[0, 0, 0], np.uint8)
        return PreparedCrop([piece] * max(1, width // (8 * height)), [])

    def read(self, batch: Pixels) -> list[Prediction]:
        self.batch_sizes.append(len(batch))
        levels = [int(piece[0, 0, 0]) for piece in batch]
        if self.broken & set(levels):
            raise RuntimeError("device-side assert")
        return [(str(level), level / 255) for level in levels]

    def join(self, crop: PreparedCrop, predictions: Sequence[Prediction]) -> Prediction:
        values, confidences = zip(*predictions, strict=True)
        return "+".join(values), min(confidences)


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


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
        self._pages = PageReader(10_000_000)

    @contextlib.contextmanager
    def lent(self) -> Iterator["FakeDecoders"]:
        yield self

    def decode(self, request: Request, data: bytes = b"") -> DecodedImage:
        self.decoded += 1
        if request.kind == "page":
            return self._pages.page(Path(request.path), request.page, request.resolution)
        return (decode_crop if request.kind == "crop" else decode_image)(data, 1_000_000)

    def page_count(self, path: Path) -> int:
        return page_count(path)


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
        decoders=isolated,  # type: ignore[arg-type]
        uploads=uploads,
        watchdog=Watchdog(settings.stall_seconds),
        metrics=WorkerMetrics(Device("cpu")),
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
