"""`compare`: a crop in, what each of several models reads out."""

from collections.abc import Iterable
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from contract.cascade import RecognitionModel, models_in
from contract.errors import UnsupportedUriError
from contract.kinds.base import Excerpt, Kind, WantedModel, json_value
from contract.kinds.crops import CropParameters
from contract.kinds.recognition import ReadingParameters
from contract.lines import CompareLine
from contract.storage import absolute

MAX_MODELS = 8
"""Maximum models of one comparison: a line holds a reading of each."""

BALANCED_AND_ACCURATE = ("crnn_vgg16_bn", "parseq")
"""The default: what the Trace OCR API calls its balanced model, and one of its most accurate."""

TUNING = frozenset({"recognition_batch_size", "truth", "by", "target_precision"})


def _split(value: Any) -> Any:
    """Return the names in a comma-separated string, in a JSON list, or in a list of such strings."""
    if isinstance(value, str) and value.startswith("["):
        value = json_value(value)
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, Iterable) and all(isinstance(text, str) for text in texts):
        return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
    return value


def _several(models: tuple[str, ...]) -> tuple[str, ...]:
    if not 2 <= len(set(models)) == len(models):
        raise ValueError("name at least two different models, such as crnn_vgg16_bn,parseq")
    return models


Models = Annotated[tuple[RecognitionModel, ...], BeforeValidator(_split), AfterValidator(_several)]


class CompareParameters(CropParameters, ReadingParameters):
    """Parameters of `/compare`, which is not in the Trace OCR API."""

    models: Models = Field(
        BALANCED_AND_ACCURATE,
        max_length=MAX_MODELS,
        description=f"comma-separated models to compare, 2 to {MAX_MODELS}: each as in recognition_model",
    )
    truth: str | None = Field(
        None,
        max_length=4096,
        description="file with the correct texts: docTR's labels.json, path<TAB>text, CSV or JSONL; "
        "a manifest's labels need no file",
    )
    by: str | None = Field(
        None,
        max_length=200,
        description="what accuracy is also reported by: 'folder', or a column of the truth",
    )
    target_precision: float = Field(
        0.995,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="share of accepted readings that must be right; the report names each model's threshold",
    )

    @field_validator("truth")
    @classmethod
    def _absolute(cls, truth: str | None) -> str | None:
        try:
            return truth and absolute(truth)
        except UnsupportedUriError as error:
            raise ValueError(str(error)) from error

    def inputs(self) -> tuple[str, ...]:
        """Return the truth."""
        return (self.truth,) if self.truth else ()

    def wanted_models(self) -> tuple[WantedModel, ...]:
        """Return each model once, also those that only cascades name."""
        return tuple(WantedModel("models", "recognition", name) for name in names_in(self.models))


def names_in(models: Iterable[str]) -> tuple[str, ...]:
    """Return the names of all models in specifications, each once, in the order of their first place."""
    return tuple(dict.fromkeys(name for specification in models for name in models_in(specification)))


def _excerpt(line: CompareLine) -> Excerpt:
    """Return the text that all models read, or the different ones."""
    values = dict.fromkeys(reading.value for reading in line.readings)
    return Excerpt(" | ".join(values), fmean(reading.confidence for reading in line.readings))


KIND = Kind(
    name="compare",
    help="crops to the texts of several models",
    parameters=CompareParameters,
    line=CompareLine,
    unit="crop",
    chunk_size=1024,
    batch="recognition_batch_size",
    tuning=TUNING,
    excerpt=_excerpt,
)
