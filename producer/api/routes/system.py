"""The routes of the system: health, workers, models, metrics, version, and who asks."""

import importlib.metadata
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from contract.system_status import SystemStatus, WorkerList
from producer.api.jobs import Jobs
from producer.api.monitoring.health import (
    Check,
    check_answers,
    check_broker,
    check_processes,
    check_redis,
    check_storage,
)
from producer.api.monitoring.workers import process_list
from producer.api.routes.job_paths import jobs_of
from producer.api.routes.problems import problems
from producer.api.security.access import GuardedRoute, Requires
from producer.api.security.keys import SCOPES, ApiKey, Scope
from producer.api.services import Services
from producer.catalogue import CatalogueEntry, list_models


class Health(BaseModel):
    """The checks, and whether all of them passed."""

    status: Literal["ok", "failing"]
    checks: dict[str, Check]


class ModelList(BaseModel):
    """The models that jobs can name, and where each one's weights are loaded from."""

    data: list[CatalogueEntry]


class Version(BaseModel):
    """The running version."""

    version: str


class Me(BaseModel):
    """What the request's key may do; `roots` is None if it may use everything that the deployment allows.

    If no key is required, `name` is empty, and everything is allowed.
    """

    name: str
    scopes: list[Scope]
    tenant: str
    roots: list[str] | None
    key_required: bool


def system_router(services: Services) -> APIRouter:
    """Return the routes about the system."""
    router = APIRouter(tags=["system"], route_class=GuardedRoute)
    _add_open(router, services)
    _add_caller(router, services)
    _add_reading(router, services)
    return router


def _add_open(router: APIRouter, services: Services) -> None:
    failing: dict[int | str, dict[str, Any]] = {503: {"model": Health}}

    @router.get("/health", responses=failing)
    def health(response: Response) -> Health:
        """Check what jobs need: Redis, its set-up, storage, a worker, its device, control. Else 503."""
        broker = {"broker": check_broker(services.client)}
        return _judged({**_own_checks(services), **broker, **check_processes(services.reports)}, response)

    @router.get("/ready", responses=failing)
    def ready(response: Response) -> Health:
        """Check what this process needs: Redis, storage, its threads; not workers. 503 if a check fails."""
        return _judged(_own_checks(services), response)

    @router.get("/version")
    def version() -> Version:
        """Show the running version."""
        return Version(version=importlib.metadata.version("trace-ocr-batch"))


def _add_caller(router: APIRouter, services: Services) -> None:
    any_key = Requires(None, services.keyring)

    @router.get("/me", dependencies=[Depends(any_key)], responses=problems(401))
    def me(caller: Annotated[ApiKey, Depends(any_key)]) -> Me:
        """Show what the request's key may do. A key needs no scope for this."""
        return Me(
            name=caller.name,
            scopes=[scope for scope in SCOPES if scope in caller.scopes],
            tenant=caller.tenant or services.settings.tenant,
            roots=None if caller.roots is None else list(caller.roots.canonical),
            key_required=services.keyring.required,
        )


def _add_reading(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]

    refusals = problems(401, 403, 503)

    seen = jobs_of(services, "read")

    @router.get("/system", dependencies=may_read, responses=refusals)
    def system(jobs: Annotated[Jobs, seen]) -> SystemStatus:
        """Show the system in figures, and what is wrong now, also while Redis is away."""
        return services.system.status(jobs.sees)

    @router.get("/workers", dependencies=may_read, responses=refusals)
    def workers(jobs: Annotated[Jobs, seen]) -> WorkerList:
        """List every live worker, with what it reads and how fast, and every control process."""
        live = process_list(services.reports.live(), time.time(), jobs.sees)
        alive = sum(process.role == "worker" for process in live)
        return WorkerList(live, alive, services.settings.expected_workers)

    @router.get("/models", dependencies=may_read, responses=refusals)
    def models() -> ModelList:
        """List the models that jobs can name, and where this machine loads each one's weights from."""
        return ModelList(data=list_models(services.model_store))

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    may_read_all = [Depends(Requires("read", services.keyring, everything=True))]

    @router.get(
        "/metrics", dependencies=may_read_all, responses={**refusals, **text}, response_class=Response
    )
    def metrics() -> Response:
        """Show all metrics in Prometheus' text format."""
        return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _own_checks(services: Services) -> dict[str, Check]:
    return {
        "redis": check_redis(services.client),
        "storage": check_storage(services.roots, services.storage),
        "answers": check_answers(services.desk.fetches_answers()),
    }


def _judged(checks: dict[str, Check], response: Response) -> Health:
    well = all(check.ok for check in checks.values())
    response.status_code = 200 if well else 503
    return Health(status="ok" if well else "failing", checks=checks)
