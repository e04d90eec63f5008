"""The kinds of jobs: one module each, which describes its kind as `KIND`."""

import copy
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

from pydantic import Field
from pydantic.fields import FieldInfo

from contract.kinds.base import Kind
from contract.registry import Registry

DEFAULT_KIND = "recognition"
"""The kind of a job that does not name one."""

KINDS: Registry[Kind] = Registry(
    "contract.kinds", "KIND", ("recognition", "ocr", "detection", "kie", "compare")
)

if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[tuple(KINDS)]
"""A kind's name in records and requests: pydantic, msgspec and OpenAPI see the list of kinds."""


def job_parameters() -> dict[str, FieldInfo]:
    """Return the parameters of all kinds by name; the same name means the same in every kind."""
    found: dict[str, FieldInfo] = {}
    for kind in KINDS.values():
        for name, parameter in kind.parameters.model_fields.items():
            found.setdefault(name, parameter)
    return found


def defaults() -> dict[str, Any]:
    """Return the parameters of all kinds as fields for `create_model`, each with its default."""
    return {name: (parameter.annotation, parameter) for name, parameter in job_parameters().items()}


def optional(parameters: dict[str, FieldInfo]) -> dict[str, Any]:
    """Return parameters as fields for `create_model`, all of them optional."""
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        left_out = copy.copy(parameter)
        left_out.default = None
        # Inside, so that validators do not see a None.
        left_out.metadata = []
        annotation: Any = Annotated.__class_getitem__((parameter.annotation, *parameter.metadata, Field()))  # type: ignore[attr-defined]
        fields[name] = (Optional[annotation], left_out)  # noqa: UP045 - the annotation is a value here
    return fields
