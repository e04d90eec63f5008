"""Measure the models of a store against the aims: `python -m tools.training.evaluate`."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from doctr.models import ocr_predictor, recognition_predictor
from doctr.utils.metrics import LocalizationConfusion, OCRMetric

from tools.training.crops import CropRenderer
from tools.training.detection import MATCH_IOU, localisation, validation_pages
from tools.training.errors import TrainingError
from tools.training.pages import PageRenderer
from tools.training.recognition import exact_matches, validation_crops
from tools.training.samples import SamplePage, sample_crops, sample_pages
from tools.training.sources import Fonts, find_fonts, find_words
from tools.training.store import Stored, read_model, write_card
from tools.training.text import Writer


@dataclass(frozen=True)
class Figure:
    """One measured share, 0 to 1, and the least it should be."""

    task: str
    name: str
    value: float
    aim: float | None = None

    @property
    def missed(self) -> bool:
        """Whether the value is below its aim."""
        return self.aim is not None and self.value < self.aim


def recognition_figures(model: Any, samples: Path, writer: Writer, fonts: Fonts) -> Iterator[Figure]:
    """Exact matches on the sample crops (docTR's recognition_predictor) and on the synthetic sets."""
    images, texts = sample_crops(samples)
    read = recognition_predictor(model)(images)
    right = sum(value == text for (value, _), text in zip(read, texts, strict=True))
    yield Figure("recognition", f"exact match, {len(texts)} sample crops", right / len(texts), aim=0.99)
    held_out = CropRenderer(fonts.held_out)
    hard = validation_crops(writer, held_out.render)
    name = f"exact match, {len(hard)} hard synthetic crops, fonts not trained on"
    yield Figure("recognition", name, exact_matches(model, hard), aim=0.75)
    scanned = validation_crops(writer, held_out.render_scanned)
    name = f"exact match, {len(scanned)} scan-like synthetic crops, fonts not trained on"
    yield Figure("recognition", name, exact_matches(model, scanned))


def detection_figures(model: Any, writer: Writer, fonts: Fonts) -> Iterator[Figure]:
    """Recall and precision on the synthetic pages."""
    pages = validation_pages(PageRenderer(writer, fonts.held_out))
    measured = localisation(model, pages)
    name = f"{len(pages)} hard synthetic pages, fonts not trained on"
    yield Figure("detection", f"recall at IoU {MATCH_IOU}, {name}", measured["recall"])
    yield Figure("detection", f"precision at IoU {MATCH_IOU}, {name}", measured["precision"])


def page_figures(detector: Any, reader: Any, pages: list[SamplePage]) -> Iterator[Figure]:
    """docTR's ocr_predictor at default thresholds on the sample pages: found, falsely found, read right."""
    predictor = ocr_predictor(detector, reader)
    places, readings = LocalizationConfusion(iou_thresh=MATCH_IOU), OCRMetric(iou_thresh=MATCH_IOU)
    for page in pages:
        boxes, values = words_of(predictor([page.image]).pages[0])
        scale = np.array(page.image.shape[1::-1] * 2)
        truth, found = ((part * scale).round().astype(int) for part in (page.boxes, boxes))
        places.update(gts=truth, preds=found)
        readings.update(gt_boxes=truth, pred_boxes=found, gt_labels=list(page.values), pred_labels=values)
    recall, precision, _ = places.summary()
    words = sum(len(page.values) for page in pages)
    where = f"{len(pages)} sample pages, {words} words"
    yield Figure("detection", f"recall at IoU {MATCH_IOU}, {where}", recall or 0.0, aim=0.95)
    yield Figure("detection", f"precision at IoU {MATCH_IOU}, {where}", precision or 0.0, aim=0.95)
    yield Figure("both", f"read right end to end, {where}", readings.summary()[0]["raw"] or 0.0, aim=0.90)


def words_of(page: Any) -> tuple[np.ndarray, list[str]]:
    """The words of a docTR page: relative boxes, float (N, 4), and values."""
    words = [word for block in page.blocks for line in block.lines for word in line.words]
    boxes = np.asarray([[*word.geometry[0], *word.geometry[1]] for word in words], dtype=float)
    return boxes.reshape(-1, 4), [word.value for word in words]


def measure(store: Path, samples: Path) -> tuple[list[Figure], dict[str, Stored | None]]:
    """Every figure that the models of `store` allow, and those models by task."""
    models = {task: read_model(store, task) for task in ("recognition", "detection")}
    writer, fonts = Writer(find_words()), find_fonts()
    reader, detector = models["recognition"], models["detection"]
    figures: list[Figure] = []
    if reader:
        figures += recognition_figures(reader.model, samples, writer, fonts)
    if detector:
        figures += detection_figures(detector.model, writer, fonts)
    if reader and detector:
        figures += page_figures(detector.model, reader.model, sample_pages(samples))
    return figures, models


def print_table(figures: list[Figure]) -> None:
    """One line per figure, with its aim."""
    width = max((len(figure.name) for figure in figures), default=0)
    for figure in figures:
        aim = "" if figure.aim is None else f"aim {figure.aim:.2f}  {'missed' if figure.missed else 'met'}"
        print(f"{figure.task:<12} {figure.name:<{width}}  {figure.value:.3f}  {aim}".rstrip())


def write_measured(store: Path, figures: list[Figure], models: dict[str, Stored | None]) -> None:
    """Replace the figures on the cards of `store`; both cards have the end-to-end figure."""
    for task, stored in models.items():
        if stored:
            own = {figure.name: round(figure.value, 3) for figure in figures if figure.task in (task, "both")}
            write_card(store, stored.card | {"measured": own})


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--store", type=Path, default=Path("samples/weights"), help="folder of .pt and .json")
    line.add_argument("--samples", type=Path, default=Path("samples"))
    line.add_argument("--threads", type=int, default=2)
    line.add_argument("--write-cards", action="store_true", help="write the figures into the store's cards")
    return line


def main() -> int:
    """Run the command line; 1 if an aim is missed or not measured, 2 if an input is missing."""
    given = parser().parse_args()
    torch.set_num_threads(given.threads)
    try:
        figures, models = measure(given.store, given.samples)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_table(figures)
    missing = [task for task, stored in models.items() if stored is None]
    for task in missing:
        print(f"{task:<12} not measured, nor end to end: no {task} model in {given.store}")
    if given.write_cards:
        write_measured(given.store, figures, models)
    return 1 if missing or any(figure.missed for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
