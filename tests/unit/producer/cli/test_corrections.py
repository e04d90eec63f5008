"""`trace-ocr corrections` and `trace-ocr correct`."""

import json
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from contract.job import Job
from contract.workspace import Workspace
from tests.unit.producer.cli.test_main import merged, sent, trace_ocr  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("restored_logging", "settings")


def values(workspace: Workspace) -> dict[str, str]:
    return {line["id"]: line["value"] for line in map(json.loads, workspace.lines(workspace.results))}


def test_texts_of_a_file_are_in_the_results_and_in_the_exports(
    merged: Job,  # noqa: F811
    workspace: Workspace,
    trace_ocr: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    labels = {"1.png": "right", "4.png": "\x1b[31mred", "0.png": "failed", "none.png": "?"}
    (tmp_path / "labels.json").write_text(json.dumps(labels))

    outcome = trace_ocr("correct", workspace.root, str(tmp_path / "labels.json"))

    assert outcome.code == 0, outcome.err
    assert "2 texts" in outcome.out
    assert "2 ids have no result: 0.png, none.png" in outcome.out
    found = values(workspace)
    assert (found["1.png"], found["2.png"]) == ("right", "text 2.png")
    # and they come out as they went in
    out = trace_ocr("corrections", workspace.root, "--format", "doctr").out
    assert json.loads(out) == {"1.png": "right", "4.png": "\x1b[31mred"}
    (first, _) = trace_ocr("corrections", workspace.root).out.splitlines()
    assert json.loads(first)["before"] == "text 1.png"


def test_a_file_of_other_ids_changes_nothing(
    merged: Job,  # noqa: F811
    workspace: Workspace,
    trace_ocr: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "labels.json").write_text('{"none.png": "?"}')
    before = workspace.lines(workspace.results)

    outcome = trace_ocr("correct", workspace.root, str(tmp_path / "labels.json"))

    assert (outcome.code, "names no crop" in outcome.err) == (2, True)
    assert (workspace.lines(workspace.results), workspace.is_complete(merged.id)) == (before, True)


@pytest.mark.parametrize(("name", "why"), [("no-such.json", "there is no file"), ("", "is a folder")])
def test_a_file_that_is_not_there_is_wrong_usage(
    merged: Job,  # noqa: F811
    workspace: Workspace,
    trace_ocr: Any,  # noqa: F811
    tmp_path: Path,
    name: str,
    why: str,
) -> None:
    outcome = trace_ocr("correct", workspace.root, str(tmp_path / name))

    assert outcome.code == 2
    assert "the corrections cannot be read: " in outcome.err
    assert why in outcome.err
    assert workspace.is_complete(merged.id)


def test_with_redis_control_merges(
    merged: Job,  # noqa: F811
    workspace: Workspace,
    trace_ocr: Any,  # noqa: F811
    sent: Any,  # noqa: F811
    fake_redis: fakeredis.FakeRedis,
) -> None:
    outcome = trace_ocr("correct", workspace.root)

    assert (outcome.code, "by control" in outcome.out) == (0, True), outcome.err
    assert not workspace.is_complete(merged.id)
    assert any("submitted" in key for key in map(str, fake_redis.keys()))
