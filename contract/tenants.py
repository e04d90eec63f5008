"""Tenants: who share the workers, with which weights and limits."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_WEIGHT = 1_000
"""Highest weight of a tenant; with more, a light one would wait for a thousand chunks of a heavy one."""

MAX_NAME = 64
"""Most characters of a tenant's name, as of a tag."""

DEFAULT_TENANT = "default"
"""The tenant of jobs that name none."""

TENANT = rf"^[A-Za-z0-9._-]{{1,{MAX_NAME}}}$"
"""The pattern of a tenant's name."""

_ENTRY = re.compile(
    rf"(?P<name>{TENANT[1:-1]}):(?P<weight>[0-9]{{1,4}})(:(?P<running>[0-9]{{0,9}})(:(?P<items>[0-9]{{0,12}}))?)?"
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant: its weight, and most chunks that run, and items that wait, at once; None for no limit."""

    name: str
    weight: int = 1
    most_running: int | None = None
    most_items: int | None = None


def parse_tenant(entry: str) -> Tenant:
    """Return the tenant of an entry `name:weight[:most running chunks[:most waiting items]]`.

    Raises:
        ValueError: the entry has another form
    """
    match = _ENTRY.fullmatch(entry)
    weight = int(match["weight"]) if match else 0
    if match is None or not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(
            f"{entry[:200]!r} is not name:weight, name:weight:chunks or name:weight:chunks:items, where "
            f"weight is 1 to {MAX_WEIGHT:,}, and so many chunks may run and items may wait at once; a limit "
            "may be empty"
        )
    limits = (int(match[name]) if match[name] else None for name in ("running", "items"))
    return Tenant(match["name"], weight, *limits)


def parse_tenants(entries: Iterable[str]) -> Mapping[str, Tenant]:
    """Return the tenants of the entries by name.

    Raises:
        ValueError: an entry has another form, or two name one tenant
    """
    tenants: dict[str, Tenant] = {}
    for tenant in map(parse_tenant, entries):
        if tenant.name in tenants:
            raise ValueError(f"the tenant {tenant.name} is named twice")
        tenants[tenant.name] = tenant
    return tenants


def tenant_of(name: str, tenants: Mapping[str, Tenant]) -> Tenant:
    """Return a tenant; one that is not named has weight 1 and no limit."""
    return tenants.get(name) or Tenant(name)
