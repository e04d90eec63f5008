"""Redis: reachable, able to keep what it is given, and on time; and the processes that report to it."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from contract.broker.reports import Reports
from contract.broker.server import faults_of, information
from contract.errors import BrokerError
from contract.redaction import redacted
from contract.settings import Settings
from producer.doctor.finding import CLOCK_SECONDS, Finding, bad, doubtful, good, skipped


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
    info = information(client)
    if info is None:
        yield skipped("redis: configuration", "this user may not ask for it: allow +info")
        return
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    yield good("redis: version", str(version))
    found = {fault.check: fault for fault in faults_of(info)}
    for fault in found.values():
        say = bad if fault.severe else doubtful
        yield say(f"redis: {fault.check}", fault.detail, fault.advice)
    for check, detail in _sound(info).items():
        if check not in found:
            yield good(f"redis: {check}", detail)


def _sound(info: Mapping[str, Any]) -> dict[str, str]:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    most = f"{used / limit:.0%} of {limit / 2**20:,.0f} MiB is used" if limit else "no limit is set"
    return {
        "role": "it takes writes",
        "memory policy": "noeviction",
        "memory": most,
        "persistence": "the append-only file is on",
    }


def _processes(reports: Reports) -> Iterator[Finding]:
    live = reports.live()
    for role, what in (("worker", "read chunks"), ("control", "plan, merge and re-send")):
        names = sorted(report.name for report in live if report.role == role)
        if names:
            yield good(f"processes: {role}", f"{len(names)} alive: {', '.join(names)}")
        else:
            yield doubtful(f"processes: {role}", f"none is alive to {what}", f"start one: trace-ocr {role}")
