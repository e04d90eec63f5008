"""What ends or is stopped in the middle of a job: nothing is lost, and nothing is there twice."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.deploy.job import begin, check
from tests.deploy.stack import Stack, until


@pytest.fixture
def begun(stack: Stack, request: pytest.FixtureRequest) -> str:
    """Given a job of many crops in its middle; return its id."""
    name = request.node.name.removeprefix("test_").split("[")
    identity = "-".join(part.strip("]").replace("_", "-") for part in name)[:60]
    return begin(stack, identity)


@pytest.mark.parametrize("service", ["worker", "control", "storage", "redis"])
def test_it_is_killed_in_mid_job(stack: Stack, begun: str, service: str, labels: dict[str, str]) -> None:
    stack.crash(service)

    check(stack, begun, labels)


def test_a_worker_is_killed_for_its_memory(stack: Stack, begun: str, labels: dict[str, str]) -> None:
    """Given a process beside the worker's that takes all memory: the kernel kills the worker's."""
    container = stack.container("worker")["Id"]
    device = _device_process(stack)
    # The kernel takes who is named first; the container's user may only ever name a process sooner.
    stack.execute("worker", "sh", "-c", f"echo 1000 > /proc/{device}/oom_score_adj")
    stack.execute("worker", "python", "-c", HOG, str(device), check=False)

    log = until(lambda: _died(stack), "the launcher says that its process was killed")

    assert log["status"] == -9
    assert "memory" in log["cause"]
    check(stack, begun, labels)
    assert stack.container("worker")["Id"] == container


HOG = """
import os, sys
held = []
while os.path.exists(f"/proc/{sys.argv[1]}"):
    held.append(b"x" * (64 << 20))
"""
"""Takes memory until a process is gone."""


def _device_process(stack: Stack) -> int:
    script = "grep -lz -- '^worker$' /proc/[0-9]*/cmdline | cut -d/ -f3"
    launcher_first = sorted(map(int, stack.execute("worker", "sh", "-c", script).stdout.split()))
    return launcher_first[-1]


def _died(stack: Stack) -> dict[str, Any] | None:
    log = stack.engine("logs", stack.container("worker")["Id"]).stderr.splitlines()
    found = [json.loads(line) for line in log if '"worker_died"' in line]
    return found[-1] if found else None


@pytest.fixture
def three_workers(stack: Stack) -> Iterator[None]:
    """Given three workers, and one again afterwards."""
    stack.up("--scale", "worker=3", "worker")
    yield
    stack.up("--scale", "worker=1", "worker")


def test_three_workers_share_a_job_and_are_restarted_one_after_another(
    stack: Stack, three_workers: None, labels: dict[str, str]
) -> None:
    job = begin(stack, "three-workers")
    seen: set[str] = set()
    until(lambda: len(_note(seen, stack, job)) == 3 or None, "three workers read the job")

    for container in stack.containers("worker"):
        stack.engine("restart", container["Id"])
        until(partial(_healthy, stack, container["Id"]), "the restarted worker is healthy")

    check(stack, job, labels)


def _note(seen: set[str], stack: Stack, job: str) -> set[str]:
    seen |= {one.worker for one in stack.status(job).running}
    return seen


def _healthy(stack: Stack, container: str) -> bool:
    found = {one["Id"]: one["State"] for one in stack.containers("worker")}
    return bool(found[container]["Health"]["Status"] == "healthy")


def test_a_worker_ends_within_its_grace_and_the_job_goes_on_when_it_is_back(
    stack: Stack, begun: str, labels: dict[str, str]
) -> None:
    before = stack.status(begun).chunks.done
    stack.compose("stop", "worker")
    (stopped,) = stack.containers("worker", all_=True)

    assert stopped["State"]["ExitCode"] == 0, "it was killed at the end of its grace"
    assert not stack.status(begun).running
    assert stack.status(begun).chunks.done >= before
    stack.up("worker")
    check(stack, begun, labels)


def test_control_api_and_flower_end_by_themselves_when_stopped(stack: Stack) -> None:
    names = ("control", "api", "flower")
    stack.compose("stop", *names)

    codes = {name: stack.containers(name, all_=True)[0]["State"]["ExitCode"] for name in names}

    stack.up(*names)
    assert codes == dict.fromkeys(names, 0)
