"""Redis behind Sentinels, which say which server is the primary now."""

import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from contract.errors import BrokerError

if TYPE_CHECKING:
    import redis

SCHEME = "sentinel"

PORT = 26379
"""The Sentinels' usual port."""

EXAMPLE = "sentinel://a:26379;sentinel://b:26379/0?master=mymaster"

TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")

OPTIONS = ("master", "sentinel_username", "sentinel_password", "tls", *TLS_OPTIONS)
"""What the query of the last URL may say."""


@dataclass(frozen=True)
class SentinelAddress:
    """Where the Sentinels of one primary are, and how to log in.

    Args:
        sentinels: their hosts and ports
        master: the name by which they know the primary
        database: the number of the primary's database
        login: `username` and `password` of the primary
        sentinel_login: those of the Sentinels
        tls: redis-py's `ssl_` options for all of them; None without TLS
    """

    sentinels: tuple[tuple[str, int], ...]
    master: str
    database: int = 0
    login: dict[str, str] = field(default_factory=dict)
    sentinel_login: dict[str, str] = field(default_factory=dict)
    tls: dict[str, str] | None = None

    def client(self, **options: Any) -> "redis.Redis":
        """Return a client of whichever server is the primary when it connects.

        Args:
            options: redis-py's options of its connections
        """
        # Without types in redis-py.
        sentinel: Any = importlib.import_module("redis.sentinel")
        times = {name: value for name, value in options.items() if name.startswith("socket_")}
        tls = {} if self.tls is None else {"ssl": True, **self.tls}
        sentinels = sentinel.Sentinel(
            self.sentinels, sentinel_kwargs={**times, **tls, **self.sentinel_login}, **tls, **self.login
        )
        client: redis.Redis = sentinels.master_for(self.master, db=self.database, **options)
        return client

    def kombu_url(self) -> str:
        """Return kombu's URL: one for each Sentinel, all with the same login and database."""
        login = ":".join(quote(self.login.get(name, ""), safe="") for name in ("username", "password"))
        urls = (
            f"{SCHEME}://{f'{login}@' if self.login else ''}{_bracketed(host)}:{port}/{self.database}"
            for host, port in self.sentinels
        )
        return ";".join(urls)

    def transport_options(self) -> dict[str, Any]:
        """Return kombu's options of the transport."""
        tls = {} if self.tls is None else {"ssl": True, **self.tls}
        return {"master_name": self.master, "sentinel_kwargs": {**tls, **self.sentinel_login}}


def sentinel_address(url: str) -> SentinelAddress | None:
    """Return the address in a URL such as EXAMPLE; None if the URL is of another scheme.

    Raises:
        BrokerError: the URL is malformed; the message does not repeat it, since it may hold a password
    """
    if not url.startswith(f"{SCHEME}://"):
        return None
    try:
        parts = [urlsplit(part) for part in url.split(";")]
        options = dict(parse_qsl(parts[-1].query, keep_blank_values=True, strict_parsing=True))
        return SentinelAddress(
            sentinels=tuple(_place(part) for part in parts),
            master=options["master"],
            database=int(parts[-1].path.removeprefix("/") or 0),
            login=_login(next((part for part in parts if part.username or part.password), parts[0])),
            sentinel_login=_of_sentinels(options),
            tls=_tls(options),
        )
    except (KeyError, ValueError):
        raise BrokerError(
            f"TRACE_OCR_REDIS_URL does not name Sentinels as in {EXAMPLE}: one URL for each, then the "
            f"database and the name of the primary. The options are {', '.join(OPTIONS)}"
        ) from None


def _place(part: SplitResult) -> tuple[str, int]:
    if part.scheme != SCHEME or not part.hostname:
        raise ValueError(part.scheme)
    return part.hostname, part.port or PORT


def _login(part: SplitResult) -> dict[str, str]:
    found = {"username": part.username, "password": part.password}
    return {name: unquote(value) for name, value in found.items() if value}


def _of_sentinels(options: dict[str, str]) -> dict[str, str]:
    unknown = options.keys() - set(OPTIONS)
    if unknown or not re.fullmatch(r"[A-Za-z0-9._-]+", options["master"]):
        raise ValueError(unknown)
    prefix = f"{SCHEME}_"
    return {name.removeprefix(prefix): value for name, value in options.items() if name.startswith(prefix)}


def _tls(options: dict[str, str]) -> dict[str, str] | None:
    given = {name: options[name] for name in TLS_OPTIONS if name in options}
    if options.get("tls", "true" if given else "false") not in ("true", "false"):
        raise ValueError("tls")
    wanted = options.get("tls") == "true" or bool(given)
    return {"ssl_cert_reqs": "required", **given} if wanted else None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
