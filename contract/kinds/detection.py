"""`detection`: a page in, the boxes of its words out."""

from pydantic import Field

from contract.architectures import DETECTION_MODELS, ModelName
from contract.counting import counted
from contract.kinds.base import Excerpt, Kind, WantedModel
from contract.kinds.documents import DocumentParameters
from contract.lines import DetectionLine, WordBox

MAX_PAGE_BATCH_SIZE = 256
"""Maximum pages in a batch: each is 3 MB as bytes, 12 MB as floats."""

PAGES_PER_CHUNK = 32
"""A minute or less of work on one GPU."""

TUNING = frozenset({"detection_batch_size"})


class DetectionParameters(DocumentParameters):
    """Parameters of `/detection`."""

    detection_model: ModelName = Field(
        "db_resnet50",
        description="name in the model store, or architecture: " + ", ".join(DETECTION_MODELS),
    )
    detection_batch_size: int = Field(
        2, ge=1, le=MAX_PAGE_BATCH_SIZE, description="pages per batch of the detection model"
    )
    assume_straight_pages: bool = Field(
        True, description="text is parallel to the page's edges; if false, boxes are polygons of four corners"
    )
    preserve_aspect_ratio: bool = Field(True, description="pad pages instead of stretching them")
    symmetric_padding: bool = Field(True, description="pad pages on both sides instead of one")
    binary_threshold: float = Field(
        0.1, ge=0, le=1, allow_inf_nan=False, description="minimum probability that a pixel belongs to text"
    )
    box_threshold: float = Field(
        0.1, ge=0, le=1, allow_inf_nan=False, description="minimum detection score of a box"
    )

    def wanted_models(self) -> tuple[WantedModel, ...]:
        """Return the detection model, after the models of base classes."""
        return *super().wanted_models(), WantedModel("detection_model", "detection", self.detection_model)


KIND = Kind(
    name="detection",
    help="pages to the boxes of their words",
    parameters=DetectionParameters,
    line=DetectionLine,
    unit="page",
    chunk_size=PAGES_PER_CHUNK,
    batch="detection_batch_size",
    tuning=TUNING,
    excerpt=lambda line: Excerpt(f"{counted(len(line.bounding_boxes), 'word')} found", None),
    words=lambda line: map(WordBox, line.bounding_boxes),
)
