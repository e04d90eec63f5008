"""The endpoints of the Trace OCR API, a route per kind: files in, lines out, read by the workers of jobs."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Form, Query, Request, UploadFile
from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from contract.kinds import KINDS, optional
from contract.kinds.base import Kind
from contract.lines import UNREADABLE, ErrorLine, Failure
from contract.model_store import check_models
from contract.records import failure_of
from producer.api.routes.problems import problems
from producer.api.security.access import GuardedRoute, Requires
from producer.api.security.keys import ApiKey
from producer.api.services import Services
from producer.api.uploads.files import DECIMALS, DamagedAnswerError, Read, lines_of
from producer.api.uploads.regions import DESCRIPTION, EXAMPLES

SCORES = ("confidence", "detection_score")
"""Fields that are rounded over HTTP, as the Trace OCR API does; geometry is not rounded."""

Answer = dict[str, Any]
"""The answer for one file, one page of a PDF, or one region of an image."""


def uploads_router(services: Services) -> APIRouter:
    """Return the upload routes: one per kind of job, under the kind's name."""
    refusals = problems(400, 401, 403, 413, 429, 503, 504)
    router = APIRouter(tags=["Trace OCR"], responses=refusals, route_class=GuardedRoute)
    access = [Depends(Requires("submit", services.keyring))]
    for kind in KINDS.values():
        router.post(
            f"/{kind.name}/",
            name=kind.name,
            summary=kind.help.capitalize(),
            description=_about(kind),
            dependencies=access,
            responses=_described(kind),
        )(_endpoint(kind, services))
    return router


def _endpoint(kind: Kind, services: Services) -> Callable[..., Awaitable[list[Answer]]]:
    # Created per kind, so that FastAPI sees the kind's parameters by name.
    query = _query(kind)

    async def read(
        request: Request,
        caller: Annotated[ApiKey, Depends(Requires("submit", services.keyring))],
        files: list[UploadFile],
        given: Annotated[query, Query()],  # type: ignore[valid-type]
        regions: Annotated[str | None, Depends(_regions if kind.unit == "crop" else _no_regions)],
    ) -> list[Answer]:
        named = _named(kind, given)
        parameters = services.settings.parameters_of(kind.name, named)
        await asyncio.to_thread(check_models, parameters.wanted_models(), services.model_store)
        left = partial(_gone, request)
        lines = await lines_of(files, regions, kind, parameters, services, caller.name, left)
        return [_answer(kind, one) for one in lines]

    return read


def _about(kind: Kind) -> str:
    about = "JPEG, PNG, or PDF page by page. The answer has one element per file or page"
    if kind.unit == "crop":
        about += ", or per region if `regions` are given; a region that its image does not have is an `error`"
    return f"{about}."


def _regions(
    regions: Annotated[str | None, Form(description=DESCRIPTION, examples=EXAMPLES)] = None,
) -> str | None:
    return regions


def _no_regions() -> None:
    return None


async def _gone(request: Request) -> None:
    """Return when the sender has closed its connection; call once its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _query(kind: Kind) -> type[BaseModel]:
    """Return a model of a kind's parameters and their aliases; all are optional."""
    parameters = kind.parameters.model_fields
    aliases = {alias: _alias(parameters[name], name) for alias, name in kind.aliases.items()}
    return create_model(
        f"{kind.name.title()}Query",
        __config__=ConfigDict(extra="forbid"),
        **optional({**parameters, **aliases}),
    )


def _alias(parameter: FieldInfo, name: str) -> FieldInfo:
    return FieldInfo.merge_field_infos(parameter, description=f"docTR's name for {name}")


def _named(kind: Kind, given: BaseModel) -> dict[str, Any]:
    """Return a request's parameters under their own names; a parameter takes precedence over its alias."""
    values = given.model_dump(exclude_none=True)
    aliased = {kind.aliases[name]: values.pop(name) for name in list(values) if name in kind.aliases}
    return {**aliased, **values}


def _described(kind: Kind) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of a kind's answer: its line, without the fields that answers omit."""
    _, structs = msgspec.json.schema_components([kind.line], ref_template="{name}")
    answer = _inlined(structs[kind.line.__name__], structs)
    answer["properties"] = {
        name: one for name, one in answer["properties"].items() if name not in kind.unanswered
    }
    answer["required"] = [name for name in answer["required"] if name not in kind.unanswered]
    items = {"anyOf": [answer, _failed_region()]} if kind.unit == "crop" else answer
    return {200: {"content": {"application/json": {"schema": {"type": "array", "items": items}}}}}


def _failed_region() -> dict[str, Any]:
    _, structs = msgspec.json.schema_components([Failure], ref_template="{name}")
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {"name": text, "region": text, "error": _inlined(structs["Failure"], structs)},
        "required": ["name", "region", "error"],
    }


def _inlined(schema: Any, structs: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, structs) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(structs[schema["$ref"]], structs)
    return {name: _inlined(one, structs) for name, one in schema.items()}


def _answer(kind: Kind, read: Read) -> Answer:
    named = {"name": read.file} if read.region is None else {"name": read.file, "region": read.region}
    try:
        if read.region is not None and failure_of(read.line):
            failure = msgspec.json.decode(read.line, type=ErrorLine).error
            return {**named, "error": msgspec.to_builtins(failure)}
        # Decoded as a line first: the answer comes from Redis, and is not trusted.
        msgspec.json.decode(read.line, type=kind.line)
        fields = msgspec.json.decode(read.line, type=Answer)
    except UNREADABLE as error:
        raise DamagedAnswerError(f"the worker's answer for {read.file} is damaged: try again") from error
    kept = {key: value for key, value in fields.items() if key not in kind.unanswered}
    rounded: Answer = _rounded({**kept, **named})
    return rounded


def _rounded(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, DECIMALS) if key in SCORES and value is not None else value
