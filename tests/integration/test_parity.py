"""The text is docTR's own: the worker's path against `recognition_predictor`, file by file.

docTR's side reads the files itself (`DocumentFile.from_images`, which is OpenCV) and batches by itself; the
worker's side is the real one, from storage and Pillow to the model store.
"""

import functools
import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from doctr.datasets import VOCABS
from doctr.io import DocumentFile
from doctr.models import recognition, recognition_predictor
from doctr.models.utils import add_whitelist
from PIL import Image

from contract.architectures import RECOGNITION_MODELS
from contract.lines import RecognitionLine
from contract.model_store import ModelStore
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.images.decode import decode_crop, fetch
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.models.recognition import Recogniser, load_recogniser
from worker.models.runtimes.base import RuntimeOptions
from worker.pipeline.run import ChunkRun

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
WEIGHTS = SAMPLES / "weights"

TOLERANCE = 1e-4
CPU = "cpu"
TRAINED = "crnn_mobilenet_v3_small"

WIDE_ASPECTS = (9, 20, 60)
"""Width over height; docTR splits a crop past 8."""

SHORT = 5
"""Characters that the models which spell one by one may write here: parity needs no long strings, and
`master` takes ten seconds for a crop's fifty."""

SPELLING_ONE_BY_ONE = ("master", "parseq", "sar_resnet31")

VOCAB = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;-+*/()é€"

WANTED, WANTED_CHARACTERS = "0-9A-F+", "0123456789ABCDEF+"

Prediction = tuple[str, float]


@pytest.fixture(scope="module")
def crops() -> list[Path]:
    """Every sample crop."""
    files = sorted(path for path in (SAMPLES / "crops").iterdir() if path.suffix in {".png", ".jpg"})
    assert len(files) == 257
    return files


