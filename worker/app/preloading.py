"""What a worker loads when it starts, before the first chunk or upload asks for it."""

from collections.abc import Callable

import structlog

from contract.errors import TraceOcrError
from worker.jobs.context import WorkerContext
from worker.kinds import make_pipeline
from worker.monitoring.ready import ReadyFile


def get_ready(context: WorkerContext, ready: ReadyFile, report: Callable[[], None]) -> None:
    """Load the models that new jobs need, and only then be ready: an upload would wait for them.

    Args:
        report: shows the change without delay
    """
    try:
        preload(context)
    finally:
        ready.begin()
        report()


def preload(context: WorkerContext) -> None:
    """Load the default models of the kinds that the settings name."""
    for kind in context.settings.preload:
        try:
            make_pipeline(kind, context.settings.parameters_of(kind), context.models)
        except TraceOcrError as error:
            # Jobs with other models can be read; a chunk that needs these raises the same error.
            structlog.get_logger().warning("preload_failed", kind=kind, error=str(error))
