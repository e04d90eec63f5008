"""Redis: reachable, able to keep what it is given, and on time; and the processes that report to it."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import redis

from contract.broker.reports import Reports
from contract.errors import BrokerError
from contract.redaction import redacted
from contract.settings import Settings
from producer.doctor.finding import Finding, bad, doubtful, good, skipped

FULL = 0.8
"""Share of Redis's memory from which on an operator should make room."""

CLOCK_SECONDS = 5.0
"""Difference of clocks in seconds that is told: leases are renewed every 20 seconds, and last 120."""


def check_broker(client: redis.Redis, settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with the broker; the first failure to reach it ends the list."""
    started = time.perf_counter()
    try:
        now = client.time()
        milliseconds = (time.perf_counter() - started) * 1000
        yield good("redis", f"answered in {milliseconds:.1f} ms")
        yield _clock(now[0] + now[1] / 1e6)
        yield from _configured(client)
        yield from _processes(Reports(client, settings.namespace))
    except (redis.RedisError, BrokerError) as error:
        yield bad("redis", redacted(str(error)), "check TRACE_OCR_REDIS_URL, the network and Redis's own log")


def _clock(theirs: float) -> Finding:
    difference = time.time() - theirs
    if abs(difference) <= CLOCK_SECONDS:
        return good("clock", f"{abs(difference):.1f} s from Redis's")
    return doubtful(
        "clock",
        f"this machine's clock differs from Redis's by {difference:+.0f} s",
        "synchronise both: leases and ages are computed from them",
    )


def _configured(client: redis.Redis) -> Iterator[Finding]:
    try:
        info = cast("Mapping[str, Any]", client.info())
    except redis.ResponseError as error:
        yield skipped("redis: configuration", f"this user may not ask for it ({redacted(str(error))})")
        return
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    yield good("redis: version", str(version))
    if info.get("role", "master") != "master":
        yield bad("redis: role", "this server is a replica, which refuses writes", "name its primary")
    yield _policy(str(info.get("maxmemory_policy", "")))
    yield from _memory(int(info.get("maxmemory", 0)), int(info.get("used_memory", 0)))
    if int(info.get("evicted_keys", 0)):
        yield bad(
            "redis: evictions",
            f"{info['evicted_keys']} keys were evicted since Redis started",
            "give it more memory and the policy noeviction; control re-sends what was lost",
        )
    if not int(info.get("aof_enabled", 0)):
        yield doubtful(
            "redis: persistence",
            "no append-only file: what is queued is gone after a restart, until control re-sends it",
            "set appendonly yes",
        )


def _policy(policy: str) -> Finding:
    if policy == "noeviction":
        return good("redis: memory policy", policy)
    return bad(
        "redis: memory policy",
        f"{policy or 'unknown'}: a full Redis would drop queued chunks",
        "set maxmemory-policy noeviction",
    )


def _memory(limit: int, used: int) -> Iterator[Finding]:
    if not limit:
        return
    detail = f"{used / limit:.0%} of {limit / 2**20:,.0f} MiB is used"
    if used / limit < FULL:
        yield good("redis: memory", detail)
    else:
        yield doubtful("redis: memory", detail, "raise maxmemory, or end jobs: a full Redis refuses writes")


def _processes(reports: Reports) -> Iterator[Finding]:
    live = reports.live()
    for role, what in (("worker", "read chunks"), ("control", "plan, merge and re-send")):
        names = sorted(report.name for report in live if report.role == role)
        if names:
            yield good(f"processes: {role}", f"{len(names)} alive: {', '.join(names)}")
        else:
            yield doubtful(f"processes: {role}", f"none is alive to {what}", f"start one: trace-ocr {role}")
