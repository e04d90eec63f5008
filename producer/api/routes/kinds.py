"""The route of the kinds of jobs: what a form for a new job asks for."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from contract.kinds import KINDS
from contract.kinds.base import Kind, Parameters, Unit
from producer.api.routes.problems import problems
from producer.api.security.access import GuardedRoute, Requires
from producer.api.services import Services
from producer.results.sinks import FORMATS, RESULTS, SINKS


class ParameterOut(BaseModel):
    """One parameter: its JSON type, its bounds, and the deployment's default.

    `task` is that of the models in `GET /models` that it names, null for one that names none. A `tuning`
    parameter changes how fast a job is, not what it reads.
    """

    name: str
    type: str
    help: str
    default: Any
    choices: list[str] | None
    minimum: float | None
    maximum: float | None
    task: str | None
    tuning: bool


class KindOut(BaseModel):
    """One kind of job, with the formats that it can write; `exports` are of documents, `results` of lines."""

    name: str
    help: str
    unit: Unit
    chunk_size: int
    exports: list[str]
    results: list[str]
    parameters: list[ParameterOut]


class KindList(BaseModel):
    """The kinds that jobs can have."""

    data: list[KindOut]


def kinds_router(services: Services) -> APIRouter:
    """Return the route of the kinds of jobs."""
    router = APIRouter(tags=["system"], route_class=GuardedRoute)
    may_read = [Depends(Requires("read", services.keyring))]

    @router.get("/kinds", dependencies=may_read, responses=problems(401, 403))
    def kinds() -> KindList:
        """List the kinds of jobs with their parameters, and the defaults of this deployment."""
        described = (_kind(kind, services.settings.parameters_of(kind.name)) for kind in KINDS.values())
        return KindList(data=list(described))

    return router


def _kind(kind: Kind, defaults: Parameters) -> KindOut:
    return KindOut(
        name=kind.name,
        help=kind.help,
        unit=kind.unit,
        chunk_size=kind.chunk_size,
        exports=_written(FORMATS, kind.name),
        results=_written(RESULTS, kind.name),
        parameters=list(_parameters(kind, defaults)),
    )


def _written(formats: Iterable[str], kind: str) -> list[str]:
    """Return the formats that jobs of a kind can write."""
    return [name for name in formats if SINKS[name].kinds is None or kind in (SINKS[name].kinds or ())]


def _parameters(kind: Kind, defaults: Parameters) -> Iterator[ParameterOut]:
    tasks = {wanted.parameter: wanted.task for wanted in defaults.wanted_models()}
    values = defaults.model_dump(mode="json")
    for name, schema in kind.parameters.model_json_schema()["properties"].items():
        # One that may be null is described by two schemas, of which null is the last.
        shape = schema.get("anyOf", [schema])[0]
        yield ParameterOut(
            name=name,
            type=shape["type"],
            help=schema["description"],
            default=values[name],
            choices=shape.get("enum"),
            minimum=shape.get("minimum", shape.get("exclusiveMinimum")),
            maximum=shape.get("maximum", shape.get("exclusiveMaximum")),
            task=tasks.get(name),
            tuning=name in kind.tuning,
        )
