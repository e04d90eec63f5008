"""What each kind of job reads with: its models, its stage, its batches."""

from dataclasses import dataclass
from typing import Any

from contract.kinds.base import Parameters
from contract.kinds.detection import DetectionParameters
from contract.kinds.kie import KieParameters
from contract.kinds.ocr import OcrParameters
from contract.kinds.recognition import RecognitionParameters
from worker.kinds.page_steps import PageSteps
from worker.kinds.pages import DetectionStage, NothingToRead, WordStage
from worker.kinds.recognition import CropStage
from worker.models.detection import Detector
from worker.models.orientation import CROP_ORIENTATION, DISABLED, PAGE_ORIENTATION, OrientationClassifier
from worker.models.pool import ModelPool
from worker.models.recognition import Recogniser
from worker.pipeline.run import Reader, Stage

PREFETCH_BATCHES = 2
"""Batches' worth of images decoded ahead of the model: one being filled while one waits."""


@dataclass(frozen=True)
class Models:
    """The models of one process."""

    recognisers: ModelPool[Recogniser]
    detectors: ModelPool[Detector]
    orientations: ModelPool[OrientationClassifier]


@dataclass(frozen=True)
class Reading:
    """A kind of job, made ready.

    Args:
        batch_size: samples per batch of the model that reads last
        prefetch: images decoded ahead of the first model
        model, detection_model: what the summary says of the model that reads last, and of the one before it
    """

    stage: Stage
    reader: Reader
    batch_size: int
    prefetch: int
    model: dict[str, str]
    detection_model: dict[str, str] | None = None


def make_reading(parameters: Parameters, models: Models) -> Reading:
    """Return what a job with these parameters reads with; its models are loaded at their first use.

    Raises:
        ModelUnavailableError, UnfitWorkerError: as `ModelPool.get`
    """
    if isinstance(parameters, DetectionParameters):
        return _pages(parameters, models)
    assert isinstance(parameters, RecognitionParameters)
    recogniser = models.recognisers.get(parameters.recognition_model)
    size = parameters.recognition_batch_size
    return Reading(CropStage(), recogniser, size, PREFETCH_BATCHES * size, recogniser.identity)


def _pages(parameters: DetectionParameters, models: Models) -> Reading:
    detector = models.detectors.get(parameters.detection_model)
    size = parameters.detection_batch_size
    if not isinstance(parameters, KieParameters):
        stage = DetectionStage(PageSteps(detector, parameters), detector, size)
        reader = NothingToRead(detector)
        return Reading(stage, reader, size, PREFETCH_BATCHES * size, detector.identity)
    assert isinstance(parameters, RecognitionParameters)
    recogniser = models.recognisers.get(parameters.recognition_model)
    steps = PageSteps(detector, parameters, *_orientations(parameters, models))
    words = WordStage(steps, detector, size, group=isinstance(parameters, OcrParameters))
    return Reading(
        words,
        recogniser,
        parameters.recognition_batch_size,
        PREFETCH_BATCHES * size,
        recogniser.identity,
        detector.identity,
    )


def _orientations(parameters: KieParameters, models: Models) -> tuple[Any, Any]:
    """Return the classifiers of words and of pages, where the parameters ask for them."""
    words = pages = None
    if not parameters.assume_straight_pages:
        words = DISABLED if parameters.disable_text_orientation else models.orientations.get(CROP_ORIENTATION)
    if parameters.detect_orientation or parameters.straighten_pages:
        pages = DISABLED if parameters.disable_page_orientation else models.orientations.get(PAGE_ORIENTATION)
    return words, pages
