"""`recognition`: a crop in, its text out."""

from types import MappingProxyType

from pydantic import Field

from contract.architectures import RECOGNITION_MODELS
from contract.cascade import RecognitionModel, models_in
from contract.characters import Characters
from contract.kinds.base import Excerpt, Kind, Parameters, WantedModel
from contract.kinds.crops import CropParameters
from contract.lines import RecognitionLine, corrected

MAX_BATCH_SIZE = 4096
"""Maximum crops in a batch: beyond some hundreds even a large GPU gains nothing."""

TUNING = frozenset({"recognition_batch_size"})


class ReadingParameters(Parameters):
    """Parameters of every kind that reads crops; `characters` is not in the Trace OCR API."""

    recognition_batch_size: int = Field(
        128,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="crops per batch of the recognition model; lower it if memory is short",
    )
    characters: Characters | None = Field(
        None,
        description="what may be read: 'digits' or another vocabulary of docTR's, or a class such as "
        "0-9A-Z-; the model's whole vocabulary by default",
    )


class WordParameters(ReadingParameters):
    """Parameters of every kind that reads with one model, or with a cascade."""

    recognition_model: RecognitionModel = Field(
        "crnn_vgg16_bn",
        description="name in the model store, cascade (FIRST>SECOND@CONFIDENCE), or architecture: "
        + ", ".join(RECOGNITION_MODELS),
    )

    def wanted_models(self) -> tuple[WantedModel, ...]:
        """Return the recognition models, after the models of base classes."""
        names = models_in(self.recognition_model)
        return *super().wanted_models(), *(
            WantedModel("recognition_model", "recognition", name) for name in names
        )


class RecognitionParameters(CropParameters, WordParameters):
    """Parameters of `/recognition`."""


KIND = Kind(
    name="recognition",
    help="crops to text",
    parameters=RecognitionParameters,
    line=RecognitionLine,
    unit="crop",
    chunk_size=1024,
    batch="recognition_batch_size",
    tuning=TUNING,
    reads="value",
    excerpt=lambda line: Excerpt(line.value, line.confidence),
    aliases=MappingProxyType({"reco_arch": "recognition_model", "reco_bs": "recognition_batch_size"}),
    corrected=lambda line, given: corrected(line, *given[None]) if None in given else line,
    unanswered=frozenset({"id", "label", "note", "metadata", "value_read", "corrected_by"}),
)
