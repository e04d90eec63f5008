"""API keys: generated at random, stored as hashes, compared in constant time."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from contract.errors import SettingsError
from contract.settings import Settings, variable_of
from contract.storage import is_remote, supported_uris
from contract.storage.roots import AllowedRoots
from contract.tenants import parse_tenants

Scope = Literal["read", "submit"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

KEY_BYTES = 32
"""Random bytes of a key: with this many, a plain SHA-256 cannot be brute-forced and needs no salt."""

SEPARATOR = "|"
"""Between the roots of an entry: few paths hold it, and a colon and a comma have other meanings."""

_ENTRY = re.compile(
    r"(?P<name>[A-Za-z0-9._-]{1,64})(@(?P<tenant>[A-Za-z0-9._-]{1,64}))?:(?P<scopes>[a-z+]+):(?P<digest>[0-9a-f]{64})(:(?P<roots>.+))?"
)


@dataclass(frozen=True)
class ApiKey:
    """One accepted key: its name, its scopes, its SHA-256, the roots of its jobs, None for all, and the
    tenant of its jobs, None for that of the settings."""

    name: str
    scopes: frozenset[str]
    digest: str
    roots: AllowedRoots | None = None
    tenant: str | None = None


EVERYONE = ApiKey("", frozenset(SCOPES), "")
"""The key that everyone holds if no key is required."""


class Keyring:
    """The accepted keys; with `required=False`, requests need no key."""

    def __init__(self, keys: Iterable[ApiKey], *, required: bool = True) -> None:
        self._keys = tuple(keys)
        self.required = required

    def holder(self, presented: str) -> ApiKey | None:
        """Return the key that was presented, or None. Every digest is compared, even after a match."""
        digest = hashlib.sha256(presented.encode()).hexdigest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def new_key(
    name: str, scopes: Iterable[Scope], roots: Iterable[str] = (), tenant: str | None = None
) -> tuple[str, str]:
    """Return a new key and the settings entry that makes it valid.

    Raises:
        SettingsError: the name, a root or the tenant is not valid in an entry
    """
    key = secrets.token_urlsafe(KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    below = SEPARATOR.join(roots)
    named = name if tenant is None else f"{name}@{tenant}"
    entry = ":".join([named, "+".join(sorted(set(scopes))), digest, *([below] if below else [])])
    parse_entry(entry)
    return key, entry


def load_keyring(settings: Settings) -> Keyring:
    """Return the keys of the settings and of their keys file.

    Raises:
        SettingsError: an entry is not valid, the file cannot be read, a key's root has nothing in common with
            the allowed roots, its tenant is none of the settings', or there is no key
    """
    if settings.api_auth == "off":
        return Keyring((), required=False)
    entries = [*settings.api_keys, *_lines(settings.api_keys_file)]
    if not entries:
        raise SettingsError(
            "the HTTP API requires keys and has none: make one with `trace-ocr api-key NAME --scope read` "
            f"and put its entry in {variable_of('api_keys')} or the file of {variable_of('api_keys_file')}; "
            f"or allow requests without keys with {variable_of('api_auth')}=off"
        )
    keys = [parse_entry(entry) for entry in entries]
    allowed = AllowedRoots(settings.allowed_roots)
    for key in keys:
        useless = [root for root in key.roots or () if allowed.within([root]).is_empty]
        if useless:
            raise SettingsError(
                f"the key {key.name} has the root {useless[0]}, "
                f"which {variable_of('allowed_roots')} does not allow"
            )
    tenants = parse_tenants(settings.tenants)
    for key in keys:
        if key.tenant is not None and key.tenant not in tenants:
            raise SettingsError(
                f"the key {key.name} is of the tenant {key.tenant}, which {variable_of('tenants')} does not "
                f"name: add {key.tenant}:1, or correct the key's entry"
            )
    return Keyring(keys)


def parse_entry(entry: str) -> ApiKey:
    """Return the key of one entry `name:scope+scope:sha256`, or `name@tenant:scope+scope:sha256:root|root`.

    Raises:
        SettingsError: the entry has another form; the message does not repeat it
    """
    match = _ENTRY.fullmatch(entry)
    scopes = frozenset(match["scopes"].split("+")) if match else frozenset()
    if match is None or not scopes <= set(SCOPES):
        raise SettingsError(
            f"an entry of {variable_of('api_keys')} must have the form name:scopes:sha256 or "
            "name@tenant:scopes:sha256:roots, the names of letters, digits, '.', '_' and '-', the scopes "
            f"{' and '.join(SCOPES)} joined by '+', the roots by '{SEPARATOR}': make it with "
            "`trace-ocr api-key`"
        )
    roots = _roots(match["name"], match["roots"])
    return ApiKey(match["name"], scopes, match["digest"], roots, match["tenant"])


def _roots(name: str, joined: str | None) -> AllowedRoots | None:
    if joined is None:
        return None
    roots = joined.split(SEPARATOR)
    for root in roots:
        if not root.startswith("/") and not is_remote(root):
            raise SettingsError(
                f"the key {name} has the root {root!r}: a root is an absolute path or a prefix of remote "
                f"storage; this version knows {supported_uris()}"
            )
    return AllowedRoots(tuple(roots))


def _lines(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"the file of {variable_of('api_keys_file')} cannot be read: {error}") from error
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
