"""`kie` on the device: pages to their words, grouped by the classes of the detection model."""

from collections.abc import Callable
from typing import Any

from doctr.models.builder import KIEDocumentBuilder

from contract.kinds.kie import KieParameters
from worker.kinds.page_lines import kie_line
from worker.kinds.page_steps import WordSteps, columns_by_class
from worker.kinds.pages import PageBatches, ToLine, WordPipeline, decoding_of
from worker.kinds.reading import make_readers
from worker.models.orientation import CROP_ORIENTATION, DISABLED, PAGE_ORIENTATION
from worker.models.pool import Models


def word_pipeline(
    parameters: KieParameters,
    models: Models,
    builder: Callable[..., Any],
    columns: Callable[[dict[str, tuple[Any, ...]]], tuple[Any, ...]],
    to_line: ToLine,
) -> WordPipeline:
    """Return a pipeline that reads words; the kind decides how docTR builds a page from them, and the line.

    Args:
        builder: docTR's document builder
        columns: converts boxes, scores, strings and orientations by class to that builder's arguments
        to_line: makes the line of a page that docTR has built
    """
    detector = models.detectors.get(parameters.detection_model)
    readers = make_readers(parameters, models)
    steps = WordSteps(detector, parameters, builder, columns, *_orientations(parameters, models))
    batches = PageBatches(steps, detector, parameters.detection_batch_size)
    return WordPipeline(
        batches, steps, readers, parameters.recognition_batch_size, to_line, decoding_of(parameters)
    )


def _orientations(parameters: KieParameters, models: Models) -> tuple[Any, Any]:
    """Return the classifiers of words and of pages; None if the parameters do not need one."""
    words = pages = None
    if not parameters.assume_straight_pages:
        words = DISABLED if parameters.disable_text_orientation else models.orientations.get(CROP_ORIENTATION)
    if parameters.detect_orientation or parameters.straighten_pages:
        pages = DISABLED if parameters.disable_page_orientation else models.orientations.get(PAGE_ORIENTATION)
    return words, pages


def _make(parameters: KieParameters, models: Models) -> WordPipeline:
    return word_pipeline(parameters, models, KIEDocumentBuilder(), columns_by_class, kie_line)


PIPELINE = _make
