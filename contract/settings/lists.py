"""Lists as they are written in a variable, a flag or the settings file."""

import ipaddress
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator

from contract.kinds.base import json_value

T = TypeVar("T")


def _split(value: object) -> object:
    if isinstance(value, str) and value.startswith("["):  # a JSON list, for values that contain commas
        return json_value(value)
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        ipaddress.ip_network(network)
    return value


COMMAS = BeforeValidator(_split)
"""Makes a field of a tuple take text with commas, or a JSON list."""

Listed = Annotated[tuple[T, ...], COMMAS]

Networks = Annotated[Listed[str], AfterValidator(_check_networks)]
"""IP networks such as 10.1.0.0/16."""
