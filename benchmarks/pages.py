"""Pages per second: this product through Redis and Celery against a loop of docTR's `ocr_predictor`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2
from doctr.io import DocumentFile
from doctr.models import ocr_predictor
from PIL import Image, ImageSequence

from benchmarks.end_to_end import rate
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import MOBILENET, SAMPLES
from benchmarks.service import Service, make_job, serving
from contract.kinds.detection import DetectionParameters
from contract.kinds.ocr import OcrParameters
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from worker.models.doctr_models import load_model

DETECTION = "linknet_resnet18"
PARAMETERS = OcrParameters(detection_model=DETECTION, recognition_model=MOBILENET)
"""The demo's models; everything else is the default, docTR's and ours alike."""

PAGES = 8
"""Pages of all sample documents."""

TARGET = 1.3
"""Target: pages per second over docTR's loop."""

FEW, MANY = 64, 500
"""Pages of the two documents whose memory is compared."""

GROWTH = 1.1
"""Target: peak memory with the larger document over that with the smaller one: flat, plus noise."""


def pages(
    folder: Path, *, copies: int, rounds: int, memory: bool
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of pages, and every measured rate.

    Args:
        copies: of the five sample documents, which are read in one job
        memory: also compare the worker's memory with a small and a large document; about six minutes
    """
    documents, store = copied(folder, copies), SAMPLES / "weights"
    doctr = doctr_loop(sorted(documents.iterdir()))
    count = PAGES * copies
    with serving(store, folder, SAMPLES) as service:
        runs = iter(range(1_000_000))

        def run() -> float:
            out = folder / f"pages-{next(runs)}"
            return count / service.run(make_job("ocr", PARAMETERS, documents, out), out)

        run()  # the worker starts and loads its models
        rates = interleaved({"trace-ocr": run, "docTR": rate(count, doctr)}, rounds)
        rows = [_memory(service, folder)] if memory else []
    same = sum(map(list.__eq__, words_of(folder / "pages-1"), doctr()))
    return [
        Row("pages: end to end over docTR's ocr_predictor", median_ratio(*rates.values()), "x", TARGET),
        Row("pages: identical to docTR's, word by word", 100 * same / count, "%", 100),
        *rows,
    ], {"rates": {"pages": rates}}


def copied(folder: Path, copies: int) -> Path:
    """Return a folder with so many copies of each sample document."""
    documents = folder / "documents"
    documents.mkdir()
    for copy in range(copies):
        for source in sorted((SAMPLES / "pages").iterdir()):
            if source.suffix != ".json":
                (documents / f"{copy:03d}-{source.name}").write_bytes(source.read_bytes())
    return documents


def doctr_loop(files: list[Path], device: str = "cpu") -> Callable[[], list[list[str]]]:
    """docTR's own way, document by document, on torch's `device`; return the words of each page."""
    store = ModelStore(str(SAMPLES / "weights"), Storage(Settings()))
    predictor = ocr_predictor(
        load_model("detection", DETECTION, store, "cpu")[0],
        load_model("recognition", MOBILENET, store, "cpu")[0],
        det_bs=PARAMETERS.detection_batch_size,
        reco_bs=PARAMETERS.recognition_batch_size,
    ).to(device)

    def read() -> list[list[str]]:
        found = [page for file in files for page in predictor(images_of(file)).pages]
        return [
            [word.value for block in page.blocks for line in block.lines for word in line.words]
            for page in found
        ]

    return read


def images_of(file: Path) -> list[npt.NDArray[np.uint8]]:
    """Return a document's pages as docTR reads them; TIFFs by Pillow: docTR reads only their first page."""
    if file.suffix == ".pdf":
        return DocumentFile.from_pdf(file)
    if file.suffix != ".tiff":
        return DocumentFile.from_images(file)
    with Image.open(file) as document:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(document)]


def words_of(out: Path) -> list[list[str]]:
    """Return the words of each page of a finished job, in order."""
    lines = map(json.loads, (out / "results.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        [
            word["value"]
            for block in page["pages"][0]["blocks"]
            for line in block["lines"]
            for word in line["words"]
        ]
        for page in lines
    ]


def _memory(service: Service, folder: Path) -> Row:
    """Compare the worker's peak memory with a small document, and then with a large one."""
    peaks = []
    for count in (FEW, MANY):
        document = folder / f"{count}.pdf"
        _repeat(SAMPLES / "pages" / "ledger.pdf", count, document)
        parameters = DetectionParameters(detection_model=DETECTION)
        out = folder / f"memory-{count}"
        service.run(make_job("detection", parameters, document, out), out)
        peaks.append(sum(map(_peak_kibibytes, _descendants(service.launcher))))
    return Row(
        f"pages: worker's peak memory over {MANY} pages, over that of {FEW}",
        peaks[1] / peaks[0],
        "x",
        GROWTH,
        at_most=True,
    )


def _repeat(source: Path, count: int, target: Path) -> None:
    with pypdfium2.PdfDocument(source) as pages, pypdfium2.PdfDocument.new() as document:
        document.import_pages(pages, [number % len(pages) for number in range(count)])
        document.save(target)


def _descendants(pid: int) -> Iterator[int]:
    """Yield the descendants of a process, from Linux' /proc."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _descendants(child)


def _peak_kibibytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0])
