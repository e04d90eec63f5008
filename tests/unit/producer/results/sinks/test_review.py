"""`review.jsonl`: readings in doubt, with every reason; nothing is dropped from the results."""

import json
from typing import Any

import pytest

from contract.checks import Checks
from contract.errors import UsageError
from contract.job import Job, Plan, Retry
from contract.kinds import KINDS
from contract.lines import (
    Block,
    ErrorLine,
    Estimate,
    Failure,
    OcrLine,
    PageText,
    RecognitionLine,
    TextLine,
    Word,
    encode_lines,
)
from contract.source import Source
from contract.workspace import Workspace
from producer.results.merge import merge
from producer.results.sinks import check_exports

READ = [
    RecognitionLine("a/1.png", "1.png", "AB12", 0.95),
    RecognitionLine("a/2.png", "2.png", "AB12", 0.5),
    RecognitionLine("b/3.png", "3.png", "", 0.99),
    ErrorLine("b/4.png", "/b/4.png", Failure("truncated", "cut"), 1),  # type: ignore[arg-type]
    RecognitionLine("b/5.png", "5.png", "zz", 0.2),
]


@pytest.fixture
def merged(planned: Job, workspace: Workspace) -> Any:
    """Merge the lines above under some checks; return the summary."""

    def run(lines: Any = READ, **checks: Any) -> dict[str, Any]:
        for chunk in range(3):
            workspace.store.replace(workspace.part(chunk), encode_lines(lines[2 * chunk : 2 * chunk + 2]))
        return merge(planned.model_copy(update={"checks": Checks(**checks)}), workspace)

    return run


def reviewed(workspace: Workspace) -> dict[str, list[str]]:
    return {line["id"]: line["reasons"] for line in map(json.loads, workspace.lines(workspace.review))}


def test_without_checks_there_is_no_file(merged: Any, workspace: Workspace) -> None:
    assert merged()["review"] is None
    assert not workspace.store.exists(workspace.review)


def test_readings_below_the_threshold_are_listed_and_stay_results(merged: Any, workspace: Workspace) -> None:
    summary = merged(min_confidence=0.8)

    assert reviewed(workspace) == {"a/2.png": ["confidence"], "b/5.png": ["confidence"]}
    assert summary["review"] == {"items": 2, "reasons": {"confidence": 2}}
    assert len(workspace.lines(workspace.results)) == 4


def test_every_reason_is_named(merged: Any, workspace: Workspace) -> None:
    summary = merged(min_confidence=0.8, expect="[A-Z]{2}[0-9]+", validators=("date",))

    assert reviewed(workspace)["a/1.png"] == ["validators"]
    assert reviewed(workspace)["b/5.png"] == ["confidence", "expect", "validators"]
    assert summary["review"]["reasons"] == {"confidence": 2, "expect": 2, "validators": 4}


def test_each_model_of_a_cascade_has_its_own_threshold(merged: Any, workspace: Workspace) -> None:
    lines = [
        RecognitionLine(str(number), "n", "x", 0.7, model=model)
        for number, model in enumerate(["parseq", "master", "parseq", "master", "other"])
    ]

    merged(lines, min_confidence={"parseq": 0.6, "master": 0.8})

    assert sorted(reviewed(workspace)) == ["1", "3"]


def test_an_expression_that_would_take_forever_takes_linear_time(merged: Any, workspace: Workspace) -> None:
    lines = [RecognitionLine(str(number), "n", "a" * 4000 + "!", 0.9) for number in range(5)]

    merged(lines, expect="(a+)+(a|aa)+$")

    assert len(reviewed(workspace)) == 5


@pytest.mark.parametrize("expression", ["(", r"(a)\1", "(?=a)", "a{1001}", "\udcff"])
def test_an_expression_that_is_none_is_refused_when_the_job_is_submitted(expression: str, job: Job) -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        check_exports(job.model_copy(update={"checks": Checks.model_construct(expect=expression)}))


def test_a_rule_on_review_needs_something_to_review(job: Job) -> None:
    with pytest.raises(UsageError, match="needs min_confidence"):
        check_exports(job.model_copy(update={"checks": Checks(fail_if=("review>1%",))}))


