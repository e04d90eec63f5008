"""Processor time per crop outside the forward: what decides once the device is fast."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from doctr.io import DocumentFile
from doctr.models.preprocessor import PreProcessor
from doctr.models.recognition.crnn.pytorch import CTCPostProcessor

from benchmarks.end_to_end import BATCH, Scene
from benchmarks.rows import Row, interleaved, median_ratio
from contract.records import Item, encode_lines
from contract.roots import AllowedRoots
from contract.settings import Settings
from contract.storage import Storage
from worker.batching import Prediction, PreparedCrop
from worker.ctc import CtcDecoder
from worker.decode import Pixels, decode_crop, fetch
from worker.preprocess import Preprocessor
from worker.process import ChunkRun, process_chunk


@dataclass
class NullReader:
    """Prepares and decodes as the real one; its forward is a fixed tensor of logits, (BATCH, 32, classes)."""

    logits: torch.Tensor
    vocab: str
    fitting_batch_size: int | None = None

    def __post_init__(self) -> None:
        self._preprocessor = Preprocessor(32, 128, 8, 6, 0.5)
        self._decode = CtcDecoder(self.vocab)

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        return self._preprocessor.prepare(pixels)

    def read(self, batch: Pixels) -> list[Prediction]:
        return self._decode(self.logits[: len(batch)])

    def join(self, _: PreparedCrop, predictions: Sequence[Prediction]) -> Prediction:
        return predictions[0]


def cpu_per_crop(scene: Scene, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """Return the row, and each side's microseconds of processor time per crop; torch has its defaults."""
    model = scene.model()
    torch.manual_seed(0)
    logits = torch.randn(BATCH, 32, len(model.vocab) + 1)
    logits[..., -1] += 2.5  # so that two columns in three are blank, as in real text
    contestants = {
        "trace-ocr": _ours(scene, NullReader(logits, model.vocab)),
        "docTR": _doctrs(scene, model, logits),
    }
    used = interleaved(
        {name: _processor_time(run, len(scene.files)) for name, run in contestants.items()}, rounds
    )
    ratio = median_ratio(used["trace-ocr"], used["docTR"])
    row = Row("CPU per crop outside the forward, over docTR's", ratio, "x", 0.25, at_most=True)
    return [row], {"cpu_us_per_crop": used}


def _processor_time(run: Callable[[], object], crops: int) -> Callable[[], float]:
    def measure() -> float:
        started = time.process_time()
        run()
        return (time.process_time() - started) / crops * 1e6

    return measure


def _ours(scene: Scene, reader: NullReader) -> Callable[[], object]:
    settings = Settings()
    storage = Storage(settings)
    roots = AllowedRoots((str(scene.crops),)).for_one_chunk()
    items = [Item(path.name, str(path)) for path in scene.files]

    def run() -> None:
        with ThreadPoolExecutor(settings.decode_threads) as pool:
            lines, _ = process_chunk(
                items,
                ChunkRun(
                    fetch=lambda item: fetch(item.uri, storage, roots, settings.max_bytes),
                    decode=lambda _, data: decode_crop(data, settings.max_pixels),
                    reader=reader,
                    batch_size=BATCH,
                    attempt=1,
                    pool=pool,
                    window=2 * BATCH,
                    on_progress=lambda _: None,
                    stop=threading.Event(),
                ),
            )
            encode_lines(lines)

    return run


def _doctrs(scene: Scene, model: object, logits: torch.Tensor) -> Callable[[], object]:
    cfg, vocab = model.cfg, model.vocab  # type: ignore[attr-defined]
    prepare = PreProcessor((32, 128), BATCH, cfg["mean"], cfg["std"], preserve_aspect_ratio=True)
    decode = CTCPostProcessor(vocab)

    def run() -> None:
        for batch in prepare(DocumentFile.from_images(scene.files)):
            decode(logits[: len(batch)])

    return run
