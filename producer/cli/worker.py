"""`trace-ocr worker`: this process becomes the launcher of the worker processes."""

import os
import sys

from contract.child_processes import python_module
from contract.settings import Settings, environment_of
from producer.cli import options


@options.command()
@options.with_settings(
    *options.MODELS, *options.IMAGES, *options.WATCHING, *options.DELIVERY, "shutdown_grace_seconds"
)
def worker(settings: Settings) -> None:
    """Serve chunks until stopped: one process per device, restarted when it dies."""
    settings.broker_url()
    # The launcher takes this process's place: the worker side is never imported here.
    environment = {**os.environ, **environment_of(settings)}
    os.execve(sys.executable, python_module("worker.app.launcher"), environment)  # noqa: S606
