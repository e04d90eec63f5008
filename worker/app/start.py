"""The start of a worker process: its imports, then the worker."""

import importlib

from worker.models.imports import no_collections


def main() -> None:
    """Import the worker and run it."""
    with no_collections():
        serve = importlib.import_module("worker.app.main").main
    serve()
