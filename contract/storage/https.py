"""https:// URLs, for reading only: of hosts below the allowed roots, at public addresses."""

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httpcore
import httpx

from contract.addresses import CheckedBackend
from contract.errors import UnsupportedUriError
from contract.redaction import redacted
from contract.storage.asking import Asker
from contract.storage.base import OnRequest, Store
from contract.storage.https_requests import Requests
from contract.storage.https_store import HttpsStore

if TYPE_CHECKING:
    from contract.settings import Settings

OTHER_CONNECTIONS = 32
"""Connections besides those of the fetch threads, for manifests and fingerprints."""

IDLE_SECONDS = 30.0
"""How long an unused connection is kept."""

NETWORKS = "TRACE_OCR_HTTPS_NETWORKS"

_URL = re.compile(
    r"https://([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?(/[^#\\\x00-\x1f\x7f]*)?"
)


class HttpsBackend:
    """Web servers; a `contract.storage.Backend`."""

    remote = True
    read_only = True

    def absolute(self, uri: str) -> str:
        """Return the URL with its host in lower case, and without the usual port and slashes at its end.

        Raises:
            UnsupportedUriError: it has a user, a fragment, or a `.` or `..` segment
        """
        match = _URL.fullmatch(uri)
        path, mark, query = (match[3] or "").partition("?") if match else ("", "", "")
        if not match or {".", ".."} & set(unquote(path).split("/")):
            raise UnsupportedUriError(
                f"{redacted(uri)} is no URL that can be read: it may have no user, no fragment, and no . or "
                ".. in its path"
            )
        port = "" if match[2] in (None, ":443") else match[2]
        location = f"https://{match[1].lower()}{port}{path}{mark}{query}"
        return location if mark else location.rstrip("/")

    def store(self, settings: "Settings", on_request: OnRequest | None) -> Store:
        """Return the store of the hosts that the allowed roots name; connections are kept and shared."""
        roots = [self.absolute(root) for root in settings.allowed_roots if root.startswith("https://")]
        pool = httpcore.ConnectionPool(
            httpx.create_ssl_context(),
            max_connections=settings.fetch_threads + OTHER_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=CheckedBackend(map(ipaddress.ip_network, settings.https_networks), NETWORKS),
        )
        return HttpsStore(
            Requests(pool, frozenset(root.split("/")[2] for root in roots)), Asker("https", on_request)
        )


BACKEND = HttpsBackend()
