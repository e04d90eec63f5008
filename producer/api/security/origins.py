"""ASGI middleware against web pages that call an API which their visitor reaches and they do not."""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from contract.settings import variable_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; browsers keep other pages from reading their answers."""

OWN_SITE = frozenset({"same-origin", "none"})
"""`Sec-Fetch-Site` of our own pages, and of addresses that a person enters."""

PRIVATE_NAMES = (".internal", ".local", ".localhost")
"""Ends of names that public DNS does not serve."""


class KnownHosts:
    """The names that requests may use for this server.

    A page can point its own name to any address (DNS rebinding), and then counts as ours. That is impossible
    with IP addresses, and with names that only a local network resolves.

    Args:
        allowed: further names, or `*.` and a domain
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        names = {name.lower() for name in allowed}
        self._names = {*names, socket.gethostname().lower()}
        self._ends = (*PRIVATE_NAMES, *(name[1:] for name in names if name.startswith("*.")))

    def __contains__(self, host: str) -> bool:
        """Return whether a `Host` header names this server; one without a name is no browser's."""
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return "." not in name or name in self._names or name.endswith(self._ends) or _is_address(name)


class Origins:
    """Refuses requests with an unknown `Host`, and pages of other origins that would change something.

    Args:
        hosts: known names of this server; None for all
        allowed: other origins that may call
        keys_required: whether requests need a key: a page cannot send one that it does not know
    """

    def __init__(
        self, app: ASGIApp, hosts: KnownHosts | None, allowed: Iterable[str], keys_required: bool
    ) -> None:
        self._app, self._hosts, self._allowed = app, hosts, frozenset(allowed)
        self._keys_required = keys_required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 or 403."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if self._hosts is not None and not self._is_known(headers.get("host", "")):
            refusal = f"this server is not known by that name: add it to {variable_of('api_allowed_hosts')}"
            await JSONResponse({"detail": refusal}, 400)(scope, receive, send)
        elif not self._keys_required and self._is_foreign(scope, headers):
            refusal = "pages of other origins may not call the API: see " + variable_of("api_cors_origins")
            await JSONResponse({"detail": refusal}, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        try:
            return self._hosts is None or host in self._hosts
        except ValueError:  # no host can have such a name
            return False

    def _is_foreign(self, scope: Scope, headers: Headers) -> bool:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            return False
        origin = headers.get("origin")
        if origin in self._allowed:
            return False
        # Browsers send the site only to https and to their own machine.
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in OWN_SITE
        return origin is not None and origin.partition("://")[2] != headers.get("host")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