def test_of_a_page_the_words_in_doubt_are_listed(workspace: Workspace) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    words = tuple(
        Word(text, box, 0.9, confidence, Estimate()) for text, confidence in (("a", 0.9), ("b", 0.3))
    )
    page = PageText((Block(box, 0.8, (TextLine(box, 0.8, words),)),))
    line = OcrLine("p", "p.pdf", 2, Estimate(), Estimate(), (10, 10), (page,))
    job = Job(
        id="pages",
        kind="ocr",
        parameters=KINDS["ocr"].parameters(),
        source=Source(type="folder", uri="/scans"),
        created_at=1,
        plan=Plan(chunks=1, items=1),
        checks=Checks(min_confidence=0.5),
    )
    workspace.store.replace(workspace.part(0), encode_lines([line]))

    quality = merge(job, workspace)["quality"]

    (found,) = map(json.loads, workspace.lines(workspace.review))
    assert (found["page"], [doubt["value"] for doubt in found["doubts"]]) == (2, ["b"])
    assert (quality["readings"], quality["mean_confidence"], quality["empty"]) == (2, 0.6, 0)


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            ("errors>10%", "1 of 5, 20.00%"),
            ("errors>0", "1 of 5"),
            ("empty>20%", "1 of 4, 25.00%"),
            ("review>1", "2 of 4"),
            ("confidence<0.7", "0.660"),
        ],
    )
    def test_a_broken_rule_says_by_how_much(self, rule: str, said: str, merged: Any) -> None:
        (broken,) = merged(min_confidence=0.8, fail_if=(rule,))["broken_rules"]

        assert broken.startswith(rule)
        assert said in broken

    @pytest.mark.parametrize(
        "rule", ["errors>20%", "errors>1", "empty>25%", "review>2", "confidence<0.6", "drift"]
    )
    def test_a_rule_that_holds_says_nothing(self, rule: str, merged: Any) -> None:
        assert merged(min_confidence=0.8, fail_if=(rule,))["broken_rules"] == []


class TestQuality:
    def test_the_summary_has_a_histogram_and_the_figures_of_each_folder(self, merged: Any) -> None:
        quality = merged()["quality"]

        assert [(bin_, count) for bin_, count in enumerate(quality["confidence_histogram"]) if count] == [
            (4, 1),
            (10, 1),
            (19, 2),
        ]
        assert quality["empty_share"] == 0.25
        assert quality["mean_length"] == 2.5
        assert quality["groups"]["a"]["mean_confidence"] == 0.725
        assert quality["groups"]["b"]["error_codes"] == {"truncated": 1}

    def test_a_retry_replaces_what_failed(self, merged: Any, planned: Job, workspace: Workspace) -> None:
        merged()
        read = RecognitionLine("b/4.png", "4.png", "AB12", 0.75)
        workspace.store.replace(workspace.part(3), encode_lines([read]))
        retried = planned.model_copy(update={"retries": (Retry(first_chunk=3, chunks=1, items=1),)})

        quality = merge(retried, workspace)["quality"]

        assert (quality["items"], quality["readings"], quality["error_codes"]) == (5, 5, {})

    def test_a_night_that_is_worse_than_those_next_to_it_is_told(
        self, planned: Job, merged: Any, workspace: Workspace
    ) -> None:
        # given eight nights of one root, and nights that do not count: of other parameters, of no date
        def at(name: str) -> Workspace:
            return Workspace(f"{workspace.root}/{name}", workspace.store)

        def run(name: str, confidence: float, items: int = 400) -> dict[str, Any]:
            lines = [
                RecognitionLine(f"c{n % 2}/{n}", "n", "x", confidence - 0.01 * (n % 3)) for n in range(items)
            ]
            job = planned.model_copy(update={"plan": Plan(chunks=1, items=items)})
            night = at(name)
            night.store.replace(night.part(0), encode_lines(lines))
            job = job.model_copy(update={"chunk_size": items, "checks": Checks(fail_if=("drift",))})
            return merge(job, night)

        for day in range(1, 9):
            run(f"2026-11-{day:02d}", 0.9 + 0.001 * day)

        assert run("2026-11-10", 0.9)["drift"] == []
        found = run("2026-11-11", 0.5)
        assert {(one["measure"], one["group"]) for one in found["drift"]} == {
            ("confidence", None),
            ("confidence", "c0"),
            ("confidence", "c1"),
        }
        assert found["broken_rules"][0].startswith("drift: mean confidence")
        assert run("not-a-date", 0.5)["drift"] == []
