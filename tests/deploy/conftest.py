"""Tests of a deployment that really runs: `make deploy-test`, never `make test`. They print a table."""

import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.reports import TestReport
from _pytest.terminal import TerminalReporter

from tests.deploy.job import fill
from tests.deploy.stack import Stack, docker


@pytest.fixture(scope="session")
def folder() -> Path:
    """The copy of this tree that is deployed."""
    assert os.environ.get("TRY_FOLDER"), "started by deploy/try/run.sh: make deploy-test"
    return Path(os.environ["TRY_FOLDER"], "product")


@pytest.fixture(scope="session")
def stack(folder: Path) -> Iterator[Stack]:
    """Given the stack without a password for Redis, healthy, with weights and crops on its storage."""
    stack = Stack(folder)
    stack.end()  # what an earlier run has left
    stack.start()
    fill(stack)
    yield stack
    stack.end()


@pytest.fixture(scope="session")
def labels(folder: Path) -> dict[str, str]:
    """The correct texts of the sample crops."""
    found: dict[str, str] = json.loads((folder / "samples" / "labels.json").read_text())
    return found


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the table of docs/deployment.md."""
    reports = [
        report
        for group in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(group)
        if isinstance(report, TestReport)
    ]
    seconds: dict[str, float] = defaultdict(float)
    results: dict[str, str] = {}
    for report in terminalreporter.stats.get("", []) + reports:
        seconds[report.nodeid] += report.duration
    for report in reports:
        results[report.nodeid] = "not run" if report.skipped else "held" if report.passed else "FAILED"
    if not results:
        return
    terminalreporter.section("the deployment")
    for line in (_about(), "", "| check | result | seconds |", "|---|---|---|"):
        terminalreporter.write_line(line)
    for node, result in results.items():
        name = node.rpartition("::test_")[2].replace("_", " ")
        terminalreporter.write_line(f"| {name} | {result} | {seconds[node]:.0f} |")


def _about() -> str:
    versions = docker(
        "version", "--format", "{{.Server.Version}}", folder=Path(os.environ["TRY_FOLDER"]), check=False
    )
    return f"Engine {versions.stdout.strip() or '?'}, Linux {platform.release()}, {os.cpu_count()} cores."
