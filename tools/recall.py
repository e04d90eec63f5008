"""Share of the words of labelled pages that a job found and read: `python -m tools.recall RESULTS TRUTH`."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from doctr.utils.metrics import LocalizationConfusion, OCRMetric

MATCH_IOU = 0.5
"""Overlap from which a box counts as found: docTR's own default."""

Words = tuple[Any, list[str]]
"""Boxes, (n, 4) float32 relative to the page, and their texts."""


def recall_of(lines: Iterable[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
    """Return recall and precision of the words found, and of those found and read right, by docTR's metrics.

    Args:
        lines: lines of an ocr job of straight pages
        truth: the words of each page, by `<name>#<page>`; `lines` must have all of these pages
    """
    pages = {f"{line['name']}#{line['page']}": line for line in lines}
    found, read = LocalizationConfusion(MATCH_IOU), OCRMetric(MATCH_IOU)
    for name, labels in truth.items():
        (real_boxes, real_texts), (boxes, texts) = _words(labels["words"]), _words(_of_page(pages[name]))
        found.update(real_boxes, boxes)
        read.update(real_boxes, boxes, real_texts, texts)
    (recall, precision, _), (read_recall, read_precision, _) = found.summary(), read.summary()
    return {
        "words found, recall": recall or 0.0,
        "words found, precision": precision or 0.0,
        "words read right, recall": read_recall["raw"] or 0.0,
        "words read right, precision": read_precision["raw"] or 0.0,
    }


def _of_page(line: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = line["pages"][0]["blocks"]
    return [word for block in blocks for text_line in block["lines"] for word in text_line["words"]]


def _words(words: list[dict[str, Any]]) -> Words:
    boxes = np.array([word["geometry"] for word in words], np.float32).reshape(-1, 4)
    return boxes, [word["value"] for word in words]


def main() -> None:
    """Print the figures."""
    results, truth = (Path(name).read_text(encoding="utf-8") for name in sys.argv[1:])
    for name, share in recall_of(map(json.loads, results.splitlines()), json.loads(truth)).items():
        print(f"{name:30} {share:.3f}")


if __name__ == "__main__":
    main()
