"""The index finds a job by its id with storage only."""

from pathlib import Path

import pytest

from contract.errors import JobError
from contract.job import Job
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, open_workspace
from producer.results.index import JobIndex
from tests.unit.conftest import MockBucket


@pytest.fixture
def index(tmp_path: Path, storage: Storage) -> JobIndex:
    return JobIndex(AllowedRoots((str(tmp_path),)), storage)


def test_a_noted_job_is_found_and_listed(index: JobIndex, job: Job, workspace: Workspace) -> None:
    workspace.save_job(job)
    index.note(job, workspace)
    index.note(job, workspace)  # said twice, entered once

    found = index.find(job.id)

    assert found
    assert found.root == workspace.root
    assert {entry.created_at for entry in index.listed().values()} == {job.created_at}
    assert set(index.listed()) == {job.id}


def test_a_job_whose_workspace_is_gone_or_holds_another_job_is_not_found(
    index: JobIndex, job: Job, workspace: Workspace
) -> None:
    index.note(job, workspace)
    assert index.find(job.id) is None

    workspace.save_job(job.model_copy(update={"id": "other"}))
    assert index.find(job.id) is None


def test_of_two_jobs_with_one_id_the_older_is_found(
    index: JobIndex, job: Job, storage: Storage, tmp_path: Path
) -> None:
    for name, created_at in (("b", 2_000), ("a", 3_000), ("c", 1_000)):
        home, one = (
            open_workspace(str(tmp_path / name), storage),
            job.model_copy(update={"created_at": created_at}),
        )
        home.save_job(one)
        index.note(one, home)

    found = index.find(job.id)

    assert found
    assert found.root == str(tmp_path / "c")


def test_a_forgotten_job_is_not_listed_and_another_ones_entry_stays(
    index: JobIndex, job: Job, workspace: Workspace, storage: Storage, tmp_path: Path
) -> None:
    index.note(job, workspace)

    index.forget(job, open_workspace(str(tmp_path / "copy"), storage))
    assert set(index.listed()) == {job.id}

    index.forget(job, workspace)
    index.forget(job, workspace)
    assert index.listed() == {}


def test_a_workspace_outside_the_roots_is_not_indexed(index: JobIndex, job: Job, storage: Storage) -> None:
    index.note(job, open_workspace("/elsewhere/out", storage))

    assert index.listed() == {}


def test_a_damaged_entry_says_which(index: JobIndex, job: Job, workspace: Workspace, tmp_path: Path) -> None:
    index.note(job, workspace)
    (entry,) = (tmp_path / ".trace-ocr" / "jobs").iterdir()
    entry.write_text("{")

    with pytest.raises(JobError, match=r"crops-1\.json is damaged"):
        index.find(job.id)


def test_the_index_of_a_prefix_is_in_the_bucket(s3_bucket: MockBucket, job: Job, storage: Storage) -> None:
    index = JobIndex(AllowedRoots((s3_bucket.uri("results/"),)), storage)
    workspace = open_workspace(s3_bucket.uri("results/night"), storage)
    workspace.save_job(job)

    index.note(job, workspace)

    assert "results/.trace-ocr/jobs/0000001000-crops-1.json" in s3_bucket.keys()  # noqa: SIM118
    found = index.find(job.id)
    assert found
    assert found.root == workspace.root
