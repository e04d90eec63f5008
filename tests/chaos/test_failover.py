"""Redis behind Sentinels: the primary dies in mid-job, and its replica has missed the last writes."""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.sentinel import Sentinel

from producer.local.embedded import find_server
from tests.chaos.scene import Record, RedisServer, Scene, free_port

PASSWORD = "of-the-servers"

SENTINELS = 3

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "operations.md"

CONFIGURATION = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor night 127.0.0.1 {primary} 2
sentinel auth-pass night {password}
sentinel down-after-milliseconds night 1000
sentinel failover-timeout night 5000
"""


@dataclass
class Failover:
    """A primary and its replica, and the Sentinels' view of them."""

    primary: RedisServer
    replica: RedisServer
    ports: list[int]

    @property
    def url(self) -> str:
        urls = (f"sentinel://trace-ocr:{PASSWORD}@127.0.0.1:{port}" for port in self.ports)
        return ";".join(urls) + "/0?master=night"

    @property
    def client(self) -> redis.Redis:
        """A client of whichever server is the primary."""
        sentinels = Sentinel([("127.0.0.1", port) for port in self.ports], password=PASSWORD)
        client: redis.Redis = sentinels.master_for("night", decode_responses=True)
        return client

    def allow_what_the_documentation_says(self) -> None:
        """Make the user that our processes log in as; it is not replicated."""
        (rules,) = re.findall(r"^ACL SETUSER trace-ocr (.*)$", DOCUMENTED.read_text(), re.MULTILINE)
        for server in (self.primary, self.replica):
            words = rules.replace("PASSWORD", PASSWORD).split()
            server.client.execute_command("ACL", "SETUSER", "trace-ocr", *words)

    def denied(self) -> list[str]:
        """Return what the new primary has refused to our processes."""
        refused = self.replica.client.acl_log()
        return [f"{one['reason']} {one['object']}" for one in refused if one["username"] == "trace-ocr"]

    def cut_the_replica_off(self) -> None:
        """Let the replica get no further writes."""
        self.replica.client.config_set("masterauth", "another")
        self.primary.client.execute_command("CLIENT", "KILL", "TYPE", "replica")


@pytest.fixture
def failover(
    make_redis_server: Callable[..., RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Failover]:
    login = {"requirepass": PASSWORD, "masterauth": PASSWORD}
    primary = make_redis_server(settings=login)
    of_primary = {"replicaof": f"127.0.0.1 {primary.port}", "repl-diskless-sync-delay": "0"}
    replica = make_redis_server(settings={**login, **of_primary})
    ports, processes = [free_port() for _ in range(SENTINELS)], []
    for port in ports:
        file = tmp_path / f"sentinel-{port}.conf"
        file.write_text(
            CONFIGURATION.format(port=port, folder=tmp_path, primary=primary.port, password=PASSWORD)
        )
        command = [str(find_server()), str(file), "--sentinel"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    servers = Failover(primary, replica, ports)
    servers.allow_what_the_documentation_says()
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", servers.url)
    yield servers
    for process in processes:
        process.kill()
        process.wait()


def knows_both(failover: Failover) -> bool:
    """Return whether every Sentinel knows the replica and the other Sentinels."""
    for port in failover.ports:
        try:
            (known,) = redis.Redis(port=port).sentinel_masters().values()
        except (redis.RedisError, ValueError):
            return False
        if (known["num-slaves"], known["num-other-sentinels"]) != (1, SENTINELS - 1):
            return False
    return bool(failover.replica.client.info("replication")["master_link_status"] == "up")


@pytest.mark.full
@pytest.mark.parametrize("kind", ["crops"], indirect=True)
def test_a_failover_to_a_replica_that_missed_writes(scene: Scene, failover: Failover, record: Record) -> None:
    scene.redis = failover  # type: ignore[assignment]
    scene.wait_until(lambda: knows_both(failover))
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(4)

    failover.cut_the_replica_off()
    scene.wait_for_chunks(8)
    assert not (scene.workspace / "_SUCCESS").exists()
    failover.primary.kill()

    scene.finish()
    assert failover.replica.client.info("replication")["role"] == "master"
    assert failover.denied() == []
    record(scene.assert_survived(faults=1))
