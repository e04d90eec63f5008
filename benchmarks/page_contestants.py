"""Other ways to read pages: loops of docTR's `ocr_predictor` and of OnnxTR's, and Ray Data around docTR's.

Each reads document by document, as their examples do, with the batch sizes of ours.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from doctr.io import DocumentFile
from doctr.models import ocr_predictor
from PIL import Image, ImageSequence

from benchmarks.ray_data import ray_rate
from benchmarks.scene import MOBILENET, SAMPLES, exported_by_doctr
from contract.kinds.ocr import OcrParameters
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from worker.models.doctr_models import load_model
from worker.models.weights import Task

DETECTION = "linknet_resnet18"
PARAMETERS = OcrParameters(detection_model=DETECTION, recognition_model=MOBILENET)
"""The demo's models; everything else is the default, docTR's and ours alike."""

ACTOR_BATCH = 4
"""Pages per call of an actor: enough to fill its detection batches, few enough to share out 24 pages."""

Words = list[str]
"""Of a page, in order."""


def doctr_loop(files: list[Path], device: str = "cpu") -> Callable[[], list[Words]]:
    """docTR's own way, on torch's `device`; return the words of each page."""
    predictor = _doctrs(device)
    return lambda: [words_on(page) for file in files for page in predictor(images_of(file)).pages]


def onnxtr_loop(files: list[Path], folder: Path) -> Callable[[], list[Words]]:
    """OnnxTR's way, over docTR's weights, exported by docTR's exporter; return the words of each page."""
    from onnxtr.models import crnn_mobilenet_v3_small, linknet_resnet18
    from onnxtr.models import ocr_predictor as onnxtr_predictor

    detector, recogniser = _model("detection", DETECTION), _model("recognition", MOBILENET)
    predictor = onnxtr_predictor(
        linknet_resnet18(exported_by_doctr(detector, folder / DETECTION)),
        crnn_mobilenet_v3_small(exported_by_doctr(recogniser, folder / MOBILENET), vocab=recogniser.vocab),
        det_bs=PARAMETERS.detection_batch_size,
        reco_bs=PARAMETERS.recognition_batch_size,
    )
    return lambda: [words_on(page) for file in files for page in predictor(images_of(file)).pages]


class Reader:
    """One of Ray's actors, with docTR's predictor."""

    def __init__(self) -> None:
        self._predictor = _doctrs("cpu")
        self._predictor(images_of(SAMPLES / "pages" / "receipt.png"))  # the first call is slower

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Read a batch of pages, the column `pixels`; say when its reading began, in Unix seconds."""
        begun = time.time()
        found = self._predictor(list(batch["pixels"])).pages
        words = [json.dumps(words_on(page)) for page in found]
        return {"words": np.array(words), "begun": np.full(len(words), begun)}


def ray_pages(files: list[Path], folder: Path) -> Callable[[], float]:
    """Return a function that reads the files with Ray Data, as `ray_rate`; pages are rendered in tasks."""
    documents = [{"path": str(path)} for path in files]
    return ray_rate(
        lambda data: data.from_items(documents).flat_map(_rendered), Reader, (), ACTOR_BATCH, folder
    )


def _rendered(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return ({"pixels": pixels} for pixels in images_of(Path(row["path"])))


def _doctrs(device: str) -> Any:
    return ocr_predictor(
        _model("detection", DETECTION),
        _model("recognition", MOBILENET),
        det_bs=PARAMETERS.detection_batch_size,
        reco_bs=PARAMETERS.recognition_batch_size,
    ).to(device)


def _model(task: Task, name: str) -> Any:
    store = ModelStore(str(SAMPLES / "weights"), Storage(Settings()))
    return load_model(task, name, store, "cpu")[0]


def images_of(file: Path) -> list[npt.NDArray[np.uint8]]:
    """Return a document's pages as docTR reads them; TIFFs by Pillow: docTR reads only their first page."""
    if file.suffix == ".pdf":
        return DocumentFile.from_pdf(file)
    if file.suffix != ".tiff":
        return DocumentFile.from_images(file)
    with Image.open(file) as document:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(document)]


def words_on(page: Any) -> Words:
    """Return the words of docTR's page, or of OnnxTR's."""
    return [word.value for block in page.blocks for line in block.lines for word in line.words]
