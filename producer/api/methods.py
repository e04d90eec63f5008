"""ASGI middleware for what all routes have: HEAD, OPTIONS, `Allow`, paths with or without a last slash."""

from collections.abc import Container

import anyio
from fastapi import APIRouter
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

FOLDER = "/static/"
"""Files, whose paths stay as they are."""


class Methods:
    """Answers OPTIONS, answers HEAD as GET without a body, and finds a path whose last slash is off.

    It redirects nobody: a redirect would lead to the `Host` that the request names.

    Args:
        router: the routes
        slashed: paths that end in a slash
    """

    def __init__(self, app: ASGIApp, router: APIRouter, slashed: Container[str]) -> None:
        self._app, self._router, self._slashed = app, router, slashed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": self._canonical(scope["path"])}
        if scope["method"] == "OPTIONS" and (allowed := self._allowed(scope)):
            await Response(status_code=204, headers={"allow": allowed})(scope, receive, send)
        elif scope["method"] == "HEAD":
            await self._head(scope, receive, send)
        else:
            # A copy, since mounted applications change it.
            await self._app({**scope}, receive, lambda message: send(self._with_allow(message, scope)))

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers of GET, and end the application then: its body may be a file, or never end."""
        with anyio.CancelScope() as running:

            async def headers_only(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(self._with_allow(message, scope))
                    await send({"type": "http.response.body"})
                    running.cancel()

            await self._app({**scope, "method": "GET"}, receive, headers_only)

    def _canonical(self, path: str) -> str:
        if f"{path}/" in self._slashed:
            return f"{path}/"
        stripped = path.rstrip("/")
        return path if path in self._slashed or path.startswith(FOLDER) or not stripped else stripped

    def _allowed(self, scope: Scope) -> str:
        """Return the methods of a path; empty if there is no such path."""
        found = {
            method
            for method in METHODS
            for route in self._router.routes
            if route.matches({**scope, "method": method})[0] is Match.FULL
            and (method == "GET" or not isinstance(route, Mount))
        }
        also = {"OPTIONS"} if found else set()
        return ", ".join(sorted(found | also | ({"HEAD"} if "GET" in found else set())))

    def _with_allow(self, message: Message, scope: Scope) -> Message:
        if message["type"] == "http.response.start" and message["status"] == 405:
            MutableHeaders(scope=message)["allow"] = self._allowed(scope)
        return message
