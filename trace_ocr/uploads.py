"""Files that are read at once: `POST /recognition/`, `/ocr/`, `/detection/`, `/kie/`."""

import mimetypes
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from trace_ocr.exchange import Api, Flow, Request

Upload = str | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str]
"""A file to read: its path; or its name and bytes, and its media type if the name does not say it."""

Regions = Sequence[Sequence[object] | None] | Mapping[str, Sequence[object] | None]
"""The regions of each file, in order or by file name; None for a file that is read whole.

A region is `[x_min, y_min, x_max, y_max]`, a polygon `[[x, y], ...]`, or a dict with one of these as
"region", and optionally its "unit", "px" or "rel", and its "name". Coordinates may be NumPy's.
"""

Part = tuple[str, bytes, str]
"""A file's name, bytes and media type."""

T = TypeVar("T")


def read_files(files: Iterable[Upload]) -> list[Part]:
    """Return what is sent of each file; raises OSError if one cannot be read."""
    return [_part(file) for file in files]


def uploaded(
    api: Api,
    kind: str,
    files: Iterable[Part],
    regions: Regions | None,
    parameters: Mapping[str, object],
    type_: type[T],
) -> Flow[list[T]]:
    """Have files read by the workers; return a result per image, page or region, in their order.

    Args:
        regions: None if all files are read whole
        type_: what each result is
        parameters: those that are None are left to the server
    """
    content = {
        "files": [("files", part) for part in files],
        "data": {} if regions is None else {"regions": _json(regions)},
        "params": {name: value for name, value in parameters.items() if value is not None},
    }
    return api.call(Request("POST", f"{kind}/", content), list[type_])  # type: ignore[valid-type]


def _json(regions: Regions) -> str:
    return msgspec.json.encode(regions, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a region is made of numbers, not of {type(value).__name__}")


def _part(file: Upload) -> Part:
    if not isinstance(file, tuple):
        path = Path(file)
        return path.name, path.read_bytes(), _media_type(path.name)
    if len(file) == 3:
        return file
    return file[0], file[1], _media_type(file[0])


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
