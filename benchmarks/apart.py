"""A contestant in a process of its own, as users run it: allocators read their environment only once."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar
from unittest.mock import patch

S = TypeVar("S")

Build = Callable[[S], Callable[[], float]]
"""Prepares a contestant in its process, from the scene; returns a function that runs it once and measures."""


@contextmanager
def apart(build: Build[S], scene: S, environment: Mapping[str, str]) -> Iterator[Callable[[], float]]:
    """Yield a function that runs a contestant once in its process and returns what it measured."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(build, scene, there), daemon=True)
    with patch.dict(os.environ, environment):
        process.start()

    def run() -> float:
        here.send(None)
        return float(here.recv())

    try:
        run()  # loads, compiles and fills caches
        yield run
    finally:
        process.kill()
        process.join()


def _serve(build: Build[S], scene: S, connection: Connection) -> None:
    run = build(scene)
    while True:
        connection.recv()
        connection.send(run())
