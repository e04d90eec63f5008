"""The one fixture of the client's tests: a scripted API, for both clients in turn."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from tests.unit.trace_ocr.server import Serve, Server


@pytest.fixture(params=["sync", "async"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Given a function that makes an API of scripted answers; its clients are of either kind."""
    if request.param == "sync":
        yield Server
        return
    with asyncio.Runner() as runner:
        yield partial(Server, runner=runner)
