"""Access control: middleware that checks keys, and a route that checks scopes, before a body is read."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from producer.api.security.keys import EVERYONE, ApiKey, Keyring, Scope

NO_KEY = "send a valid key: Authorization: Bearer <key>"
CHALLENGE = {"WWW-Authenticate": "Bearer"}

HOLDER = "trace_ocr.api_key"
"""Key of a request's ASGI scope under which the gate stores the API key's holder."""

OPEN_PATHS = frozenset({"/", "/health", "/ready", "/version", "/docs", "/openapi.json"})
"""Paths that probes and browsers request without a key; the web UI itself holds no data."""

OPEN_FOLDER = "/static/"

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="a key made by `trace-ocr api-key`")),
]


class KeyGate:
    """Refuses requests without a valid key before their body is read: an unauthorised upload costs nothing.

    All paths except the open ones need a key; in addition, a route requires a scope.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app, self._keyring = app, keyring

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http" and self._is_closed(scope["path"]):
            scope[HOLDER] = self._holder(scope)
            if scope[HOLDER] is None:
                await JSONResponse({"detail": NO_KEY}, 401, CHALLENGE)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_closed(self, path: str) -> bool:
        return self._keyring.required and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER)

    def _holder(self, scope: AsgiScope) -> ApiKey | None:
        kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        return self._keyring.holder(key.strip()) if kind.lower() == "bearer" else None


@dataclass(frozen=True)
class Requires:
    """A dependency that returns a request's key: 401 without a valid key, 403 without the scope.

    It relies on the holder that the gate stored. If no key is required, everyone holds the same one.

    Args:
        scope: None if any valid key will do
        everything: the answer tells of all jobs, so a key with roots does not get it either
    """

    scope: Scope | None
    keyring: Keyring
    everything: bool = False

    async def __call__(self, request: Request, _: Credentials) -> ApiKey:
        """Return the key; raises HTTPException."""
        return self.caller(request.scope)

    def caller(self, asgi_scope: AsgiScope) -> ApiKey:
        """Return the key of a request; raises HTTPException."""
        if not self.keyring.required:
            return EVERYONE
        holder: ApiKey | None = asgi_scope.get(HOLDER)
        if holder is None:
            raise HTTPException(401, NO_KEY, CHALLENGE)
        if self.scope is not None and self.scope not in holder.scopes:
            raise HTTPException(403, f"the key {holder.name} lacks the scope {self.scope}")
        if self.everything and holder.roots is not None:
            raise HTTPException(403, f"the key {holder.name} has roots, and this tells of all jobs")
        return holder


class GuardedRoute(APIRoute):
    """A route that checks the scope before it reads the body: FastAPI reads the body first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the checks."""
        handler = super().get_route_handler()
        checks = [one.dependency for one in self.dependencies if isinstance(one.dependency, Requires)]

        async def guarded(request: Request) -> Response:
            for check in checks:
                check.caller(request.scope)
            return await handler(request)

        return guarded
