"""Some of a job's results, with what each says in short."""

import json
from typing import Any

import pytest

from contract.workspace import Workspace
from producer.results.samples import samples


def word(value: str, confidence: float) -> dict[str, Any]:
    return {"value": value, "confidence": confidence}


WORDS = [word("two", 0.5), word("words", 1.0)]


def ocr(words: list[dict[str, Any]]) -> dict[str, Any]:
    return {"pages": [{"blocks": [{"lines": [{"words": words}]}]}]}


@pytest.mark.parametrize(
    ("line", "value", "confidence"),
    [
        ({"value": "a crop", "confidence": 0.25}, "a crop", 0.25),
        (ocr(WORDS), "two words", 0.75),
        (ocr([]), "", None),
        ({"extracted_fields": [{"field_type": "words", "values": WORDS}]}, "two words", 0.75),
        ({"bounding_boxes": [[0, 0, 1, 1]] * 7}, "7 words found", None),
    ],
)
def test_each_kind_of_result_is_told_in_short(
    line: dict[str, Any], value: str, confidence: float | None, workspace: Workspace
) -> None:
    workspace.store.replace(workspace.part(0), json.dumps({"id": "a", **line}).encode() + b"\n")

    (sample,) = samples(workspace, 5)

    assert (sample.id, sample.value, sample.confidence) == ("a", value, confidence)


def test_a_long_page_is_cut(workspace: Workspace) -> None:
    line = {"id": "a", **ocr([word("word", 1.0)] * 1000)}
    workspace.store.replace(workspace.part(0), json.dumps(line).encode() + b"\n")

    (sample,) = samples(workspace, 5)

    assert len(sample.value) == 200


def test_failed_items_and_unfinished_jobs_show_nothing(workspace: Workspace) -> None:
    assert samples(workspace, 5) == []
    failed = {"id": "a", "uri": "/a", "error": {"code": "truncated", "message": "no"}, "attempts": 1}
    workspace.store.replace(workspace.part(0), json.dumps(failed).encode() + b"\n")

    assert samples(workspace, 5) == []
