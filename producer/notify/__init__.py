"""Ways of telling somebody what became of a job: one module per channel, by the scheme of its URLs."""

import re
from collections.abc import Iterable

import httpx

from contract.errors import UsageError
from contract.registry import Registry
from contract.settings import Settings
from producer.notify.base import Channel, host_of

CHANNELS: Registry[Channel] = Registry("producer.notify", "CHANNEL", ("webhook", "aws", "apprised"))

SCHEMES = {"http": "webhook", "https": "webhook", "sqs": "aws", "sns": "aws"}
"""The channel of each scheme; every other scheme is one of apprise's, for mail and chat."""

OPEN = frozenset({"http", "https"})
"""Schemes that a job may name. The others use this system's own credentials, or connect without checks: only
control's settings may name them."""

MAX_PORT = 65_535

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
"""A name in DNS, or an IPv6 address."""


def scheme_of(url: str) -> str:
    """Return a URL's scheme; empty if it has none."""
    return url.partition("://")[0].lower() if "://" in url else ""


def channel_of(url: str) -> Channel:
    """Return the channel that a URL belongs to."""
    return CHANNELS[SCHEMES.get(scheme_of(url), "apprised")]


def notified(urls: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Return the URLs that a job holds, of those in its submitter's settings; raises as `check_urls`."""
    held = tuple(url for url in urls if scheme_of(url) in OPEN)
    check_urls(held, settings.notify_hosts)
    return held


def check_urls(urls: Iterable[str], hosts: Iterable[str]) -> None:
    """Raise UsageError for a URL that a job may not name; the message shows no more than its host.

    Args:
        hosts: the allow-list, names or *.names; everything is allowed if it is empty
    """
    allowed = tuple(hosts)
    for url in urls:
        if scheme_of(url) not in OPEN:
            raise UsageError(
                f"notify: a job may name http:// and https:// URLs, not {scheme_of(url)[:20] or 'this'}: "
                "other channels belong in control's TRACE_OCR_NOTIFY"
            )
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UsageError(f"notify: {host_of(url)} has an address that cannot be one") from error
        if parsed.userinfo or not _HOST.fullmatch(parsed.raw_host.decode()) or (parsed.port or 1) > MAX_PORT:
            raise UsageError(f"notify: {host_of(url)}: a URL needs a host, and no user or password")
        if not is_allowed(parsed.host, allowed):
            raise UsageError(f"notify: {parsed.host} is not in TRACE_OCR_NOTIFY_HOSTS")


def is_allowed(host: str, hosts: Iterable[str]) -> bool:
    """Return whether an allow-list has a host; an empty list has all."""
    patterns, name = [pattern.lower() for pattern in hosts], host.lower().rstrip(".")
    return not patterns or any(
        name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:])) for pattern in patterns
    )
