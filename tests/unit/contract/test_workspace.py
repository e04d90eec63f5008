"""The workspace: the paths of a job's files, and reading them back."""

from pathlib import Path
from typing import Any

import pytest

from contract.errors import JobError
from contract.job import Job
from contract.layout import name_of, number_of
from contract.lines import encode_line
from contract.records import ChunkStatistics
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace

RESULT = b'{"id":"a","name":"a","value":"2016","confidence":1.0}\n'
ERROR = b'{"id":"b","uri":"/b","error":{"code":"empty_file","message":"no bytes"},"attempts":1}\n'


def test_files_lie_where_the_design_says(workspace: Workspace) -> None:
    names = {
        workspace.job_json: "job.json",
        workspace.chunk(17): "chunks/000017.jsonl",
        workspace.part(17): "parts/000017.jsonl",
        workspace.statistics(17): "statistics/000017.json",
        workspace.results: "results.jsonl",
        workspace.errors: "errors.jsonl",
        workspace.summary: "summary.json",
        workspace.halt_json: "halt.json",
        workspace.success: "_SUCCESS",
    }

    assert {uri: uri.removeprefix(workspace.root + "/") for uri in names} == names


def test_a_local_workspace_is_absolute_with_its_links_followed(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert open_workspace("link/out/", storage).root == str(tmp_path / "real" / "out")


@pytest.mark.usefixtures("s3_bucket")
def test_a_workspace_on_s3_has_no_slash_at_its_end(storage: Storage) -> None:
    workspace = open_workspace("s3://bucket/out/", storage)

    assert workspace.part(0) == "s3://bucket/out/parts/000000.jsonl"


def test_a_job_that_is_saved_is_loaded(workspace: Workspace, job: Job) -> None:
    workspace.save_job(job)

    assert workspace.load_job() == job


def test_where_no_job_lives_none_is_loaded(workspace: Workspace) -> None:
    assert workspace.load_job() is None


def test_a_job_that_must_be_there_is_an_error_that_names_the_workspace(workspace: Workspace) -> None:
    with pytest.raises(JobError, match=workspace.root):
        workspace.require_job()


def test_a_damaged_job_is_an_error_and_not_an_empty_workspace(workspace: Workspace) -> None:
    workspace.store.replace(workspace.job_json, b'{"id": "cr')

    with pytest.raises(JobError, match=r"job\.json"):
        workspace.load_job()


@pytest.mark.parametrize("status", ["failed", "paused", "cancelled"])
def test_what_halts_a_job_is_written_down_until_it_is_released(status: Any, workspace: Workspace) -> None:
    assert workspace.load_halt() is None

    workspace.halt(status, "no weights")

    halt = workspace.load_halt()
    assert halt
    assert (halt.status, halt.message) == (status, "no weights")

    workspace.release()

    assert workspace.load_halt() is None


def test_chunks_and_parts_are_known_by_their_numbers(workspace: Workspace) -> None:
    for number in (0, 17, 123_456, 1_000_000, 99_999_999):
        workspace.store.replace(workspace.chunk(number), b"")
    workspace.store.replace(workspace.part(17), b"")

    assert workspace.chunk_numbers() == {0, 17, 123_456, 1_000_000, 99_999_999}
    assert workspace.part_numbers() == {17}


def test_the_names_of_chunks_sort_as_their_numbers() -> None:
    numbers = [0, 9, 10, 99_999, 999_999, 1_000_000, 1_000_001, 9_999_999, 10_000_000, 99_999_999]

    names = [name_of(number) for number in numbers]

    assert names == sorted(names)
    assert (names[4], names[5], names[-1]) == ("999999", "a1000000", "b99999999")
    assert [number_of(f"{name}.jsonl") for name in names] == numbers


@pytest.mark.parametrize(
    "name",
    [
        ".000001.jsonl.99-ab.tmp",
        "notes.txt",
        "000001.jsonl.bak",
        "000001.txt",
        "²",
        "1000000.jsonl",
        "a000001.jsonl",
        "b1000000.jsonl",
        "c100000000.jsonl",
    ],
)
def test_other_files_are_no_parts(name: str, workspace: Workspace) -> None:
    workspace.store.replace(workspace.path("parts", name), b"")

    assert workspace.part_numbers() == set()


def test_the_lines_of_a_part_are_counted_as_results_and_errors(workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(0), RESULT + ERROR + RESULT)

    outcome = workspace.outcome(0)

    assert (outcome.completed, outcome.failed) == (2, 1)
    assert [error.code for error in outcome.first_errors] == ["empty_file"]


def test_lines_come_without_their_newlines(workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(0), b"one\ntwo\n")

    assert workspace.lines(workspace.part(0)) == [b"one", b"two"]


@pytest.mark.parametrize("line", [b"\n", b"not json\n", b'{"error":{"code":"bad_luck","message":""}}\n'])
def test_a_damaged_part_is_an_error_of_the_job_that_names_it(line: bytes, workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(3), RESULT + line)

    with pytest.raises(JobError, match=r"parts/000003\.jsonl"):
        workspace.outcome(3)


def test_statistics_that_are_written_are_loaded(workspace: Workspace) -> None:
    statistics = ChunkStatistics(
        2, 1, 0.5, {"fetch": 0.1}, 1, 0.75, ({"architecture": "parseq"},), "cpu0@host"
    )
    workspace.store.replace(workspace.statistics(0), encode_line(statistics))

    assert workspace.load_statistics(0) == statistics
    assert workspace.load_statistics(1) is None


def test_there_is_no_summary_before_the_merge(workspace: Workspace) -> None:
    assert workspace.load_summary() is None


def test_a_summary_is_loaded(workspace: Workspace) -> None:
    summary: dict[str, Any] = {"request_counts": {"total": 1}}
    workspace.store.replace(workspace.summary, b'{"request_counts": {"total": 1}}')

    assert workspace.load_summary() == summary
