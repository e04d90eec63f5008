"""ASGI middleware around every route: a size limit for bodies, and security headers."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""What the web UI and `/docs` may load: their own files, images that they have fetched with their key, and
those that the style sheet of `/docs` holds. No form is sent by the browser itself: scripts send them."""

PAGES = frozenset({"/", "/docs"})
"""Paths of pages for browsers, besides those below `/static/`."""

JSON_BYTES = 64 * 2**10
"""Maximum bytes of a body that is no upload: a job with two URIs of maximum length, escaped, is smaller."""


class BodyLimit:
    """Refuses larger bodies with 413: immediately by Content-Length, else while they arrive.

    Args:
        uploads: maximum bytes of each path that takes files; all others take JSON_BYTES
    """

    def __init__(self, app: ASGIApp, uploads: Mapping[str, int]) -> None:
        self._app, self._uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, refusal = self._limit(scope["path"])
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > limit:
            await JSONResponse({"detail": refusal}, 413)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, refusal)
            return message

        await self._app(scope, counted, send)

    def _limit(self, path: str) -> tuple[int, str]:
        """Return the maximum bytes of a path's body, and what is answered to more."""
        limit = self._uploads.get(path, JSON_BYTES)
        advice = "send fewer files at once" if path in self._uploads else "this route takes no more"
        return limit, f"the request's body is larger than {limit:,} bytes: {advice}"


class SafeHeaders:
    """Adds headers: browsers do not guess media types, show the API in no other page, and give other pages no
    files; the web UI loads no foreign content."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "same-origin")
                headers.setdefault("x-frame-options", "DENY")
                headers.setdefault("cross-origin-resource-policy", "same-origin")
                if scope["path"] in PAGES or scope["path"].startswith("/static/"):
                    headers.setdefault("content-security-policy", CONTENT_POLICY)
                    headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
