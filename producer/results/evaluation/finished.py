"""Finished jobs as a report compares them: their models, under names that no other has, and their lines."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from contract.cascade import parse_cascade
from contract.errors import UsageError
from contract.job import Job
from contract.kinds.compare import CompareParameters
from contract.kinds.recognition import RecognitionParameters
from contract.lines import CompareLine, ModelReading, RecognitionLine
from contract.model_store import ModelStore
from contract.workspace import Workspace
from producer.results.evaluation.evaluation import Compared
from producer.results.evaluation.report import Speed
from producer.results.evaluation.speed import compared_speed, summary_speed
from producer.results.evaluation.vocabularies import vocabulary_of
from producer.results.merge import final_lines
from producer.results.quality import Quality
from producer.results.sinks.base import MergedLine
from producer.results.totals import Totals


@dataclass(frozen=True)
class FinishedJob:
    """A complete recognition or compare job; `names` are its models' names in the report."""

    workspace: Workspace
    job: Job
    summary: dict[str, Any]
    models: tuple[str, ...]
    names: tuple[str, ...]
    characters: str | None

    def lines(self) -> Iterator[MergedLine]:
        """Yield the line of each item, in source order."""
        assert self.job.plan is not None
        return final_lines(self.job, self.job.plan, self.workspace, Totals(), Quality(self.job.kind))

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield id and file name of each item."""
        assert self.job.plan is not None
        for number in range(self.job.plan.chunks):
            for item in self.workspace.items(number):
                yield item.id, item.name

    def compared(self, store: ModelStore | None) -> Iterator[Compared]:
        """Yield the models as an evaluation takes them."""
        for model, name in zip(self.models, self.names, strict=True):
            cascade = parse_cascade(model)
            yield Compared(name, cascade and cascade.second, vocabulary_of(model, self.characters, store))

    def line_of(self, line: bytes) -> CompareLine:
        """Return a line as one of a comparison, its readings under the names of the report."""
        if self.job.kind == "compare":
            compared = msgspec.json.decode(line, type=CompareLine)
            readings = tuple(
                msgspec.structs.replace(reading, model=name)
                for reading, name in zip(compared.readings, self.names, strict=True)
            )
            return msgspec.structs.replace(compared, readings=readings)
        read = msgspec.json.decode(line, type=RecognitionLine)
        reading = ModelReading(self.names[0], read.value, read.confidence, read.model)
        return CompareLine(read.id, read.name, (reading,), read.label, read.note)

    def speeds(self, shares_passed_on: Sequence[float | None]) -> Iterator[Speed | None]:
        """Yield the speed of each model, as its own job had it.

        Args:
            shares_passed_on: the share of crops that each cascade's second model read; None for one model
        """
        if self.job.kind != "compare":
            yield summary_speed(self.summary)
            return
        crops, seconds = self.summary["request_counts"]["completed"], self.summary["stage_seconds"]
        for model, share in zip(self.models, shares_passed_on, strict=True):
            yield compared_speed(model, seconds, crops, share)


def finished_jobs(workspaces: Sequence[Workspace]) -> list[FinishedJob]:
    """Return the jobs of workspaces; a model of several has its job's id behind its name.

    Raises:
        UsageError: a job is not complete, or its kind has no readings to compare
    """
    jobs = [_finished(workspace) for workspace in workspaces]
    times = Counter(model for one in jobs for model in one.models)
    used: Counter[str] = Counter()
    named = []
    for one in jobs:
        names = [model if times[model] == 1 else f"{model} ({one.job.id})" for model in one.models]
        used.update(names)
        unique = tuple(name if used[name] == 1 else f"{name} #{used[name]}" for name in names)
        named.append(replace(one, names=unique))
    return named


def _finished(workspace: Workspace) -> FinishedJob:
    job, summary = workspace.require_job(), workspace.load_summary()
    parameters = job.parameters
    if isinstance(parameters, CompareParameters):
        models = parameters.models
    elif job.kind == "recognition" and isinstance(parameters, RecognitionParameters):
        models = (parameters.recognition_model,)
    else:
        raise UsageError(
            f"{workspace.root} is of a {job.kind} job: recognition and compare jobs can be evaluated"
        )
    if summary is None or not workspace.is_complete(job.id):
        raise UsageError(f"{workspace.root} is not complete: its job {job.id} has to end first")
    return FinishedJob(workspace, job, summary, models, models, parameters.characters)
