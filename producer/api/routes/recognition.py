"""The Trace-compatible `/recognition/`: crops in, their text out, by the workers that also read jobs."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from contract.parameters import MAX_BATCH_SIZE, RecognitionModel
from contract.records import Nudge
from contract.settings import Settings
from producer.api.routes.problems import problems
from producer.api.security.access import requires
from producer.api.services import Services
from producer.api.uploads.files import DECIMALS, lines_of


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


class _Reading(msgspec.Struct):
    value: str
    confidence: float


def recognition_router(services: Services) -> APIRouter:
    """Return the route /recognition/."""
    refusals = problems(400, 401, 403, 413, 429, 503, 504)
    router = APIRouter(tags=["Trace OCR"], responses=refusals)

    @router.post("/recognition/", dependencies=[Depends(requires("submit", services.keyring))])
    async def recognition(
        files: list[UploadFile], parameters: Annotated[RecognitionQuery, Query()]
    ) -> list[RecognitionOut]:
        """Read crops: JPEG, PNG, or PDF page by page. The answer has one element per file or page."""
        read = await lines_of(files, "recognition", parameters.nudge(services.settings), {}, services)
        return [_out(name, msgspec.json.decode(line, type=_Reading)) for name, line in read]

    return router


def _out(name: str, read: _Reading) -> RecognitionOut:
    return RecognitionOut(name=name, value=read.value, confidence=round(read.confidence, DECIMALS))
