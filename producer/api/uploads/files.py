"""Check a request's files, send them to the workers and return their lines."""

import asyncio
from typing import cast

from fastapi import HTTPException, UploadFile

from contract.broker.uploads import MEDIA_TYPES, Answer, MediaType
from contract.kinds.base import Kind, Parameters
from contract.settings import Settings
from producer.api.services import Services
from producer.api.uploads.desk import File

DECIMALS = 2
"""Decimals of a score over HTTP, as in the Trace OCR API; jobs do not round."""

SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF": "application/pdf"}
"""First bytes of accepted files, for files sent without a media type."""

UNTYPED = (None, "", "application/octet-stream")


async def lines_of(
    files: list[UploadFile], kind: Kind, parameters: Parameters, services: Services
) -> list[tuple[str, bytes]]:
    """Return the file name and JSON line of each page, in the order of the files; an image is one page.

    Raises:
        HTTPException: a file is refused, or cannot be read
        NoWorkerError: no worker is alive
        BusyError, TooSlowError: as `UploadDesk.read`
    """
    settings = services.settings
    if len(files) > settings.api_max_files:
        raise HTTPException(413, f"more than {settings.api_max_files:,} files: send fewer at once")
    read = [await _file(file, settings) for file in files]
    await asyncio.to_thread(services.require_worker)
    with services.metrics.upload_timed(kind.name):
        answers = await services.desk.read(read, kind, parameters)
    return [(file.name, line) for file, answer in zip(read, answers, strict=True) for line in _lines(answer)]


async def _file(file: UploadFile, settings: Settings) -> File:
    name = file.filename or "upload"
    if file.size is not None and file.size > settings.max_bytes:
        raise HTTPException(413, f"{name} is larger than {settings.max_bytes:,} bytes")
    data = await file.read()
    media_type = file.content_type
    if media_type in UNTYPED:
        media_type = next((kind for start, kind in SIGNATURES.items() if data.startswith(start)), media_type)
    if media_type not in MEDIA_TYPES:
        raise HTTPException(400, f"Unsupported file format: {media_type} for file {name}")
    return File(name, cast("MediaType", media_type), data)


def _lines(answer: Answer) -> tuple[bytes, ...]:
    if answer.error:
        raise HTTPException(400 if answer.fault == "upload" else 503, answer.error)
    return tuple(bytes(line) for line in answer.lines)
