"""Processor time per crop outside the forward: it decides once the device is fast."""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import torch
from doctr.io import DocumentFile
from doctr.models import recognition_predictor
from doctr.models.recognition.crnn.pytorch import CTCPostProcessor

from benchmarks.apart import apart
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import BATCH, Scene
from contract.lines import encode_lines
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.app.launcher import child_environment
from worker.images.decode import decode_crop, fetch
from worker.kernels.normalise import Normaliser
from worker.kernels.pieces import CropMap, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import Preprocessor
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.models.ctc import CtcDecoder, Prediction
from worker.pipeline.run import ChunkRun

DEVICE_SECONDS = 0.02
"""Time that the omitted device takes for a batch: a GPU's 6,400 crops/s. Sleeping takes no processor time."""


class NullReader:
    """Prepares, normalises and decodes like the real one; its forward is a fixed tensor of logits."""

    sample, parameter, identity = "crop", "recognition_model", {"architecture": "null"}
    fitting_batch_size = None

    def __init__(self, logits: torch.Tensor, model: Any, seconds: float = DEVICE_SECONDS) -> None:
        self._logits, self._seconds = logits.numpy(), seconds
        self.pieces = PieceShape(32, 128, 8, 6, 0.5)
        self._preprocessor = Preprocessor(self.pieces)
        self._normalise = Normaliser(model.cfg["mean"], model.cfg["std"])
        self._decode = CtcDecoder(model.vocab)

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        return self._preprocessor.prepare(pixels)

    def read(self, batch: Pixels) -> list[Prediction]:
        self._normalise(batch)
        time.sleep(self._seconds)
        return self._decode(self._logits[: len(batch)])

    def join(self, _: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        return predictions[0]


class NullModel(torch.nn.Module):
    """The same in place of docTR's model: fixed logits, decoded by docTR."""

    def __init__(self, decode: Any, logits: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))  # docTR asks a parameter for its device
        self._decode, self._logits = decode, logits

    def forward(self, batch: torch.Tensor, **_: Any) -> dict[str, Any]:
        time.sleep(DEVICE_SECONDS)
        return {"preds": self._decode(self._logits[: len(batch)])}


def cpu_per_crop(scene: Scene, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the row, and each side's microseconds of processor time per crop; torch has its defaults."""
    with ExitStack() as stack:
        contestants = {
            "trace-ocr": stack.enter_context(apart(_ours, scene, child_environment("cpu", os.environ))),
            "docTR": stack.enter_context(apart(_doctrs, scene, os.environ)),
        }
        used = interleaved(contestants, rounds)
    ratio = median_ratio(used["trace-ocr"], used["docTR"])
    row = Row("CPU per crop outside the forward, over docTR's", ratio, "x", 0.25, at_most=True)
    return [row], {"rates": {"processor-us-per-crop": used}}


def logits_of(classes: int) -> torch.Tensor:
    """Return the logits of a null model's batch, (128, 32, classes)."""
    logits = torch.randn(BATCH, 32, classes, generator=torch.Generator().manual_seed(0))
    logits[..., -1] += 2.5  # so that two columns in three are blank, as in real text
    return logits


def _metered(read: Callable[[], object], scene: Scene) -> Callable[[], float]:
    """Return a function that reads all files once; it returns microseconds of processor time per crop."""

    def run() -> float:
        started = time.process_time()
        read()
        return (time.process_time() - started) / len(scene.files) * 1e6

    return run


def _ours(scene: Scene) -> Callable[[], float]:
    model = scene.model()
    pipeline = RecognitionPipeline(Readers.of(NullReader(logits_of(len(model.vocab) + 1), model)), BATCH)
    settings = Settings()
    storage = Storage(settings)
    roots = AllowedRoots((str(scene.crops),)).for_one_chunk()
    items = [Item(path.name, str(path)) for path in scene.files]

    def run() -> None:
        with ThreadPoolExecutor(settings.decode_threads) as pool:
            chunk = ChunkRun(
                fetch=lambda item: fetch(item.uri, storage, roots, settings.max_bytes),
                decode=lambda _, data: decode_crop(data, settings.max_pixels),
                attempt=1,
                pool=pool,
                window=pipeline.prefetch,
                stop=threading.Event(),
            )
            lines = list(pipeline.run(items, chunk))
            encode_lines(lines)

    return _metered(run, scene)


def _doctrs(scene: Scene) -> Callable[[], float]:
    model = scene.model()
    predictor = recognition_predictor(model, batch_size=BATCH)
    predictor.model = NullModel(CTCPostProcessor(model.vocab), logits_of(len(model.vocab) + 1))

    def run() -> None:
        read = predictor(DocumentFile.from_images(scene.files))
        lines = [
            {"id": path.name, "value": v, "confidence": c}
            for path, (v, c) in zip(scene.files, read, strict=True)
        ]
        "\n".join(map(json.dumps, lines))

    return _metered(run, scene)
