"""The four files of a comparison: `compare.json`, `compare.csv`, `disagreements.jsonl` and `compare.html`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from contract.counting import counted
from contract.lines import encode_line
from contract.storage import Store, join
from contract.workspace import intact
from producer.results.evaluation.definitions import DEFINITIONS
from producer.results.evaluation.evaluation import Compared, Evaluation, Example
from producer.results.evaluation.html import compare_html
from producer.results.evaluation.pictures import Picture
from producer.results.evaluation.report import Disagreement, ModelReport, Report, Speed
from producer.results.evaluation.table import to_csv
from producer.results.evaluation.truth import Truth

JSON, CSV, DISAGREEMENTS, HTML = "compare.json", "compare.csv", "disagreements.jsonl", "compare.html"

MAX_REPORT_BYTES = 64 << 20
"""Maximum bytes of `compare.json` or `compare.html` that are read back: pictures are 8 MiB at most."""


@dataclass(frozen=True)
class Folder:
    """Where a comparison is written."""

    root: str
    store: Store

    def paths(self) -> Iterator[str]:
        """Yield the URI of each file."""
        for name in (JSON, CSV, DISAGREEMENTS, HTML):
            yield join(self.root, name)

    @contextlib.contextmanager
    def disagreements(self) -> Iterator[Callable[[Disagreement], None]]:
        """Yield a function that writes a line of `disagreements.jsonl`."""
        with self.store.writer(join(self.root, DISAGREEMENTS)) as stream:

            def write(noted: Disagreement) -> None:
                stream.write(encode_line(noted))

            yield write

    def write(self, report: Report, examples: Sequence[Example], pictures: Sequence[Picture]) -> None:
        """Write the other three files, each replaced as a whole."""
        files = {
            JSON: msgspec.json.format(msgspec.json.encode(report)) + b"\n",
            CSV: to_csv(report.models).encode(),
            HTML: compare_html(report, examples, pictures).encode(),
        }
        for name, data in files.items():
            self.store.replace(join(self.root, name), data)


def load_report(folder: Folder) -> Report:
    """Return the report in a folder.

    Raises:
        ObjectMissingError: there is none
        JobError: it is damaged
    """
    uri = join(folder.root, JSON)
    with intact(uri):
        return msgspec.json.decode(folder.store.read(uri, MAX_REPORT_BYTES), type=Report)


@dataclass(frozen=True)
class Question:
    """What is compared, and how it is to be reported.

    Args:
        title: the job's id, or those of the evaluated workspaces
        truth: the correct texts, fitted to the items; None if there is no file, or it cannot be used
        notes: what a reader must know about the truth
    """

    title: str
    models: Sequence[Compared]
    truth: Truth | None
    by: str | None
    target_precision: float
    notes: Sequence[str] = ()


def reported(
    question: Question,
    evaluation: Evaluation,
    speeds: Iterable[Speed | None],
    checkpoints: Sequence[Mapping[str, str]],
    failed: int = 0,
    not_joined: int = 0,
) -> Report:
    """Return the report of a comparison whose crops are all counted."""
    measured = evaluation.models(question.target_precision)
    models = tuple(
        msgspec.structs.replace(model, speed=speed) for model, speed in zip(measured, speeds, strict=True)
    )
    crops = evaluation.counts(failed, not_joined)
    return Report(
        title=question.title,
        target_precision=question.target_precision,
        by=question.by,
        crops=crops,
        truth=question.truth.counts if question.truth else None,
        notes=(*question.notes, *_notes(models, question)),
        models=models,
        pairs=tuple(evaluation.pairs()),
        checkpoints=checkpoints,
        definitions=DEFINITIONS,
    )


def _notes(models: Sequence[ModelReport], question: Question) -> Iterator[str]:
    judged = [(model.name, model.accuracy) for model in models if model.accuracy]
    if not judged:
        yield "No crop has a truth: the report shows where the models agree, not which one is right."
        return
    for name, accuracy in judged:
        if accuracy.outside_vocabulary:
            number = accuracy.outside_vocabulary
            yield f"{name} cannot read {counted(number, 'truth')}: a character is not in its vocabulary."
        if accuracy.threshold is None:
            yield f"{name} reaches a precision of {question.target_precision:.2%} at no threshold."
    unknown = [name for name, accuracy in judged if accuracy.outside_vocabulary is None]
    if unknown:
        yield (
            f"Truths outside the vocabulary of {', '.join(unknown)} are not counted: it has no card in "
            "TRACE_OCR_MODEL_STORE, or the job's characters are a vocabulary's name."
        )


def truth_notes(truth: Truth) -> Iterator[str]:
    """Yield what a reader must know about how a truth file fits the items."""
    counts = truth.counts
    if not counts.by_id + counts.by_name:
        yield f"{counts.source} names no item of this comparison: its keys must be ids or file names."
    elif counts.unused:
        yield f"{counts.unused:,} of {counts.entries:,} entries of {counts.source} name no item."
    for number, what in (
        (counts.ambiguous, "items have no truth, because another item or entry has the same file name"),
        (counts.repeated, "entries of the truth repeat another one"),
        (counts.too_long, "entries of the truth are longer than a label may be, and left out"),
    ):
        if number:
            yield f"{number:,} {what}."
