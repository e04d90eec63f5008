"""The Trace-compatible endpoint: files in, their text out, by the workers that also read jobs."""

import asyncio
from typing import Annotated, cast

from fastapi import APIRouter, Depends, HTTPException, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from contract.job import MAX_BATCH_SIZE, RecognitionModel
from contract.records import Nudge
from contract.settings import Settings
from contract.uploads import MEDIA_TYPES, Answer, MediaType, Reading
from producer.api.access import requires
from producer.api.desk import File
from producer.api.problems import problems
from producer.api.services import Services

DECIMALS = 2
"""Decimals of a confidence over HTTP, as the hosted API gives it; jobs don't round."""

SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF": "application/pdf"}
"""First bytes of what is taken, for files whose sender names no type."""

UNTYPED = (None, "", "application/octet-stream")


class RecognitionQuery(BaseModel):
    """Parameters of `/recognition`; docTR's own names are taken too."""

    model_config = ConfigDict(extra="forbid")

    recognition_model: RecognitionModel | None = Field(None, description="default: the deployment's")
    recognition_batch_size: int | None = Field(
        None, ge=1, le=MAX_BATCH_SIZE, description="crops read in parallel; default: the deployment's"
    )
    reco_arch: RecognitionModel | None = Field(None, description="docTR's name of recognition_model")
    reco_bs: int | None = Field(
        None, ge=1, le=MAX_BATCH_SIZE, description="docTR's name of recognition_batch_size"
    )

    def nudge(self, settings: Settings) -> Nudge:
        """Return the parameters in force."""
        return Nudge(
            self.recognition_model or self.reco_arch or settings.recognition_model,
            self.recognition_batch_size or self.reco_bs or settings.recognition_batch_size,
        )


class RecognitionOut(BaseModel):
    """The text of one file, or of one page of a PDF."""

    name: str
    value: str
    confidence: float


def recognition_router(services: Services) -> APIRouter:
    """Return the route /recognition/."""
    refusals = problems(400, 401, 403, 413, 429, 503, 504)
    router = APIRouter(tags=["Trace OCR"], responses=refusals)
    settings = services.settings

    @router.post("/recognition/", dependencies=[Depends(requires("submit", services.keyring))])
    async def recognition(
        files: list[UploadFile], parameters: Annotated[RecognitionQuery, Query()]
    ) -> list[RecognitionOut]:
        """Read crops: JPEG, PNG, or PDF page by page. The answer has one element per file or page."""
        if len(files) > settings.api_max_files:
            raise HTTPException(413, f"more than {settings.api_max_files:,} files: send fewer at once")
        read = [await _file(file, settings) for file in files]
        await asyncio.to_thread(services.require_worker)
        with services.metrics.upload_timed():
            answers = await services.desk.read(read, parameters.nudge(settings))
        return [
            RecognitionOut(name=file.name, value=one.value, confidence=round(one.confidence, DECIMALS))
            for file, answer in zip(read, answers, strict=True)
            for one in _readings(answer)
        ]

    return router


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


def _readings(answer: Answer) -> tuple[Reading, ...]:
    if answer.error:
        raise HTTPException(400 if answer.fault == "upload" else 503, answer.error)
    return answer.readings
