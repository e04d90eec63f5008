"""The kinds of jobs: one module each, described by its `KIND`."""

import copy
from typing import TYPE_CHECKING, Any, Literal, Optional

from pydantic.fields import FieldInfo

from contract.kinds.base import Kind
from contract.registry import Registry

DEFAULT_KIND = "recognition"
"""The kind of a job that names none."""

KINDS: Registry[Kind] = Registry("contract.kinds", "KIND", ("recognition", "ocr", "detection", "kie"))

if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[tuple(KINDS)]
"""A kind's name, for records and requests: pydantic, msgspec and OpenAPI see the closed list."""


def job_parameters() -> dict[str, FieldInfo]:
    """Return the parameters of all kinds by name; kinds that share a name share its meaning."""
    found: dict[str, FieldInfo] = {}
    for kind in KINDS.values():
        for name, parameter in kind.parameters.model_fields.items():
            found.setdefault(name, parameter)
    return found


def defaults() -> dict[str, Any]:
    """Return those parameters for `create_model`, each with its default."""
    return {name: (parameter.annotation, parameter) for name, parameter in job_parameters().items()}


def optional(parameters: dict[str, FieldInfo]) -> dict[str, Any]:
    """Return parameters for `create_model`, of which any may be left out."""
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        left_out = copy.copy(parameter)
        left_out.default = None
        fields[name] = (Optional[parameter.annotation], left_out)  # noqa: UP045 - the annotation is a value here
    return fields
