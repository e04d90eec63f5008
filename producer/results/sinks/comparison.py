"""The report of a compare job: how right each model is, or how far the models agree."""

import contextlib
from collections.abc import Iterator

import msgspec

from contract.cascade import parse_cascade
from contract.errors import OutsideAllowedRootsError, TruthError
from contract.job import Job, roots_of
from contract.kinds.compare import CompareParameters
from contract.lines import CompareLine
from contract.model_store import ModelStore
from contract.records import Item
from contract.workspace import Workspace
from producer.results.evaluation.evaluation import Compared, Evaluation, Example
from producer.results.evaluation.files import Folder, Question, reported, truth_notes
from producer.results.evaluation.pictures import Picture, pictures_of
from producer.results.evaluation.report import Speed
from producer.results.evaluation.speed import compared_speed
from producer.results.evaluation.truth import Truth, check_by, load_truth
from producer.results.evaluation.vocabularies import vocabulary_of
from producer.results.sinks.base import MergedLine, SinkContext, Write

NO_ACCESS = "this merge may read nothing besides the workspace"


class ComparisonSink:
    """Writes the report of a comparison into the workspace."""

    kinds = frozenset({"compare"})

    def check(self, job: Job) -> None:
        """Raise TruthError if `by` is a column and there is no truth that could have it."""
        check_by(_parameters(job).by, _parameters(job).truth)

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that counts each crop; the report is written at the end of the block."""
        question, folder = _question(context), Folder(context.workspace.root, context.workspace.store)
        lines = msgspec.json.Decoder(CompareLine)
        failed = 0
        with folder.disagreements() as note:
            evaluation = Evaluation(question.models, question.truth, question.by, note)

            def write(merged: MergedLine) -> None:
                nonlocal failed
                if merged.failure:
                    failed += 1
                else:
                    evaluation.add(lines.decode(merged.line), merged.chunk)

            yield write
        examples = evaluation.examples()
        speeds = _speeds(context, question, evaluation)
        report = reported(question, evaluation, speeds, context.totals.models, failed)
        folder.write(report, examples, _pictures(examples, context))

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URI of each file."""
        yield from Folder(workspace.root, workspace.store).paths()


SINK = ComparisonSink()


def _parameters(job: Job) -> CompareParameters:
    assert isinstance(job.parameters, CompareParameters)
    return job.parameters


def _question(context: SinkContext) -> Question:
    parameters, access = _parameters(context.job), context.access
    truth, notes = _truth(context)
    store = access.model_store if access else None
    models = [_compared(model, parameters.characters, store) for model in parameters.models]
    return Question(context.job.id, models, truth, parameters.by, parameters.target_precision, notes)


def _compared(model: str, characters: str | None, store: ModelStore | None) -> Compared:
    cascade = parse_cascade(model)
    return Compared(model, cascade and cascade.second, vocabulary_of(model, characters, store))


def _speeds(context: SinkContext, question: Question, evaluation: Evaluation) -> list[Speed | None]:
    crops = evaluation.counts().read
    shares = (None if number is None else number / max(1, crops) for number in evaluation.passed_on())
    return [
        compared_speed(model.name, context.totals.stage_seconds, crops, share)
        for model, share in zip(question.models, shares, strict=True)
    ]


def _truth(context: SinkContext) -> tuple[Truth | None, list[str]]:
    """Return the job's truth, fitted to its items, and what to note about it.

    A file that can no longer be used costs the report its accuracies, not the job its results.
    """
    parameters, access = _parameters(context.job), context.access
    if parameters.truth is None:
        return None, []
    if access is None:
        return None, [f"The truth was not read: {NO_ACCESS}."]
    try:
        roots = access.roots if context.job.roots is None else access.roots.within(context.job.roots)
        truth = load_truth(parameters.truth, parameters.by, access.storage, roots)
    except (TruthError, OutsideAllowedRootsError) as error:
        return None, [f"The truth could not be used: {error}."]
    truth.fit((item.id, _name(item)) for item in _items(context))
    return truth, list(truth_notes(truth))


def _items(context: SinkContext) -> Iterator[Item]:
    assert context.job.plan is not None
    for number in range(context.job.plan.chunks):
        yield from context.workspace.items(number)


def _name(item: Item) -> str:
    return item.name


def _pictures(examples: list[Example], context: SinkContext) -> list[Picture]:
    access = context.access
    if access is None:
        return [Picture(missing=NO_ACCESS) for _ in examples]
    try:
        roots = roots_of(context.job, access.roots)
    except OutsideAllowedRootsError as error:
        return [Picture(missing=str(error)) for _ in examples]
    wanted = [(example.disagreement.id, example.chunk) for example in examples]
    return pictures_of(wanted, context.workspace, access.storage, roots)
