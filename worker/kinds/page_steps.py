"""docTR's steps between its models, page by page, so that batches may span pages.

docTR's `OCRPredictor` runs detection on all pages of a call, then cuts out their words, then reads them. Here
each step is a separate call that runs docTR's code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from doctr.models._utils import get_language
from doctr.models.detection._utils import _remove_padding
from doctr.models.predictor.base import _OCRPredictor
from doctr.utils.geometry import detach_scores
from langdetect import DetectorFactory

from contract.kinds.detection import DetectionParameters
from contract.kinds.kie import KieParameters
from worker.kernels.pixels import Pixels
from worker.models.ctc import Prediction
from worker.models.detection import Map, PageResize
from worker.pipeline.batched import Model
from worker.pipeline.run import ModelIdentity

Boxes = npt.NDArray[np.float32]
"""(n, 5), or (n, 5, 2) if pages are not assumed to be straight: boxes and scores, relative to the page."""

Columns = tuple[Any, ...]
"""Boxes, scores, strings and orientations of a page's words."""


class Classify(Protocol):
    """An orientation classifier; `worker.models.orientation.OrientationClassifier` is the real one."""

    def __call__(self, images: list[Pixels]) -> Any: ...


class MapModel(Model[Map], Protocol):
    """The interface of a detection model; `worker.models.detection.Detector` is the real one."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def input_shape(self) -> tuple[int, int, int]: ...

    @property
    def class_names(self) -> list[str]: ...

    def postprocessor(
        self, binary_threshold: float, box_threshold: float, *, assume_straight_pages: bool
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class FoundClass:
    """The words of one class on a page: boxes, scores, pixels, and orientations."""

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    crops: list[Pixels]
    orientations: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page after detection; `dimensions` is (height, width) in pixels, after straightening."""

    dimensions: tuple[int, int]
    orientation: dict[str, Any] | None
    classes: dict[str, FoundClass]

    def without_pixels(self) -> "FoundPage":
        """Return only what `build` needs: the crops are views that keep the whole page in memory."""
        classes = {name: replace(found, crops=[]) for name, found in self.classes.items()}
        return FoundPage(self.dimensions, self.orientation, classes)


class PageSteps:
    """The steps from maps to boxes, with a job's parameters; stateless, so thread-safe."""

    def __init__(self, detector: MapModel, parameters: DetectionParameters) -> None:
        self._class_names = detector.class_names
        self._straight = parameters.assume_straight_pages
        self._padding = {
            "preserve_aspect_ratio": parameters.preserve_aspect_ratio,
            "symmetric_pad": parameters.symmetric_padding,
            "assume_straight_pages": self._straight,
        }
        self.resize = PageResize(
            detector.input_shape,
            preserve_aspect_ratio=parameters.preserve_aspect_ratio,
            symmetric_padding=parameters.symmetric_padding,
        )
        self._boxes_of = detector.postprocessor(
            parameters.binary_threshold, parameters.box_threshold, assume_straight_pages=self._straight
        )

    def boxes(self, page: Pixels, found: Map) -> dict[str, Boxes]:
        """Return the boxes of each class with their scores, relative to the page."""
        per_class = dict(zip(self._class_names, self._boxes_of(found[None])[0], strict=True))
        boxes: dict[str, Boxes] = _remove_padding([page], [per_class], **self._padding)[0]
        return boxes


class WordSteps(PageSteps):
    """The steps from maps to words, and from their strings back to a page.

    Args:
        detector: the detection model
        parameters: the job's parameters
        builder: docTR's document builder
        columns: converts words by class to that builder's arguments
        text_orientation, page_orientation: classifiers; None if the parameters do not need them
    """

    def __init__(
        self,
        detector: MapModel,
        parameters: KieParameters,
        builder: Callable[..., Any],
        columns: Callable[[dict[str, Columns]], Columns],
        text_orientation: Classify | None = None,
        page_orientation: Classify | None = None,
    ) -> None:
        super().__init__(detector, parameters)
        self._detector, self._parameters = detector, parameters
        self._builder, self._columns = builder, columns
        steps: Any = _OCRPredictor()
        self._steps = steps
        self._steps.crop_orientation_predictor = text_orientation
        self._steps.page_orientation_predictor = page_orientation
        # langdetect is random without a seed, but a chunk that is read twice must give the same lines.
        DetectorFactory.seed = 0

    def find(self, page: Pixels, found: Map) -> FoundPage:
        """Return the words of a page, cut out and upright, from the detection model's map."""
        parameters = self._parameters
        angle = None
        if parameters.detect_orientation or parameters.straighten_pages:
            page, found, angle = self._turned(page, found)
        classes = {name: self._cut(page, boxes) for name, boxes in self.boxes(page, found).items()}
        orientation = None if angle is None else {"value": angle, "confidence": None}
        return FoundPage(page.shape[:2], orientation, classes)

    def build(self, found: FoundPage, words: Mapping[str, Sequence[Prediction]]) -> Any:
        """Return docTR's page from the words found and their predictions."""
        empty = np.zeros((0, 0, 3), np.uint8)
        boxes, scores, texts, turned = self._columns(
            {
                name: (one.boxes, one.scores, list(words[name]), one.orientations)
                for name, one in found.classes.items()
            }
        )
        language = self._language(words)
        return self._builder(
            [empty], [boxes], [scores], [texts], [found.dimensions], [turned],
            [found.orientation] if found.orientation else None, [language] if language else None,
        ).pages[0]  # fmt: skip

    def _language(self, words: Mapping[str, Sequence[Prediction]]) -> dict[str, Any] | None:
        if not self._parameters.detect_language:
            return None
        value, confidence = get_language(" ".join(value for read in words.values() for value, _ in read))
        return {"value": value, "confidence": confidence}

    def _turned(self, page: Pixels, found: Map) -> tuple[Pixels, Map, int | None]:
        """Return the page, straightened if requested, with its map; and its angle if requested, else None."""
        parameters = self._parameters
        likely = np.amax(found, axis=-1, keepdims=True) > parameters.binary_threshold
        bitmap = likely.astype(np.uint8) * 255
        general = angles = None
        if parameters.detect_orientation:
            general, angles = self._steps._get_orientations([page], [bitmap])
        if parameters.straighten_pages:
            (page,), _ = self._steps._straighten_pages([page], [bitmap], general, angles)
            (found,) = self._detector.read(self.resize(page)[None])
        return page, found, angles[0] if angles else None

    def _cut(self, page: Pixels, boxes: Boxes) -> FoundClass:
        """Cut a class's words out of the page, and turn them upright."""
        places, scores = detach_scores([boxes])
        crops, places = self._steps._prepare_crops(
            [page],
            places,
            assume_straight_pages=self._straight,
            assume_horizontal=self._parameters.disable_page_orientation,
        )
        turned: list[dict[str, Any]] = [{"value": 0, "confidence": None} for _ in crops[0]]
        if not self._straight:
            crops, places, orientations = self._steps._rectify_crops(crops, places)
            turned = [{"value": value, "confidence": sure} for value, sure in orientations]
        return FoundClass(places[0], scores[0], crops[0], turned)


def columns_of_one_class(classes: dict[str, Columns]) -> Columns:
    """Return the columns of the only class: grouping needs exactly one, as in docTR."""
    (columns,) = classes.values()
    return columns


def columns_by_class(classes: dict[str, Columns]) -> Columns:
    """Return the columns, each by class."""
    return tuple({name: columns[i] for name, columns in classes.items()} for i in range(4))
