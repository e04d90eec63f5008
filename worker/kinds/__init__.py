"""The pipelines of the kinds: one module per kind, which makes its pipeline."""

from collections.abc import Callable
from typing import Any

from contract.kinds.base import Parameters
from contract.registry import Registry
from worker.models.imports import doctr_side
from worker.models.pool import Models
from worker.pipeline.run import Pipeline

PIPELINES: Registry[Callable[[Any, Models], Pipeline]] = Registry(
    "worker.kinds", "PIPELINE", ("recognition", "ocr", "detection", "kie", "compare")
)
"""By kind: a function that makes the pipeline from a job's parameters and the process's models."""


def make_pipeline(kind: str, parameters: Parameters, models: Models) -> Pipeline:
    """Return the pipeline of a kind with a job's parameters; its models are loaded at their first use.

    Raises:
        ModelUnavailableError, UnfitWorkerError: as `ModelPool.get`
    """
    # Most of them import docTR.
    doctr_side(f"worker.kinds.{kind}")
    return PIPELINES[kind](parameters, models)
