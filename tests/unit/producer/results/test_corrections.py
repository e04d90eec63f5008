"""Corrections: recorded in batches, folded, laid over results by the merge, exported for training."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from contract.errors import JobError, JobStateError, UsageError
from contract.job import Job, Plan
from contract.kinds import KINDS
from contract.kinds.base import Given
from contract.lines import (
    Block,
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
    encode_lines,
)
from contract.records import Item
from contract.region import Region
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.results import corrections
from producer.results.choice import Choice
from producer.results.correcting import StaleCorrectionError, Wish, check_correctable, corrections_of
from producer.results.correction_formats import FORMATS, as_jsonl, last
from producer.results.corrections import Correction, fold, load, overlay_of, record
from producer.results.merge import merge
from producer.results.opening import OpenJobs

BOX = (0.1, 0.2, 0.3, 0.4)
NONE = Estimate()


def word(value: str, confidence: float = 0.5) -> Word:
    return Word(value, BOX, 0.8, confidence, NONE)


def ocr(identity: str, *lines: tuple[str, ...]) -> OcrLine:
    texts = tuple(TextLine(BOX, 0.8, tuple(map(word, words))) for words in lines)
    blocks = tuple(Block(BOX, 0.8, (text,)) for text in texts)
    return OcrLine(identity, identity, 1, NONE, NONE, (10, 10), (PageText(blocks),))


def correction(number: int, after: str = "right", identity: str = "1.png", **given: Any) -> Correction:
    return Correction(identity, 0, 0, "read", after, "mia", float(number), **given)


@pytest.fixture(params=["local", "s3"])
def any_workspace(
    request: pytest.FixtureRequest, workspace: Workspace, s3_bucket: Any, storage: Storage
) -> Workspace:
    return workspace if request.param == "local" else open_workspace("s3://bucket/out", storage)


def test_corrections_are_kept_in_their_order(
    any_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "MOST_BATCHES", 3)
    made = [correction(number, f"text {number}\n\u2028é") for number in range(9)]

    for one in made:
        record(any_workspace, [one])
        assert load(any_workspace)[-1] == one

    # then some are folded by now, and all of them by the merge
    assert load(any_workspace) == made
    assert 0 < len(corrections.batch_uris(any_workspace)) <= 3
    fold(any_workspace)
    assert (load(any_workspace), corrections.batch_uris(any_workspace)) == (made, [])


def test_batches_of_a_fold_that_was_killed_count_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(workspace, [correction(1), correction(2)])
    with monkeypatch.context() as patch:
        # given that the process dies before it removes the batches
        patch.setattr(type(workspace.store), "delete", lambda *_: None)
        fold(workspace)

    assert len(load(workspace)) == 2
    fold(workspace)
    assert (len(load(workspace)), len(workspace.lines(workspace.corrections))) == (2, 2)


def test_two_that_fold_at_once_lose_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    record(workspace, [correction(1)])
    exchanged: Callable[..., bool] = corrections._exchanged

    def interrupted(*given: Any) -> bool:
        monkeypatch.setattr(corrections, "_exchanged", exchanged)
        record(workspace, [correction(2)])
        fold(workspace)
        return exchanged(*given)

    monkeypatch.setattr(corrections, "_exchanged", interrupted)
    fold(workspace)

    assert [one.at for one in load(workspace)] == [1, 2]


def test_a_damaged_file_names_itself(workspace: Workspace) -> None:
    workspace.store.replace(workspace.corrections, b"{}\n")

    with pytest.raises(JobError, match=r"corrections\.jsonl"):
        load(workspace)


def test_there_is_an_end_to_corrections(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "MOST_BATCHES", 1)
    monkeypatch.setattr(corrections, "MAX_BYTES", 60)
    record(workspace, [correction(1)])

    with pytest.raises(corrections.TooManyCorrectionsError, match="no more"):
        record(workspace, [correction(2)])
    assert len(load(workspace)) == 1


PAGE = ocr("p.png", ("to", "be"), ("or", "not", "to"))
FIELDS = KieLine(
    "p.png", "p.png", 1, NONE, NONE, (9, 9), (Field("a", (word("x"),)), Field("b", (word("y"),)))
)


@pytest.mark.parametrize(("kind", "line", "number"), [("ocr", PAGE, 3), ("ocr", PAGE, 4), ("kie", FIELDS, 1)])
def test_a_word_is_corrected_by_its_number(kind: str, line: Any, number: int) -> None:
    given = KINDS[kind].corrected
    assert given is not None

    corrected = given(given(line, {number: Given("is", "mia")}), {number: Given("was", "leo")})

    before, after = list(KINDS[kind].words(line)), list(KINDS[kind].words(corrected))
    assert [one.value for one in after if one.corrected_by is None] == [
        one.value for index, one in enumerate(before) if index != number
    ]
    assert (after[number].value, after[number].value_read, after[number].corrected_by) == (
        "was",
        before[number].value,
        "leo",
    )
    # and nothing else of the line has changed
    same = given(corrected, {number: Given(before[number].value, "leo")})
    assert encode_line(same).replace(
        f',"value_read":"{before[number].value}","corrected_by":"leo"'.encode(), b""
    ) == encode_line(line)


@pytest.fixture
def merged(workspace: Workspace, job: Job) -> Job:
    """Given a merged job of three crops, of which the second failed."""
    lines = [
        RecognitionLine("1.png", "1.png", "read", 0.5),
        ErrorLine("2.png", "/2.png", Failure("truncated", "cut"), 1),  # type: ignore[arg-type]
        RecognitionLine("3.png", "3.png", "", 0.0),
    ]
    return _merged(workspace, job, lines)


def _merged(workspace: Workspace, job: Job, lines: list[Any], **given: Any) -> Job:
    items = [Item(line.id, f"/in/{line.id}", **given) for line in lines]
    workspace.store.replace(workspace.chunk(0), encode_lines(items))
    workspace.store.replace(workspace.part(0), encode_lines(lines))
    kind = next(name for name, one in KINDS.items() if isinstance(lines[0], one.line))
    update = {"kind": kind, "parameters": KINDS[kind].parameters(), "plan": Plan(chunks=1, items=len(lines))}
    planned = job.model_copy(update={**update, "chunk_size": 10})
    workspace.save_job(planned)
    merge(planned, workspace)
    return planned


def correct(workspace: Workspace, job: Job, *wishes: Wish, at: float = 5.0) -> None:
    record(workspace, corrections_of(wishes, OpenJobs().items(workspace, job), "mia", at))


def lines_of(workspace: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in workspace.lines(workspace.results)]


def test_a_correction_shows_at_once_and_is_in_the_results_once_they_are_merged(
    workspace: Workspace, merged: Job
) -> None:
    correct(workspace, merged, Wish("1.png", 0, 0, "right", before="read"))

    item = OpenJobs().items(workspace, merged).at(0, 0)
    assert (item.value, item.value_read, item.corrected_by) == ("right", "read", "mia")
    assert lines_of(workspace)[0]["value"] == "read"
    summary = merge(merged, workspace)
    assert lines_of(workspace)[0] == {
        "id": "1.png",
        "name": "1.png",
        "value": "right",
        "confidence": 0.5,
        "value_read": "read",
        "corrected_by": "mia",
    }
    assert summary["corrections"] == {"texts": 1, "applied": 1}
    # and a later one keeps what was read
    correct(workspace, merged, Wish("1.png", 0, 0, "wrong", before="right"), at=6)
    merge(merged, workspace)
    found = OpenJobs().items(workspace, merged).page(Choice(text="wrong"), 5).data
    assert [(one.value, one.value_read) for one in found] == [("wrong", "read")]


def test_merging_again_changes_nothing(workspace: Workspace, merged: Job) -> None:
    correct(workspace, merged, Wish("3.png", 0, 2, "right"))

    merge(merged, workspace)
    before = workspace.lines(workspace.results)
    merge(merged, workspace)

    assert workspace.lines(workspace.results) == before


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (Wish("1.png", 0, 1, "x"), UsageError),
        (Wish("2.png", 0, 1, "x"), UsageError),
        (Wish("1.png", 0, 0, "x", word=0), UsageError),
        (Wish("1.png", 0, 0, "x", before="other"), StaleCorrectionError),
    ],
)
def test_what_does_not_fit_is_refused(
    wish: Wish, error: type[Exception], workspace: Workspace, merged: Job
) -> None:
    with pytest.raises(error):
        correct(workspace, merged, Wish("3.png", 0, 2, "y"), wish)

    assert load(workspace) == []


@pytest.mark.parametrize("number", [None, 5])
def test_a_page_has_only_its_words(number: int | None, workspace: Workspace, job: Job) -> None:
    with pytest.raises(UsageError, match="5 words"):
        correct(workspace, _merged(workspace, job, [PAGE]), Wish("p.png", 0, 0, "x", word=number))


@pytest.mark.parametrize("kind", ["compare", "detection"])
def test_a_kind_without_one_text_is_not_corrected(kind: str) -> None:
    with pytest.raises(JobStateError, match=kind):
        check_correctable(KINDS[kind])


def test_corrections_that_fit_no_line_are_counted_and_nothing_else(workspace: Workspace, merged: Job) -> None:
    record(workspace, [correction(1, identity="gone.png"), correction(2, word=3)])

    assert merge(merged, workspace)["corrections"] == {"texts": 2, "applied": 1}
    assert lines_of(workspace)[0]["value"] == "read"


HOSTILE = '</script>"\\\n\u2028=1+1'


def test_doctr_gets_the_last_text_of_each_crop(workspace: Workspace, merged: Job) -> None:
    correct(workspace, merged, Wish("1.png", 0, 0, "first"), at=1)
    correct(workspace, merged, Wish("1.png", 0, 0, HOSTILE), Wish("3.png", 0, 2, ""), at=2)

    made = b"".join(FORMATS["doctr"](merged, workspace, load(workspace)))

    assert json.loads(made) == {"1.png": HOSTILE, "3.png": ""}


def test_label_studio_gets_what_was_read_and_what_is_right(workspace: Workspace, job: Job) -> None:
    pages = _merged(workspace, job, [PAGE, ocr("q.png", ("x",))], page=2)
    correct(workspace, pages, Wish("p.png", 0, 0, "first", word=1), Wish("q.png", 0, 1, "y", word=0), at=1)
    correct(workspace, pages, Wish("p.png", 0, 0, HOSTILE, word=1), at=2)

    tasks = json.loads(b"".join(FORMATS["label-studio"](pages, workspace, load(workspace))))

    assert [task["data"] for task in tasks] == [
        {"image": "/in/p.png", "id": "p.png", "page": 2},
        {"image": "/in/q.png", "id": "q.png", "page": 2},
    ]
    box, text = tasks[0]["annotations"][0]["result"]
    assert box["value"] == pytest.approx({"x": 10, "y": 20, "width": 20, "height": 20, "rotation": 0})
    assert (box["type"], box["from_name"], box["id"]) == ("rectangle", "bbox", text["id"])
    assert (text["value"]["text"], text["value"]["x"]) == ([HOSTILE], box["value"]["x"])
    (prediction,) = tasks[0]["predictions"]
    assert prediction["result"][1]["value"]["text"] == ["be"]
    assert prediction["score"] == 0.5


@pytest.mark.parametrize("name", FORMATS)
def test_without_corrections_a_format_is_sound(name: str, workspace: Workspace, merged: Job) -> None:
    made = b"".join(FORMATS[name](merged, workspace, []))

    assert made == b"" if name == "jsonl" else not json.loads(made)


def test_the_log_has_every_correction(workspace: Workspace, merged: Job) -> None:
    made = [correction(1), correction(2, geometry=BOX, word=1, confidence=0.25)]

    written = b"".join(as_jsonl(merged, workspace, made)).splitlines()

    assert [msgspec.json.decode(line, type=Correction) for line in written] == made
    assert [(one.before, one.after) for one in last(made)] == [("read", "right"), ("read", "right")]
    assert overlay_of(made)["1.png"] == {None: ("right", "mia"), 1: ("right", "mia")}


def test_a_region_of_a_page_has_its_place_if_it_is_a_share(workspace: Workspace, job: Job) -> None:
    crop = RecognitionLine("p.png#r=1", "p.png", "read", 0.5)
    polygon = Region((0.0, 0.0, 1.0, 0.0, 1.0, 0.5), "rel")
    regions = _merged(workspace, job, [crop], region=polygon)
    correct(workspace, regions, Wish(crop.id, 0, 0, "right"))

    (task,) = json.loads(b"".join(FORMATS["label-studio"](regions, workspace, load(workspace))))

    shape, _ = task["annotations"][0]["result"]
    assert shape["value"] == {"points": [[0, 0], [100, 0], [100, 50]]}
    assert json.loads(b"".join(FORMATS["doctr"](regions, workspace, load(workspace)))) == {}
