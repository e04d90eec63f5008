"""The models and docTR's reading of the sample pages, made once for all tests of pages."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from doctr.models import classification, ocr_predictor
from PIL import Image

from contract.kinds import KINDS
from contract.kinds.base import Parameters
from contract.kinds.ocr import OcrParameters
from contract.model_store import ModelStore
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from tests.integration.pages.doctrs import CPU, MODELS, SAMPLES, doctrs_predictor, pixels_of, sample_items
from worker.images.decode import File
from worker.images.files import Decoder
from worker.images.isolation import DecoderPool, IsolatedDecoder
from worker.kinds import make_pipeline
from worker.models.detection import load_detector
from worker.models.orientation import CROP_ORIENTATION, PAGE_ORIENTATION, load_orientation
from worker.models.pool import ModelPool, Models
from worker.models.recognition import load_recogniser
from worker.models.runtimes.base import RuntimeOptions
from worker.pipeline.run import ChunkRun

Line = dict[str, Any]
ReadPages = Callable[[list[Item], Parameters], list[Line]]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The sample weights, and orientation classifiers of random ones, so that every class occurs."""
    folder = tmp_path_factory.mktemp("store")
    for path in (SAMPLES / "weights").iterdir():
        (folder / path.name).symlink_to(path)
    for seed, name in enumerate((CROP_ORIENTATION, PAGE_ORIENTATION)):
        torch.manual_seed(seed)
        weights = folder / f"{name}.pt"
        torch.save(getattr(classification, name)(pretrained=False).state_dict(), weights)
        card = {"architecture": name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
        (folder / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")
    return ModelStore(str(folder), Storage(Settings()))


@pytest.fixture(scope="session")
def doctrs(store: ModelStore) -> dict[str, Any]:
    """docTR's own `Page` of each sample page, read alone, in source order."""
    predictor = doctrs_predictor(ocr_predictor, store, OcrParameters(**MODELS))  # type: ignore[arg-type]
    items = sorted(sample_items(), key=lambda item: item.id)
    pages = {item.id: predictor([pixels_of(item)]).pages[0] for item in items}
    for item in items:
        pages[item.id].page_idx = (item.page or 1) - 1
    return pages


@pytest.fixture(scope="session")
def models(store: ModelStore) -> Models:
    """The worker's models, with the runtime that it takes by itself."""
    options = RuntimeOptions()
    return Models(
        ModelPool(lambda name: load_recogniser(name, store, CPU, options)),
        ModelPool(lambda name: load_detector(name, store, CPU, options)),
        ModelPool(lambda name: load_orientation(name, store, CPU)),
    )


@pytest.fixture(scope="session")
def read(models: Models) -> Iterator[ReadPages]:
    """The worker's path for one chunk of pages."""
    decoders = DecoderPool(lambda: IsolatedDecoder(10**8, 60.0, 2**31))

    def fetch(item: Item) -> File:
        return Path(item.uri) if item.page else Path(item.uri).read_bytes()

    def read_pages(items: list[Item], parameters: Parameters) -> list[Line]:
        (kind,) = (kind for kind in KINDS.values() if kind.parameters is type(parameters))
        pipeline = make_pipeline(kind.name, parameters, models)
        run = ChunkRun(
            fetch=fetch,
            decode=Decoder(decoders, 10**8, pipeline.decoding),
            attempt=1,
            pool=pool,
            window=pipeline.prefetch,
            stop=threading.Event(),
        )
        lines = list(pipeline.run(items, run))
        assert [line.id for line in lines] == [item.id for item in items]
        return [msgspec.to_builtins(line) for line in lines]

    with ThreadPoolExecutor(2) as pool:
        yield read_pages
    decoders.close()


@pytest.fixture(scope="session")
def turned(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Sample pages turned by a few degrees, as a scanner's feeder leaves them."""
    folder, items = tmp_path_factory.mktemp("turned"), []
    for name, degrees in (("receipt.png", 5), ("letter.jpg", -7)):
        with Image.open(SAMPLES / "pages" / name) as page:
            target = folder / f"{degrees}.png"
            page.convert("RGB").rotate(degrees, expand=True, fillcolor="white").save(target)
        items.append(Item(target.name, str(target)))
    return items
