"""`recognition`: a crop in, its text out."""

from types import MappingProxyType

from pydantic import Field

from contract.architectures import RECOGNITION_MODELS, RecognitionModel
from contract.kinds.base import Excerpt, Kind, Parameters
from contract.lines import RecognitionLine

MAX_BATCH_SIZE = 4096
"""Maximum crops in a batch: beyond some hundreds even a large GPU gains nothing."""

TUNING = frozenset({"recognition_batch_size"})


class RecognitionParameters(Parameters):
    """Parameters of `/recognition`."""

    recognition_model: RecognitionModel = Field(
        "crnn_vgg16_bn", description="recognition architecture: " + ", ".join(RECOGNITION_MODELS)
    )
    recognition_batch_size: int = Field(
        128,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="crops per batch of the recognition model; lower it if memory is short",
    )


KIND = Kind(
    name="recognition",
    help="crops to text",
    parameters=RecognitionParameters,
    line=RecognitionLine,
    unit="crop",
    chunk_size=1024,
    batch="recognition_batch_size",
    tuning=TUNING,
    excerpt=lambda line: Excerpt(line.value, line.confidence),
    aliases=MappingProxyType({"reco_arch": "recognition_model", "reco_bs": "recognition_batch_size"}),
    unanswered=frozenset({"id", "label", "note"}),
)
