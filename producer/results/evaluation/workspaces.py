"""The same report over finished workspaces: last month's model against this month's, joined by id."""

from collections.abc import Sequence

from contract.errors import TruthError
from contract.model_store import ModelStore
from contract.storage import Storage
from contract.workspace import Workspace
from producer.results.evaluation.evaluation import Evaluation
from producer.results.evaluation.files import Folder, Question, reported, truth_notes
from producer.results.evaluation.finished import FinishedJob, finished_jobs
from producer.results.evaluation.joined import FAILED, NOT_JOINED, join
from producer.results.evaluation.pictures import pictures_of
from producer.results.evaluation.report import Report, Speed
from producer.results.evaluation.truth import Truth, check_by, load_truth


def evaluate(
    workspaces: Sequence[Workspace],
    folder: Folder,
    storage: Storage,
    store: ModelStore | None,
    truth: str | None,
    by: str | None,
    target_precision: float,
) -> Report:
    """Write and return the report over finished workspaces.

    For commands only: every file that the user may read is allowed.

    Args:
        truth: a file with the correct texts; without one, or where it has none, lines' labels count
        by: `folder`, or a column of the truth

    Raises:
        UsageError: a job is not complete, or its kind has no readings to compare
        TruthError: the truth cannot be used, or names no item
    """
    check_by(by, truth)
    jobs = finished_jobs(workspaces)
    fitted = _fitted(load_truth(truth, by, storage), jobs) if truth else None
    question = Question(
        title=", ".join(dict.fromkeys(one.job.id for one in jobs)),
        models=[model for one in jobs for model in one.compared(store)],
        truth=fitted,
        by=by,
        target_precision=target_precision,
        notes=list(truth_notes(fitted)) if fitted else [],
    )
    with folder.disagreements() as note:
        evaluation = Evaluation(question.models, fitted, by, note)
        counts = join(jobs, evaluation.add)
    speeds = _speeds(jobs, evaluation)
    checkpoints = [model for one in jobs for model in one.summary["models"]]
    report = reported(question, evaluation, speeds, checkpoints, counts[FAILED], counts[NOT_JOINED])
    examples = evaluation.examples()
    wanted = [(example.disagreement.id, example.chunk) for example in examples]
    folder.write(report, examples, pictures_of(wanted, jobs[0].workspace, storage, None))
    return report


def _fitted(truth: Truth, jobs: Sequence[FinishedJob]) -> Truth:
    counts = truth.fit(jobs[0].items())
    if not counts.by_id + counts.by_name:
        root = jobs[0].workspace.root
        raise TruthError(f"{counts.source} names no item of {root}: its keys must be ids or file names")
    return truth


def _speeds(jobs: Sequence[FinishedJob], evaluation: Evaluation) -> list[Speed | None]:
    crops = evaluation.counts().read
    shares = iter([None if number is None else number / max(1, crops) for number in evaluation.passed_on()])
    return [speed for one in jobs for speed in one.speeds([next(shares) for _ in one.models])]
