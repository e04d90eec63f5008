"""A Redis whose memory is full: it refuses writes, or drops what it holds, and says so at the start."""

import pytest

from tests.chaos.scene import Record, Scene

pytestmark = [pytest.mark.full, pytest.mark.parametrize("kind", ["crops"], indirect=True)]

LITTLE = "1"
"""Bytes that Redis may use: less than it does."""


def wait_for_fault(scene: Scene, check: str) -> None:
    """Wait until a worker that starts now says what is wrong; it serves all the same."""
    for line in scene.start_worker().wait_for("redis_fault"):
        if f'"check": "{check}"' in line or f'"check":"{check}"' in line:
            return
    raise AssertionError(scene.report(f"no fault {check}"))


def test_redis_full_in_mid_job(scene: Scene, record: Record) -> None:
    """Given noeviction, as it should be: no chunk is sent or marked until there is room."""
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(4)

    scene.redis.client.config_set("maxmemory", LITTLE)
    wait_for_fault(scene, "memory")
    assert not (scene.workspace / "_SUCCESS").exists()
    scene.redis.client.config_set("maxmemory", "0")

    scene.finish()
    record(scene.assert_survived(faults=2))


def test_redis_evicts_everything_in_mid_job(scene: Scene, record: Record) -> None:
    """Given allkeys-lru, as caches have it: what is queued is gone, and sent again."""
    scene.redis.client.config_set("maxmemory-policy", "allkeys-lru")
    scene.start_control()
    wait_for_fault(scene, "memory policy")
    scene.submit()
    scene.wait_for_chunks(4)

    scene.redis.client.config_set("maxmemory", LITTLE)
    scene.wait_until(lambda: int(scene.redis.client.info("stats")["evicted_keys"]) > 0)
    scene.redis.client.config_set("maxmemory", "0")

    scene.finish()
    record(scene.assert_survived(faults=2))
