"""The Trace-compatible `/ocr/`, `/detection/` and `/kie/`: pages in, what stands on them out."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, UploadFile
from pydantic import BaseModel, ConfigDict, create_model

from contract.lines import DetectionLine, KieLine, OcrLine, PageLine
from contract.parameters import PARAMETERS, DetectionParameters, PageKind, optional_fields
from contract.records import Nudge
from producer.api.routes.problems import problems
from producer.api.security.access import requires
from producer.api.services import Services
from producer.api.uploads.files import DECIMALS, lines_of

SCORES = ("confidence", "detection_score")
"""What is rounded over HTTP, as the hosted API does; geometry is not."""

JOBS_OWN = ("id", "label")
"""Fields of a job's line that an answer has no use for."""

LINES: dict[PageKind, type[PageLine]] = {"ocr": OcrLine, "detection": DetectionLine, "kie": KieLine}

Page = dict[str, Any]


def pages_router(services: Services) -> APIRouter:
    """Return the routes of the three kinds of pages."""
    refusals = problems(400, 401, 403, 413, 429, 503, 504)
    router = APIRouter(tags=["Trace OCR"], responses=refusals)
    access = [Depends(requires("submit", services.keyring))]
    # Made here, so that FastAPI sees the parameters of each kind by name.
    ocr_query, detection_query, kie_query = (_query(kind) for kind in ("ocr", "detection", "kie"))

    @router.post("/ocr/", dependencies=access, responses=_described("ocr"))
    async def ocr(files: list[UploadFile], parameters: Annotated[ocr_query, Query()]) -> list[Page]:  # type: ignore[valid-type]
        """Find and read words, grouped into lines and blocks: JPEG, PNG or PDF; one element per page."""
        return await _read("ocr", files, parameters, services)

    @router.post("/detection/", dependencies=access, responses=_described("detection"))
    async def detection(
        files: list[UploadFile],
        parameters: Annotated[detection_query, Query()],  # type: ignore[valid-type]
    ) -> list[Page]:
        """Find words: JPEG, PNG or PDF; one element per page, with the words' boxes."""
        return await _read("detection", files, parameters, services)

    @router.post("/kie/", dependencies=access, responses=_described("kie"))
    async def kie(files: list[UploadFile], parameters: Annotated[kie_query, Query()]) -> list[Page]:  # type: ignore[valid-type]
        """Find and read words, by the detection model's classes: JPEG, PNG or PDF; one element per page."""
        return await _read("kie", files, parameters, services)

    return router


def _query(kind: PageKind) -> type[BaseModel]:
    """Return a model of a kind's parameters of which all may be left out."""
    return create_model(
        f"{kind.title()}Query", __config__=ConfigDict(extra="forbid"), **optional_fields(PARAMETERS[kind])
    )


def _described(kind: PageKind) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of a kind's answer: of its jobs' line, without what is the jobs' own."""
    _, structs = msgspec.json.schema_components([LINES[kind]], ref_template="{name}")
    page = _inlined(structs[LINES[kind].__name__], structs)
    page["properties"] = {name: one for name, one in page["properties"].items() if name not in JOBS_OWN}
    page["required"] = [name for name in page["required"] if name not in JOBS_OWN]
    return {200: {"content": {"application/json": {"schema": {"type": "array", "items": page}}}}}


def _inlined(schema: Any, structs: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, structs) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(structs[schema["$ref"]], structs)
    return {name: _inlined(one, structs) for name, one in schema.items()}


async def _read(kind: PageKind, files: list[UploadFile], given: BaseModel, services: Services) -> list[Page]:
    parameters = services.settings.parameters_of(kind, given.model_dump(exclude_none=True))
    assert isinstance(parameters, DetectionParameters)
    nudge = Nudge(kind, parameters.detection_batch_size)
    read = await lines_of(files, kind, nudge, parameters.model_dump(mode="json"), services)
    return [_out(name, msgspec.json.decode(line)) for name, line in read]


def _out(name: str, line: Page) -> Page:
    kept = {key: value for key, value in line.items() if key not in JOBS_OWN}
    rounded: Page = _rounded({**kept, "name": name})
    return rounded


def _rounded(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, DECIMALS) if key in SCORES and value is not None else value
