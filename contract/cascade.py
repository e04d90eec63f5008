"""The `recognition_model` parameter: a model, or a cascade such as `crnn_mobilenet_v3_small>parseq@0.93`."""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from contract.architectures import NAME

MAX_SPECIFICATION = 220
"""Maximum characters: two names of a model, and a threshold."""

_CASCADE = re.compile(rf"({NAME})>({NAME})@(\d*\.?\d+)")


class Cascade(NamedTuple):
    """Two models: the second reads what the first gave a confidence below the threshold, 0..1."""

    first: str
    second: str
    threshold: float


def parse_cascade(specification: str) -> Cascade | None:
    """Return the cascade that a `recognition_model` describes; None if it names one model.

    Raises:
        ValueError: it is neither
    """
    if re.fullmatch(NAME, specification):
        return None
    found = _CASCADE.fullmatch(specification)
    if found is None:
        raise ValueError(
            "a model's name has up to 100 letters, digits, '.', '_' and '-'; a cascade is two of them and a "
            "threshold, such as crnn_mobilenet_v3_small>parseq@0.93"
        )
    first, second, threshold = found[1], found[2], float(found[3])
    if first == second or not 0 < threshold <= 1:
        raise ValueError("a cascade has two different models and a threshold above 0 and up to 1")
    return Cascade(first, second, threshold)


def models_in(specification: str) -> tuple[str, ...]:
    """Return the names of the models in a `recognition_model`."""
    cascade = parse_cascade(specification)
    return (cascade.first, cascade.second) if cascade else (specification,)


def _checked(specification: str) -> str:
    parse_cascade(specification)
    return specification


RecognitionModel = Annotated[str, Field(min_length=1, max_length=MAX_SPECIFICATION), AfterValidator(_checked)]
