"""Some of a job's results, each with an excerpt."""

from typing import Any

import pytest

from contract.errors import ErrorCode
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import (
    Block,
    DetectionLine,
    ErrorLine,
    Estimate,
    Failure,
    Field,
    KieLine,
    OcrLine,
    PageText,
    RecognitionLine,
    TextLine,
    Word,
    encode_line,
)
from contract.workspace import Workspace
from producer.results.samples import samples

BOX = (0.0, 0.0, 1.0, 1.0)
NONE = Estimate()


def word(value: str, confidence: float) -> Word:
    return Word(value, BOX, 0.8, confidence, NONE)


WORDS = (word("two", 0.5), word("words", 1.0))


def ocr(words: tuple[Word, ...]) -> OcrLine:
    text = PageText((Block(BOX, 0.8, (TextLine(BOX, 0.8, words),)),))
    return OcrLine("a", "a", 1, NONE, NONE, (10, 10), (text,))


@pytest.fixture
def workspace(workspace: Workspace, job: Job) -> Workspace:
    """Given a workspace of a recognition job."""
    return job_of("recognition", job, workspace)


def job_of(kind: str, job: Job, workspace: Workspace) -> Workspace:
    workspace.save_job(job.model_copy(update={"kind": kind, "parameters": KINDS[kind].parameters()}))
    return workspace


@pytest.mark.parametrize(
    ("kind", "line", "value", "confidence"),
    [
        ("recognition", RecognitionLine("a", "a", "a crop", 0.25), "a crop", 0.25),
        ("ocr", ocr(WORDS), "two words", 0.75),
        ("ocr", ocr(()), "", None),
        ("kie", KieLine("a", "a", 1, NONE, NONE, (10, 10), (Field("words", WORDS),)), "two words", 0.75),
        ("detection", DetectionLine("a", "a", 1, (BOX,) * 7), "7 words found", None),
    ],
)
def test_each_kind_of_result_has_an_excerpt(
    kind: str, line: Any, value: str, confidence: float | None, job: Job, workspace: Workspace
) -> None:
    job_of(kind, job, workspace).store.replace(workspace.part(0), encode_line(line))

    (sample,) = samples(workspace, 5)

    assert (sample.id, sample.value, sample.confidence) == ("a", value, confidence)


def test_a_long_page_is_cut(job: Job, workspace: Workspace) -> None:
    line = ocr((word("word", 1.0),) * 1000)
    job_of("ocr", job, workspace).store.replace(workspace.part(0), encode_line(line))

    (sample,) = samples(workspace, 5)

    assert len(sample.value) == 200


def test_failed_items_and_unfinished_jobs_show_nothing(workspace: Workspace) -> None:
    assert samples(workspace, 5) == []
    failed = ErrorLine("a", "/a", Failure(ErrorCode.TRUNCATED, "no"), 1)
    workspace.store.replace(workspace.part(0), encode_line(failed))

    assert samples(workspace, 5) == []


def test_a_round_of_retries_with_few_results_is_completed_by_older_chunks(workspace: Workspace) -> None:
    # given a chunk of four results, and newer ones of a result and of a failed item
    def part(number: int, *lines: Any) -> None:
        workspace.store.replace(workspace.part(number), b"".join(map(encode_line, lines)))

    part(0, *(RecognitionLine(name, name, name, 0.5) for name in "abcd"))
    part(1, RecognitionLine("e", "e", "e", 0.5))
    part(2, ErrorLine("f", "/f", Failure(ErrorCode.TRUNCATED, "no"), 1))

    found = samples(workspace, 3)

    assert found[0].id == "e"
    assert [one.chunk for one in found] == [1, 0, 0]
    assert samples(workspace, 3) == found
