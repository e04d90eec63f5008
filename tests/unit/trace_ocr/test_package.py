"""The package itself: what it needs installed, and that type checkers may use its types."""

import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[3]

USING = """
import sys

sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: not importable

import asyncio, httpx
from trace_ocr import AsyncClient, Client, RecognitionLine, UnauthorizedError

refusing = httpx.MockTransport(lambda request: httpx.Response(401, json={"detail": "no"}))
try:
    Client("http://ocr.test", "key", transport=refusing).job("night").wait()
except UnauthorizedError as error:
    print(error)
try:
    asyncio.run(AsyncClient("http://ocr.test", transport=refusing).recognition([("a.png", b"")]))
except UnauthorizedError as error:
    print(error)
"""
"""Uses the clients as if only some top-level modules could be imported."""


def closure(*names: str) -> set[str]:
    """Return distributions and what they need without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower()
        if name not in found:
            found.add(name)
            needed = map(Requirement, requires(name) or ())
            waiting += [one.name for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
    return found


def test_httpx_and_msgspec_are_all_that_it_needs() -> None:
    """Given that no other distribution is installed, and neither is the rest of this one."""
    there = closure("httpx", "msgspec")
    hidden = {
        module
        for module, names in packages_distributions().items()
        if not there & {name.lower() for name in names} and module not in ("contract", "trace_ocr")
    }
    assert {"pydantic", "redis", "celery", "rich", "tenacity", "structlog"} <= hidden

    command = [sys.executable, "-c", USING, ",".join({*hidden, "producer", "worker"})]
    used = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert used.stderr == ""
    assert used.stdout.count("HTTP 401") == 2


@pytest.mark.parametrize("package", ["contract", "trace_ocr"])
def test_type_checkers_of_users_see_its_types(package: str) -> None:
    """The statuses and lines that it returns are the contract's."""
    assert files(package).joinpath("py.typed").is_file()
