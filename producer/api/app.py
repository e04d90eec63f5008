"""The application: routes, middleware, and the HTTP status of each error."""

import asyncio
import importlib.metadata
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from contract.errors import (
    AccessDeniedError,
    BrokerError,
    ItemError,
    JobError,
    JobStateError,
    ObjectMissingError,
    OutsideAllowedRootsError,
    ReadOnlyStorageError,
    SourceError,
    StorageError,
    TooManyBytesError,
    TraceOcrError,
    UnknownJobError,
    UnknownModelError,
    UnsupportedUriError,
    UsageError,
    WorkspaceConflictError,
)
from contract.redaction import redacted
from producer.api.idempotency import IdempotencyConflictError
from producer.api.methods import Methods
from producer.api.monitoring.metrics import UPLOAD_KINDS, UploadCounter
from producer.api.routes.jobs import jobs_router
from producer.api.routes.kinds import kinds_router
from producer.api.routes.system import system_router
from producer.api.routes.uploads import uploads_router
from producer.api.security.access import KeyGate
from producer.api.security.bounds import BodyLimit, SafeHeaders
from producer.api.security.origins import KnownHosts, Origins
from producer.api.services import NoWorkerError, Services
from producer.api.submission import TenantFullError
from producer.api.uploads.desk import BusyError, SenderGoneError, TooSlowError

WEB_UI = Path(__file__).with_name("page")
"""The web UI. The bundle in its folder `swagger` is npm's swagger-ui-dist 5.35.0, which FastAPI would load
from a CDN, with a script in the page that the content policy forbids; its folder `preact` is from npm's htm
3.1.1."""

MIN_GZIP_BYTES = 1024
"""Minimum size of compressed answers, in bytes: an answer within one packet gains nothing."""

GZIP_LEVEL = 1
"""Level of compression: the highest takes many times as long for results and saves little."""

SHOWN_PROBLEMS = 20
"""Maximum problems of one request that its 422 names: a small body can have thousands."""

STATUS_OF: dict[type[TraceOcrError], int] = {
    UnknownJobError: 404,
    JobStateError: 409,
    WorkspaceConflictError: 409,
    IdempotencyConflictError: 422,
    OutsideAllowedRootsError: 403,
    AccessDeniedError: 403,
    UnsupportedUriError: 400,
    ReadOnlyStorageError: 400,
    ObjectMissingError: 404,
    # A member of a shard that is damaged, or whose shard has changed.
    ItemError: 404,
    TooManyBytesError: 413,
    SourceError: 400,
    StorageError: 503,
    BrokerError: 503,
    NoWorkerError: 503,
    BusyError: 429,
    TenantFullError: 429,
    TooSlowError: 504,
    # As nginx counts it: nobody gets this answer, and it is no failure of the service.
    SenderGoneError: 499,
    JobError: 409,
    UsageError: 400,
    TraceOcrError: 503,
}
"""HTTP status of each error class; an error has the status of its nearest listed base class."""

RETRY_SECONDS = {429: "1", 503: "15", 504: "30"}
"""`Retry-After` in seconds: an overload passes in a second, an outage or a worker's start takes longer."""


def make_app(services: Services) -> FastAPI:
    """Return the application for these services."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        services.desk.start(asyncio.get_running_loop())
        yield
        services.desk.close()
        services.pictures.close()

    app = FastAPI(
        title="Trace OCR batch",
        version=importlib.metadata.version("trace-ocr-batch"),
        description="Batch jobs, and the endpoints of the Trace OCR API, served by the same workers.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=life,
    )
    routers = jobs_router, uploads_router, system_router, kinds_router
    for router in (make(services) for make in routers):
        app.include_router(router)
    app.add_exception_handler(TraceOcrError, _answer_error)
    app.add_exception_handler(UnknownModelError, _answer_unknown_model)
    app.add_exception_handler(redis.RedisError, _answer_redis_away)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(Exception, _answer_bug)
    _add_web_ui(app)
    _add_layers(app, services)
    return app


def _add_web_ui(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def web_ui() -> FileResponse:
        return FileResponse(WEB_UI / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(WEB_UI / "swagger" / "index.html")

    app.mount("/static", StaticFiles(directory=WEB_UI), name="static")


def _add_layers(app: FastAPI, services: Services) -> None:
    settings, origins = services.settings, services.settings.api_cors_origins
    app.add_middleware(GZipMiddleware, minimum_size=MIN_GZIP_BYTES, compresslevel=GZIP_LEVEL)
    app.add_middleware(KeyGate, keyring=services.keyring)
    app.add_middleware(BodyLimit, uploads=dict.fromkeys(UPLOAD_KINDS, settings.api_max_bytes))
    app.add_middleware(SafeHeaders)
    app.add_middleware(UploadCounter, metrics=services.metrics)
    app.add_middleware(Methods, router=app.router, slashed=UPLOAD_KINDS)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["*"], allow_headers=["*"]
        )
    keys_required, names = services.keyring.required, settings.api_allowed_hosts
    hosts = KnownHosts(names) if names or not keys_required else None
    app.add_middleware(Origins, hosts=hosts, allowed=origins, keys_required=keys_required)


def _answer_error(_: Request, error: Exception) -> JSONResponse:
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return _answer(status, str(error))


def _answer_redis_away(_: Request, error: Exception) -> JSONResponse:
    structlog.get_logger().warning("redis_away", error=str(error))
    return _answer(503, "Redis does not answer: try again in a while")


def _answer_invalid(_: Request, error: Exception) -> Response:
    """Answer 422 as FastAPI does, but without the input: it may be long, or not representable as JSON."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = [
        {name: problem[name] for name in ("type", "loc", "msg")} for problem in problems[:SHOWN_PROBLEMS]
    ]
    # Escaped, because a location may hold an unpaired surrogate, which UTF-8 cannot encode.
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


def _answer_unknown_model(request: Request, error: Exception) -> Response:
    """Answer 422 as for any other invalid parameter."""
    assert isinstance(error, UnknownModelError)
    is_json = request.headers.get("content-type", "").startswith("application/json")
    location = ("body" if is_json else "query", error.parameter)
    problem = {"type": "unknown_model", "loc": location, "msg": redacted(str(error))}
    return _answer_invalid(request, RequestValidationError([problem]))


def _answer_bug(_: Request, __: Exception) -> JSONResponse:
    # The server logs the traceback; callers must not see it.
    return _answer(500, "internal server error: the server's log has the details")


def _answer(status: int, detail: str) -> JSONResponse:
    retry = RETRY_SECONDS.get(status)
    headers = {"retry-after": retry} if retry else None
    return JSONResponse({"detail": redacted(detail)}, status, headers)
