"""The job: the contract's names and defaults, `job.json`, and ids."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from contract.errors import JobError
from contract.job import RECOGNITION_MODELS, Job, Plan, RecognitionParameters, Source, new_job_id, parse_job


def test_the_parameters_are_those_of_the_contract() -> None:
    assert RecognitionParameters().model_dump() == {
        "recognition_model": "crnn_vgg16_bn",
        "recognition_batch_size": 128,
    }


def test_all_nine_recognition_architectures_of_the_contract_are_known() -> None:
    assert RECOGNITION_MODELS == (
        "crnn_vgg16_bn",
        "crnn_mobilenet_v3_small",
        "crnn_mobilenet_v3_large",
        "sar_resnet31",
        "master",
        "vitstr_small",
        "vitstr_base",
        "parseq",
        "viptr_tiny",
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"recognition_model": "crnn"},
        {"recognition_batch_size": 0},
        {"recognition_batch_size": 4097},
        {"reco_arch": "parseq"},
    ],
)
def test_parameters_outside_the_contract_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RecognitionParameters(**parameters)


def test_job_json_gives_back_the_same_job(job: Job) -> None:
    planned = job.model_copy(update={"plan": Plan(chunks=3, items=5, passed_over={"hidden": 1})})

    assert parse_job(planned.to_json(), "job.json") == planned


def test_job_json_of_an_unplanned_job_has_no_plan(job: Job) -> None:
    assert "plan" not in json.loads(job.to_json())


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: b"",
        lambda record: b"not json",
        lambda record: b"[]",
        lambda record: json.dumps({**record, "colour": "red"}).encode(),
        lambda record: json.dumps({**record, "kind": "telepathy"}).encode(),
        lambda record: json.dumps({**record, "id": "../../etc"}).encode(),
        lambda record: json.dumps({k: v for k, v in record.items() if k != "source"}).encode(),
    ],
)
def test_a_job_json_that_is_no_job_is_refused_by_its_name(damage: Any, job: Job) -> None:
    data = damage(json.loads(job.to_json()))

    with pytest.raises(JobError, match=r"/out/job\.json is not a job"):
        parse_job(data, "/out/job.json")


@pytest.mark.parametrize(
    "update",
    [
        {"parameters": RecognitionParameters(recognition_model="parseq", recognition_batch_size=4)},
        {"parameters": RecognitionParameters(recognition_batch_size=5)},
        {"source": Source(type="s3", uri="s3://bucket/other/")},
        {"chunk_size": 3},
    ],
)
def test_jobs_that_would_give_other_files_are_other_jobs(update: dict[str, Any], job: Job) -> None:
    assert job.model_copy(update=update).identity() != job.identity()


@pytest.mark.parametrize("update", [{"id": "crops-2"}, {"urgent": True}, {"created_at": 2_000}])
def test_name_urgency_and_time_do_not_make_another_job(update: dict[str, Any], job: Job) -> None:
    assert job.model_copy(update=update).identity() == job.identity()


@pytest.mark.parametrize("identity", ["", "-x", ".x", "a/b", "a b", "a\n", "ü", "x" * 65])
def test_an_id_that_could_be_mistaken_is_refused(identity: str, job: Job) -> None:
    with pytest.raises(ValidationError):
        Job.model_validate({**job.model_dump(), "id": identity})


@pytest.mark.parametrize(
    ("source", "start"),
    [
        ("/data/crops", "crops-20261122-"),
        ("s3://bucket/scans/2026 11/", "2026-11-20261122-"),
        ("s3://bucket/", "bucket-20261122-"),
        ("/data/labels.jsonl", "labels-jsonl-20261122-"),
        ("-", "job-20261122-"),
        ("/data/画像", "job-20261122-"),
        ("/data/" + "x" * 300, "x" * 40 + "-20261122-"),
    ],
)
def test_a_new_id_names_the_source_and_the_day(source: str, start: str, job: Job) -> None:
    identity = new_job_id(source, now=1_795_305_600)

    assert identity.startswith(start)
    assert Job.model_validate({**job.model_dump(), "id": identity}).id == identity
