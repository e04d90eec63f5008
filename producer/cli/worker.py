"""`trace-ocr worker`: replaces this process with the launcher of the worker processes."""

import os
import sys

from contract.child_processes import python_module
from contract.settings import Settings, environment_of, variable_of
from producer.cli import options


@options.command()
@options.with_settings(
    *options.MODELS,
    *options.IMAGES,
    *options.WATCHING,
    *options.DELIVERY,
    "chunk_share",
    "shutdown_grace_seconds",
    "ready_folder",
)
def worker(settings: Settings) -> None:
    """Read chunks until stopped: one process per device, restarted if it dies."""
    settings.broker_url()
    # The launcher replaces this process, so that the producer never imports the worker package.
    environment = {**os.environ, **environment_of(settings), variable_of("devices"): settings.devices}
    os.execve(sys.executable, python_module("worker.app.launcher"), environment)  # noqa: S606
