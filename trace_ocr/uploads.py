"""Files that are read at once: `POST /recognition/`, `/ocr/`, `/detection/`, `/kie/`."""

import mimetypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from trace_ocr.exchange import Api, Flow, Request

Upload = str | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str]
"""A file to read: its path; or its name and bytes, and its media type if the name does not say it."""

Part = tuple[str, bytes, str]
"""A file's name, bytes and media type."""

T = TypeVar("T")


def read_files(files: Iterable[Upload]) -> list[Part]:
    """Return what is sent of each file; raises OSError if one cannot be read."""
    return [_part(file) for file in files]


def uploaded(
    api: Api, kind: str, files: Iterable[Part], parameters: Mapping[str, object], type_: type[T]
) -> Flow[list[T]]:
    """Have files read by the workers; return a result per image or page, in their order.

    Args:
        type_: what each result is
        parameters: those that are None are left to the server
    """
    content = {
        "files": [("files", part) for part in files],
        "params": {name: value for name, value in parameters.items() if value is not None},
    }
    return api.call(Request("POST", f"{kind}/", content), list[type_])  # type: ignore[valid-type]


def _part(file: Upload) -> Part:
    if not isinstance(file, tuple):
        path = Path(file)
        return path.name, path.read_bytes(), _media_type(path.name)
    if len(file) == 3:
        return file
    return file[0], file[1], _media_type(file[0])


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
