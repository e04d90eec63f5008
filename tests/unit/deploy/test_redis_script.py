"""How Redis is started: with its password from the environment, and never as an argument."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy.deployment import SECRETS, compose, container_of, pods

SCRIPTS = {
    "compose": compose(SECRETS)["services"]["redis"]["command"][2],
    "Kubernetes": container_of(pods()["redis"])["args"][0],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_password_reaches_redis_in_a_file_that_only_it_reads(script: str, tmp_path: Path) -> None:
    server = tmp_path / "valkey-server"
    server.write_text('#!/bin/sh\necho "$@"\ncat "$1"\nstat -c %a "$1" 2>/dev/null || stat -f %Lp "$1"\n')
    server.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "0a1b"}

    shell = ["sh", "-c", script.replace("/tmp/", f"{tmp_path}/")]
    arguments, password, mode = subprocess.check_output(shell, env=environment, text=True).splitlines()

    assert "0a1b" not in arguments
    assert password == 'requirepass "0a1b"'
    assert mode == "600"


def test_compose_starts_redis_without_a_password_where_none_is_set(tmp_path: Path) -> None:
    server = tmp_path / "valkey-server"
    server.write_text('#!/bin/sh\ncat "$1"\n')
    server.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": ""}

    shell = ["sh", "-c", SCRIPTS["compose"].replace("/tmp/", f"{tmp_path}/")]

    assert subprocess.check_output(shell, env=environment, text=True) == "protected-mode no\n"
