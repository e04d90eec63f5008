"""What a Redis server says of itself, and what of that loses chunks or keeps jobs from running."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog

from contract.counting import counted
from contract.errors import BrokerError

FULL = 0.8
"""Share of Redis's memory from which on an operator should make room."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a server.

    Args:
        check: what was looked at, as "memory policy"
        detail: what was seen
        advice: what to do
        severe: jobs cannot run, or may lose chunks; otherwise something is less safe than it could be
    """

    check: str
    detail: str
    advice: str
    severe: bool = True


def information(client: redis.Redis) -> Mapping[str, Any] | None:
    """Return the server's INFO; None if this user may not ask for it.

    Raises:
        redis.RedisError: the server does not answer
    """
    try:
        return cast("Mapping[str, Any]", client.info())
    except redis.ResponseError:
        return None


def faults_of(info: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with a server, by its INFO."""
    if int(info.get("cluster_enabled", 0)):
        yield _CLUSTER
    if info.get("role", "master") != "master":
        yield Fault("role", "this server is a replica, which refuses writes", "name its primary")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        yield Fault(
            "memory policy",
            f"{policy}: a full Redis would drop queued chunks",
            "set maxmemory-policy noeviction",
        )
    yield from _memory(int(info.get("maxmemory", 0)), int(info.get("used_memory", 0)))
    if int(info.get("evicted_keys", 0)):
        yield Fault(
            "evictions",
            f"Redis has evicted {counted(int(info['evicted_keys']), 'key')} since it started",
            "give it more memory and the policy noeviction; control re-sends what was lost",
        )
    if not int(info.get("aof_enabled", 0)):
        yield Fault(
            "persistence",
            "no append-only file: what is queued is gone after a restart, until control re-sends it",
            "set appendonly yes",
            severe=False,
        )


def look_at(client: redis.Redis) -> None:
    """Log what is wrong with the server of a process that starts; others wait for one that is away.

    Raises:
        BrokerError: it is a node of a Redis Cluster
    """
    try:
        info = information(client)
    except redis.RedisError:
        return
    if info is None:
        return
    for fault in faults_of(info):
        if fault is _CLUSTER:
            raise BrokerError(f"TRACE_OCR_REDIS_URL: {fault.detail}: {fault.advice}")
        if not fault.severe and _is_embedded(info):
            continue
        log = structlog.get_logger()
        say = log.error if fault.severe else log.warning
        say("redis_fault", check=fault.check, detail=fault.detail, advice=fault.advice)


def _is_embedded(info: Mapping[str, Any]) -> bool:
    """Return whether a server has no port: that of `trace-ocr run` keeps nothing, and need not."""
    return int(info.get("tcp_port", 1)) == 0


_CLUSTER = Fault(
    "cluster",
    "this server is a node of a Redis Cluster, which refuses to change the several keys of a job at once",
    "use one server, or one behind Sentinels",
)


def _memory(limit: int, used: int) -> Iterator[Fault]:
    if not limit or used < FULL * limit:
        return
    full = used >= limit
    yield Fault(
        "memory",
        f"{used / limit:.0%} of {limit / 2**20:,.0f} MiB is used"
        + (": it refuses writes, so that no chunk is queued" if full else ""),
        "raise maxmemory, or end jobs: a full Redis refuses writes",
        severe=full,
    )
