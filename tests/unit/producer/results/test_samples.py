"""Some of a job's results, each with an excerpt."""

from typing import Any

import pytest

from contract.errors import ErrorCode, ObjectMissingError
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
from contract.records import Item
from contract.region import Region
from contract.workspace import Workspace
from producer.results.samples import regions_of_page, samples

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


PAGE, OTHER = Region((0, 0, 9, 9)), Region((0.1, 0.1, 0.9, 0.9), "rel", "total")
REGIONS = [
    Item("x.png#r=1", "/in/x.png", region=PAGE),
    Item("p.png#r=1", "/in/p.png", region=PAGE),
    Item("p.png#r=total", "/in/p.png", region=OTHER),
    Item("crop.png", "/in/crop.png"),
    Item("p.png#r=3", "/in/p.png", region=PAGE),
]


@pytest.fixture
def regions(workspace: Workspace) -> Workspace:
    """Given regions of two pages, and a crop, of which one region failed and one is not read yet."""
    lines: list[Any] = [RecognitionLine(item.id, "n", item.id, 0.5) for item in REGIONS[:4]]
    lines[1] = ErrorLine(REGIONS[1].id, "/in/p.png", Failure(ErrorCode.BAD_REGION, "outside"), 1)
    workspace.store.replace(workspace.chunk(0), b"".join(map(encode_line, REGIONS)))
    workspace.store.replace(workspace.part(0), b"".join(map(encode_line, lines)))
    return workspace


def test_a_region_has_the_picture_of_the_first_one_of_its_page(regions: Workspace) -> None:
    found = {one.id: (one.index, one.image, one.region) for one in samples(regions, 5)}

    assert found == {
        "x.png#r=1": (0, 0, PAGE),
        "p.png#r=total": (2, 1, OTHER),
        "crop.png": (3, 3, None),
    }


def test_the_regions_of_a_page_come_with_their_texts_and_errors(regions: Workspace) -> None:
    found = regions_of_page(regions, 0, 2)

    assert [(one.id, one.value, one.error and one.error.code) for one in found] == [
        ("p.png#r=1", None, "bad_region"),
        ("p.png#r=total", "p.png#r=total", None),
        ("p.png#r=3", None, None),
    ]
    assert regions_of_page(regions, 0, 3) == []
    with pytest.raises(ObjectMissingError):
        regions_of_page(regions, 0, 9)


def test_the_regions_of_one_page_are_bounded(regions: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.results.samples.MAX_REGIONS", 2)

    assert len(regions_of_page(regions, 0, 1)) == 2


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
