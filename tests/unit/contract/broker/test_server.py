"""What is wrong with a Redis server is told when a process starts; a Cluster is refused."""

from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from contract.broker.server import look_at
from contract.errors import BrokerError

SOUND = {"maxmemory_policy": "noeviction", "aof_enabled": 1, "cluster_enabled": 0, "role": "master"}


class Server:
    """A Redis that says this about itself."""

    def __init__(self, info: dict[str, Any] | Exception) -> None:
        self._info = info

    def info(self) -> dict[str, Any]:
        if isinstance(self._info, Exception):
            raise self._info
        return self._info


def told(info: dict[str, Any] | Exception) -> list[tuple[str, str]]:
    """Return the level and the check of what is logged."""
    with capture_logs() as logs:
        look_at(Server(info))  # type: ignore[arg-type]
    assert {one["event"] for one in logs} <= {"redis_fault"}
    return [(one["log_level"], one["check"]) for one in logs]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"maxmemory_policy": "allkeys-lru"}, [("error", "memory policy")]),
        ({"maxmemory": 100, "used_memory": 79}, []),
        ({"maxmemory": 100, "used_memory": 80}, [("warning", "memory")]),
        ({"maxmemory": 100, "used_memory": 100}, [("error", "memory")]),
        ({"role": "slave", "evicted_keys": 2}, [("error", "role"), ("error", "evictions")]),
        ({"aof_enabled": 0}, [("warning", "persistence")]),
        # the one of `trace-ocr run`
        ({"aof_enabled": 0, "tcp_port": 0}, []),
    ],
)
def test_each_fault_is_logged_once(changed: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert told({**SOUND, **changed}) == expected


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), redis.ResponseError("NOPERM")])
def test_a_server_that_says_nothing_does_not_keep_a_process_from_starting(error: Exception) -> None:
    assert told(error) == []


def test_a_node_of_a_cluster_is_refused_by_name() -> None:
    with pytest.raises(BrokerError, match=r"TRACE_OCR_REDIS_URL: .* node of a Redis Cluster"):
        told({**SOUND, "cluster_enabled": 1})
