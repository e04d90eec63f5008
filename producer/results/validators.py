"""Kinds of values that readings can be checked for: numbers with check digits, and dates."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

from stdnum import ean, iban, iso6346

MAX_VALUE = 100
"""Maximum characters of a reading that is looked at: no valid one is longer."""

DATES = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%d.%m.%y",
    "%d/%m/%Y",
    "%d/%m/%y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d-%m-%Y",
)
"""Forms of dates that pass."""

VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
VIN_VALUES = dict(
    zip(
        "0123456789ABCDEFGHJKLMNPRSTUVWXYZ",
        (*range(10), *range(1, 9), *range(1, 6), 7, 9, *range(2, 10)),
        strict=True,
    )
)
"""Weights and values of the check digit of a VIN: 49 CFR 565.15."""

CHECKED_VINS = "12345L"
"""First characters of VINs that must have the digit: North America's, by that rule; China's, by GB 16735."""


def _is_vin(value: str) -> bool:
    vin = value.upper().replace(" ", "").replace("-", "")
    if not re.fullmatch(r"[0-9A-HJ-NPR-Z]{17}", vin, re.ASCII):
        return False
    if vin[0] not in CHECKED_VINS:
        return True
    rest = (
        sum(VIN_VALUES[character] * weight for character, weight in zip(vin, VIN_WEIGHTS, strict=True)) % 11
    )
    return vin[8] == "0123456789X"[rest]


def _is_date(value: str) -> bool:
    return any(_parses(value.strip(), form) for form in DATES)


def _parses(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _is_gtin(value: str) -> bool:
    return bool(ean.is_valid(value))


VALIDATORS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "iban": lambda value: bool(iban.is_valid(value)),
        "gtin": _is_gtin,
        "vin": _is_vin,
        "iso6346": lambda value: bool(iso6346.is_valid(value)),
        "date": _is_date,
    }
)
"""By name: whether a reading is one. Spaces and separators do not matter."""


def fits(value: str, names: tuple[str, ...]) -> bool:
    """Return whether a reading is valid by one of the validators."""
    return len(value) <= MAX_VALUE and any(VALIDATORS[name](value) for name in names)
