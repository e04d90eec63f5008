"""docTR's own reading of the sample pages: the same weights, its predictors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from doctr.io import DocumentFile
from doctr.models import crop_orientation_predictor, page_orientation_predictor
from PIL import Image

from contract.kinds.kie import KieParameters
from contract.kinds.ocr import OcrParameters
from contract.model_store import ModelStore
from contract.records import Item
from worker.models.doctr_models import load_model
from worker.models.orientation import CROP_ORIENTATION, PAGE_ORIENTATION

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
CPU = "cpu"

MODELS = {"detection_model": "linknet_resnet18", "recognition_model": "crnn_mobilenet_v3_small"}


def sample_items() -> list[Item]:
    """The eight sample pages: three images, three of a PDF, two of a TIFF."""
    folder = SAMPLES / "pages"
    images = [Item(name, str(folder / name)) for name in ("invoice.png", "letter.jpg", "receipt.png")]
    pdf = [Item(f"ledger.pdf#page={page}", str(folder / "ledger.pdf"), page=page) for page in (1, 2, 3)]
    tiff = [Item(f"scan.tiff#page={page}", str(folder / "scan.tiff"), page=page) for page in (1, 2)]
    return [*images, *pdf, *tiff]


def pixels_of(item: Item) -> Any:
    """Return a page as docTR reads it; of a TIFF, which it reads the first frame of, as Pillow does."""
    if item.uri.endswith(".pdf"):
        return DocumentFile.from_pdf(item.uri)[(item.page or 1) - 1]
    if item.uri.endswith(".tiff"):
        with Image.open(item.uri) as image:
            image.seek((item.page or 1) - 1)
            return np.array(image.convert("RGB"))
    return DocumentFile.from_images([item.uri])[0]


def doctrs_predictor(make: Callable[..., Any], store: ModelStore, parameters: KieParameters) -> Any:
    """Return docTR's own predictor with the same weights and parameters."""
    detection, _ = load_model("detection", parameters.detection_model, store, CPU)
    recognition, _ = load_model("recognition", parameters.recognition_model, store, CPU)
    grouping = (
        {
            "resolve_lines": parameters.group_lines,
            "resolve_blocks": parameters.group_blocks,
            "paragraph_break": parameters.paragraph_break,
        }
        if isinstance(parameters, OcrParameters)
        else {}
    )
    predictor = make(
        detection,
        recognition,
        assume_straight_pages=parameters.assume_straight_pages,
        preserve_aspect_ratio=parameters.preserve_aspect_ratio,
        symmetric_pad=parameters.symmetric_padding,
        detect_orientation=parameters.detect_orientation,
        detect_language=parameters.detect_language,
        straighten_pages=parameters.straighten_pages,
        # Otherwise it would download the classifiers; they are put in place below.
        disable_page_orientation=True,
        disable_crop_orientation=True,
        **grouping,
    )
    predictor.det_predictor.model.postprocessor.bin_thresh = parameters.binary_threshold
    predictor.det_predictor.model.postprocessor.box_thresh = parameters.box_threshold
    predictor._page_orientation_disabled = parameters.disable_page_orientation
    if not parameters.disable_page_orientation and predictor.page_orientation_predictor is not None:
        model, _ = load_model("orientation", PAGE_ORIENTATION, store, CPU)
        predictor.page_orientation_predictor = page_orientation_predictor(model)
    if not parameters.disable_text_orientation and predictor.crop_orientation_predictor is not None:
        model, _ = load_model("orientation", CROP_ORIENTATION, store, CPU)
        predictor.crop_orientation_predictor = crop_orientation_predictor(model)
    return predictor
