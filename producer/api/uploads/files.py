"""Check a request's files, send them to the workers and return their lines."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import redis
from fastapi import HTTPException, UploadFile

from contract.broker.uploads import MEDIA_TYPES, Answer, MediaType
from contract.counting import counted
from contract.errors import TraceOcrError
from contract.images import pixels_of
from contract.kinds.base import Kind, Parameters
from contract.settings import Settings
from producer.api.services import Services
from producer.api.uploads.desk import File, TooSlowError
from producer.api.uploads.regions import regions_of

DECIMALS = 2
"""Decimals of a score over HTTP, as in the Trace OCR API; jobs do not round."""

SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF": "application/pdf"}
"""First bytes of accepted files, for files sent without a media type."""

PDF = "application/pdf"

UNTYPED = (None, "", "application/octet-stream")


class DamagedAnswerError(TraceOcrError):
    """An answer in Redis is no line of its kind."""


class Read(NamedTuple):
    """What a worker answered for a file, a page or a region: a JSON line, or the error line of a region."""

    file: str
    line: bytes
    region: str | None


async def lines_of(
    files: list[UploadFile],
    regions: str | None,
    kind: Kind,
    parameters: Parameters,
    services: Services,
    caller: str,
    gone: Callable[[], Coroutine[Any, Any, None]],
) -> list[Read]:
    """Return what was read of each page or region, in the order of the files; an image is one page.

    Args:
        regions: the request's field of that name; None if all files are read whole
        caller, gone: as for `UploadDesk.read`

    Raises:
        HTTPException: a file or `regions` are refused, or a file cannot be read
        DamagedAnswerError: a worker did not answer every region
        NoWorkerError: no worker is alive
        BusyError, TooSlowError, SenderGoneError: as `UploadDesk.read`
    """
    settings = services.settings
    if len(files) > settings.api_max_files:
        raise HTTPException(413, f"more than {counted(settings.api_max_files, 'file')}: send fewer at once")
    read = [await _file(file, settings) for file in files]
    if regions is not None:
        read = await asyncio.to_thread(_with_regions, read, regions, settings)
    await asyncio.to_thread(_check_content, read, services)
    await asyncio.to_thread(services.require_worker)
    with services.metrics.upload_timed(kind.name):
        try:
            answers = await services.desk.read(read, kind, parameters, caller, gone)
        except TooSlowError as error:
            raise TooSlowError(f"{error}{await asyncio.to_thread(_why, services)}") from error
    return [one for file, answer in zip(read, answers, strict=True) for one in _read(file, answer)]


def _why(services: Services) -> str:
    """Return what all workers do instead of reading, for the end of a message; empty if unknown."""
    try:
        activity = services.workers.activity()
    except redis.RedisError:
        return ""
    return f"; every worker is still {activity}" if activity else ""


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


def _with_regions(files: list[File], text: str, settings: Settings) -> list[File]:
    regions = regions_of(text, [file.name for file in files], settings.api_max_regions)
    for file, of_file in zip(files, regions, strict=True):
        if of_file is not None and file.media_type == PDF:
            raise HTTPException(400, f"regions: {file.name} is a PDF, and regions are parts of images")
    return [replace(file, regions=of_file) for file, of_file in zip(files, regions, strict=True)]


def _check_content(files: list[File], services: Services) -> None:
    """Refuse a request whose images have too many pixels together, or whose PDFs have too many pages.

    A file that cannot be opened counts as nothing: the worker's answer says what is wrong with it.
    """
    settings = services.settings
    pixels = sum(pixels_of(file.data) or 0 for file in files if file.media_type != PDF)
    if pixels > settings.api_max_pixels:
        raise HTTPException(
            413,
            f"the images have {pixels:,} pixels, the limit is {settings.api_max_pixels:,} for one request: "
            "send fewer at once, or submit them as a job",
        )
    pages = sum(_pages(file.data, services) for file in files if file.media_type == PDF)
    if pages > settings.api_max_pages:
        raise HTTPException(
            413,
            f"the PDFs have {counted(pages, 'page')}, the limit is {settings.api_max_pages:,} for one "
            "request: split them, send fewer at once, or submit them as a job",
        )


def _pages(data: bytes, services: Services) -> int:
    with tempfile.NamedTemporaryFile(prefix="trace-ocr-upload-", suffix=".pdf") as file:
        file.write(data)
        file.flush()
        return services.page_counter.count_file(str(Path(file.name).resolve())) or 0


def _read(file: File, answer: Answer) -> Iterator[Read]:
    if answer.error:
        raise HTTPException(400 if answer.fault == "upload" else 503, answer.error)
    if file.regions is None:
        yield from (Read(file.name, bytes(line), None) for line in answer.lines)
        return
    if len(answer.lines) != len(file.regions):
        raise DamagedAnswerError(
            f"the worker answered {len(answer.lines):,} of {len(file.regions):,} regions of {file.name}: "
            "restart it if it is of an older version"
        )
    for line, region in zip(answer.lines, file.regions, strict=True):
        yield Read(file.name, bytes(line), region.name)
