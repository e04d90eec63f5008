"""The `regions` of a request with images: which parts of each file are read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import HTTPException

from contract.counting import counted
from contract.kinds.base import json_value
from contract.region import MAX_NAME, Region, region_of

Regions = tuple[Region, ...]

MAX_REGIONS_BYTES = 2**20
"""Maximum bytes of a form field that is no file: starlette's `max_part_size`."""

FORM = "a list with a list of regions for each file, or an object of such lists by file name"

EXAMPLES = [
    '[[[10, 20, 300, 60], {"region": [[10, 80], [300, 90], [298, 130], [8, 120]], "name": "total"}]]',
    '{"form.png": [{"region": [0.1, 0.2, 0.4, 0.25], "unit": "rel", "name": "date"}]}',
]

DESCRIPTION = f"""Parts of the images that are read instead of the whole images, as JSON: {FORM}.
A region is `[x_min, y_min, x_max, y_max]`, `[[x, y], [x, y], [x, y], ...]`, or an object with one of these as
`region`, and optionally its `unit`, `px` (default) or `rel`, and its `name`. A region without a name gets its
number in its file, counted from 1. A file whose entry is null or missing is read whole; one with an empty
list has no elements. At most {MAX_REGIONS_BYTES:,} bytes."""


def regions_of(text: str, names: Sequence[str], limit: int) -> list[Regions | None]:
    """Return the regions of each file in a request's field; None for a file that is read whole.

    A region that is malformed has a `fault`, so that it costs its own element only.

    Args:
        names: of the request's files
        limit: maximum regions of all files together

    Raises:
        HTTPException: the field is not of this form, or has too many regions
    """
    try:
        given = json_value(text)
    except ValueError as error:
        raise _refused(f"it is not JSON ({error})") from error
    of_files = list(_of_files(given, names))
    total = sum(len(regions) for regions, _ in of_files if regions is not None)
    if total > limit:
        raise HTTPException(
            413,
            f"regions: there are {total:,}, the limit is {limit:,} for one request: send fewer at once, or "
            "submit them as a job",
        )
    return [None if regions is None else tuple(_numbered(regions, name)) for regions, name in of_files]


def _of_files(given: Any, names: Sequence[str]) -> Iterator[tuple[list[Any] | None, str]]:
    """Yield what is given for each file, and the file's name."""
    if isinstance(given, dict):
        given = _in_order(given, names)
    if not isinstance(given, list):
        raise _refused(f"give {FORM}")
    if len(given) != len(names):
        raise _refused(
            f"the list has {counted(len(given), 'entry', 'entries')} for {counted(len(names), 'file')}"
        )
    for regions, name in zip(given, names, strict=True):
        if regions is not None and not isinstance(regions, list):
            raise _refused(f"what is given for {name} is no list of regions")
        yield regions, name


def _in_order(given: dict[str, Any], names: Sequence[str]) -> list[Any]:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise _refused(f"no file is named {unknown[0]!r}")
    repeated = [name for name, count in Counter(names).items() if count > 1 and name in given]
    if repeated:
        raise _refused(f"several files are named {repeated[0]!r}: give a list")
    return [given.get(name) for name in names]


def _numbered(regions: list[Any], file: str) -> Iterator[Region]:
    for number, value in enumerate(regions, 1):
        shape, unit, name = value, "px", str(number)
        if isinstance(value, dict):
            unknown = value.keys() - {"region", "unit", "name"}
            if unknown:
                raise _refused(f"region {number:,} of {file} has an unknown field {min(unknown)!r}")
            shape, unit = value.get("region"), value.get("unit", unit)
            name = value.get("name", name)
        elif not isinstance(value, list):
            raise _refused(f"region {number:,} of {file} is {str(value)[:20]!r}, no list and no object")
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
            raise _refused(
                f"the name of region {number:,} of {file} is no text of 1 to {MAX_NAME} characters"
            )
        yield region_of(shape, unit, name)


def _refused(reason: str) -> HTTPException:
    return HTTPException(400, f"regions: {reason}")
