"""Storage: bytes in and out of folders and remote prefixes, behind one interface chosen by the URI's scheme.

A URI without a scheme is a local path.
"""

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from contract.errors import UnsupportedUriError
from contract.registry import Registry
from contract.storage.base import COPY_BYTES, Backend, OnRequest, Store, Version, answers, join

if TYPE_CHECKING:
    from contract.settings import Settings

__all__ = [
    "BACKENDS",
    "COPY_BYTES",
    "Backend",
    "OnRequest",
    "Storage",
    "Store",
    "Version",
    "absolute",
    "answers",
    "any_remote",
    "is_read_only",
    "is_remote",
    "join",
    "supported_uris",
    "unknown_scheme",
]

SHOWN = 40
"""Maximum characters of a scheme that a message repeats."""

LOCAL = "local"
"""The backend of local paths, which have no scheme."""

BACKENDS: Registry[Backend] = Registry("contract.storage", "BACKEND", (LOCAL, "s3", "gs", "az", "https"))
"""All backends. boto3, obstore and httpcore are imported only when a URI of theirs is used."""


class Storage:
    """The stores of one process, each made at its first use and shared by all threads.

    Args:
        settings: the endpoints and how they are addressed
        on_request: called for every request to remote storage
    """

    def __init__(self, settings: "Settings", on_request: OnRequest | None = None) -> None:
        self._settings = settings
        self._on_request = on_request
        self._making = threading.Lock()
        self._stores: dict[str, Store] = {}

    def at(self, uri: str) -> Store:
        """Return the store that holds the URI; raises UnsupportedUriError for other schemes."""
        name = _backend_name(uri)
        if name not in self._stores:
            with self._making:
                if name not in self._stores:
                    self._stores[name] = BACKENDS[name].store(self._settings, self._on_request)
        return self._stores[name]


def absolute(uri: str) -> str:
    """Return the canonical form of a URI; for a local path, the real path with every symbolic link followed.

    Raises:
        UnsupportedUriError: the scheme has no backend, or the name is impossible
    """
    return BACKENDS[_backend_name(uri)].absolute(uri)


def is_remote(uri: str) -> bool:
    """Return whether the URI is in remote storage; also False if its scheme has no backend."""
    try:
        return BACKENDS[_backend_name(uri)].remote
    except UnsupportedUriError:
        return False


def any_remote(uris: Iterable[str]) -> bool:
    """Return whether one of the URIs is in remote storage; looks each scheme up once."""
    schemes = {scheme for scheme, separator, _ in (uri.partition("://") for uri in uris) if separator}
    return any(is_remote(f"{scheme}://") for scheme in schemes)


def is_read_only(uri: str) -> bool:
    """Return whether the URI is in storage that can only be read; also False if its scheme has no backend."""
    try:
        return BACKENDS[_backend_name(uri)].read_only
    except UnsupportedUriError:
        return False


def supported_uris() -> str:
    """Return which URIs are supported, for messages."""
    names = (f"{name}://" + " (read only)" * BACKENDS[name].read_only for name in BACKENDS if name != LOCAL)
    return ", ".join(["local paths", *names])


def unknown_scheme(uri: str) -> str:
    """Return what to say about a URI whose scheme has no backend."""
    scheme = uri.partition("://")[0][:SHOWN]
    return f"{scheme}:// is no storage that this version knows: {supported_uris()}"


def _backend_name(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return LOCAL
    if scheme == LOCAL or scheme not in BACKENDS:
        raise UnsupportedUriError(f"{uri}: {unknown_scheme(uri)}")
    return scheme