@pytest.fixture(scope="module")
def wide_crops(crops: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Long lines made by joining sample crops, just over each of the wide aspects."""
    folder = tmp_path_factory.mktemp("wide")
    return [joined(crops, aspect, folder / f"{aspect}.png") for aspect in WIDE_ASPECTS]


def joined(crops: list[Path], aspect: int, target: Path) -> Path:
    """Save crops side by side, scaled to 32 pixels of height, until the line is wider than the aspect."""
    height, tiles = 32, []
    for path in crops[aspect:]:
        with Image.open(path) as crop:
            tiles.append(
                crop.convert("RGB").resize((max(1, round(height * crop.width / crop.height)), height))
            )
        if sum(tile.width for tile in tiles) > aspect * height:
            break
    line = Image.new("RGB", (sum(tile.width for tile in tiles), height), "white")
    left = 0
    for tile in tiles:
        line.paste(tile, (left, 0))
        left += tile.width
    line.save(target)
    assert line.width > aspect * line.height
    return target


@pytest.fixture
def read_by_worker() -> Iterator[Callable[[list[Path], Recogniser, int], list[Prediction]]]:
    """The worker's path for one chunk: real storage, decoding, batches and model."""
    settings = Settings()
    storage = Storage(settings)

    with ThreadPoolExecutor(4) as pool:

        def read(files: list[Path], recogniser: Recogniser, batch_size: int) -> list[Prediction]:
            roots = AllowedRoots(tuple({str(path.parent) for path in files}))
            run = ChunkRun(
                fetch=lambda item: fetch(item.uri, storage, roots, settings.max_bytes),
                decode=lambda _, data: decode_crop(data, settings.max_pixels),
                attempt=1,
                pool=pool,
                window=2 * batch_size,
                stop=threading.Event(),
            )
            items = [Item(id=path.name, uri=str(path)) for path in files]
            lines = list(RecognitionPipeline(Readers.of(recogniser), batch_size).run(items, run))
            assert [line.id for line in lines] == [path.name for path in files]
            return [(line.value, line.confidence) for line in lines if isinstance(line, RecognitionLine)]

        yield read


def read_by_doctr(files: list[Path], model: Any, batch_size: int) -> list[Prediction]:
    """Return what docTR's own predictor makes of the files, read by docTR itself."""
    predictions = recognition_predictor(model, batch_size=batch_size)(DocumentFile.from_images(files))
    return [(value, float(confidence)) for value, confidence in predictions]


def assert_same(ours: list[Prediction], reference: list[Prediction], files: list[Path]) -> None:
    """Equal strings, confidences within the tolerance; NaN is equal to nothing."""
    assert len(ours) == len(reference) == len(files)
    different = {
        path.name: (mine, theirs)
        for path, mine, theirs in zip(files, ours, reference, strict=True)
        if mine[0] != theirs[0] or not abs(mine[1] - theirs[1]) <= TOLERANCE
    }
    assert not different


class TestTrainedCheckpoint:
    """The checkpoint that ships with the product, on every sample crop and on lines of 9, 20 and 60 to 1."""

    @pytest.fixture(scope="class")
    def doctr_model(self) -> Any:
        vocab = json.loads((WEIGHTS / f"{TRAINED}.json").read_text(encoding="utf-8"))["vocab"]
        model = build(TRAINED, vocab)
        model.load_state_dict(torch.load(WEIGHTS / f"{TRAINED}.pt", weights_only=True))
        return model

    @pytest.fixture(scope="class")
    def recogniser(self) -> Recogniser:
        return load_recogniser(TRAINED, ModelStore(str(WEIGHTS), Storage(Settings())), CPU)

    @pytest.mark.parametrize("batch_size", [128, 32])
    def test_reads_every_file_as_doctr_does(
        self,
        batch_size: int,
        crops: list[Path],
        wide_crops: list[Path],
        doctr_model: Any,
        recogniser: Recogniser,
        read_by_worker: Callable[..., list[Prediction]],
    ) -> None:
        # given the wide crops among the others, so that their pieces share batches with them
        files = [*crops[:40], *wide_crops, *crops[40:]]

        # when
        ours = read_by_worker(files, recogniser, batch_size)

        # then
        assert_same(ours, read_by_doctr(files, doctr_model, batch_size), files)

    def test_the_batch_size_changes_no_string(
        self,
        crops: list[Path],
        wide_crops: list[Path],
        recogniser: Recogniser,
        read_by_worker: Callable[..., list[Prediction]],
    ) -> None:
        files = [*wide_crops, *crops[:40]]

        assert_same(read_by_worker(files, recogniser, 7), read_by_worker(files, recogniser, 128), files)

    def test_wide_crops_are_read_whole(
        self, wide_crops: list[Path], recogniser: Recogniser, read_by_worker: Callable[..., list[Prediction]]
    ) -> None:
        # when lines of aspect 9, 20 and 60 are read
        lengths = [len(value) for value, _ in read_by_worker(wide_crops, recogniser, 128)]

        # then the text grows with the line: no piece of it is lost
        assert lengths[0] > WIDE_ASPECTS[0] / 2
        assert lengths == sorted(lengths)
        assert lengths[2] > 2 * lengths[1]

    @pytest.mark.parametrize("runtime", ["torch", "onnx"])
    def test_reads_only_the_wanted_characters_as_doctrs_whitelist_does(
        self,
        runtime: Literal["torch", "onnx"],
        crops: list[Path],
        wide_crops: list[Path],
        doctr_model: Any,
        read_by_worker: Callable[..., list[Prediction]],
    ) -> None:
        store = ModelStore(str(WEIGHTS), Storage(Settings()))
        recogniser = load_recogniser(TRAINED, store, CPU, RuntimeOptions(runtime)).restricted_to("digits")
        files = [*crops, *wide_crops]

        ours = read_by_worker(files, recogniser, 128)

        with add_whitelist(doctr_model, VOCABS["digits"]):
            assert_same(ours, read_by_doctr(files, doctr_model, 128), files)
        assert {character for value, _ in ours for character in value} == set(VOCABS["digits"])


class TestEveryArchitecture:
    """All nine architectures with random weights through a model store, against docTR with that state."""

    @pytest.fixture
    def files(self, crops: list[Path], wide_crops: list[Path]) -> list[Path]:
        return [*crops[:3], wide_crops[0], *crops[100:102]]

    @pytest.fixture(autouse=True)
    def short_strings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in SPELLING_ONE_BY_ONE:
            short = functools.partial(getattr(recognition, name), max_length=SHORT)
            monkeypatch.setattr(recognition, name, short)

    @pytest.mark.parametrize(
        ("architecture", "runtime"),
        [(name, "torch") for name in RECOGNITION_MODELS] + [("vitstr_small", "onnx"), ("parseq", "onnx")],
    )
    def test_reads_as_doctr_does_with_and_without_wanted_characters(
        self,
        architecture: str,
        runtime: Literal["torch", "onnx"],
        files: list[Path],
        tmp_path: Path,
        read_by_worker: Callable[..., list[Prediction]],
    ) -> None:
        # given a model store with that architecture, and docTR's model with the same state
        doctr_model = random_model(architecture)
        recogniser = load_recogniser(
            architecture, store_of(doctr_model, architecture, tmp_path), CPU, RuntimeOptions(runtime)
        )

        # when both read the files, in batches of four, first only some characters, then all
        restricted = read_by_worker(files, recogniser.restricted_to(WANTED), 4)
        with add_whitelist(doctr_model, WANTED_CHARACTERS):
            assert_same(restricted, read_by_doctr(files, doctr_model, 4), files)
        reference = read_by_doctr(files, doctr_model, 4)
        assert_same(read_by_worker(files, recogniser, 4), reference, files)

        # then no other character was read
        assert {character for value, _ in restricted for character in value} <= set(WANTED_CHARACTERS)
        # and the comparison is no empty one: confidences are numbers, strings differ from crop to crop
        assert all(math.isfinite(confidence) for _, confidence in reference)
        assert len({value for value, _ in reference}) > 1


def build(architecture: str, vocab: str) -> Any:
    """Return docTR's model, untrained."""
    return getattr(recognition, architecture)(pretrained=False, pretrained_backbone=False, vocab=vocab).eval()


def random_model(architecture: str) -> Any:
    """Return docTR's model with random weights, large enough that its strings depend on the crop."""
    torch.manual_seed(20)
    model = build(architecture, VOCAB)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return model


def store_of(model: Any, architecture: str, folder: Path) -> ModelStore:
    """Save the model's state and card as a model store holds them."""
    weights = folder / f"{architecture}.pt"
    torch.save(model.state_dict(), weights)
    card = {
        "architecture": architecture,
        "vocab": VOCAB,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    (folder / f"{architecture}.json").write_text(json.dumps(card), encoding="utf-8")
    return ModelStore(str(folder), Storage(Settings()))
