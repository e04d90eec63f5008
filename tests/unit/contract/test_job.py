"""The job: the contract's names and defaults, `job.json`, and ids."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from contract.architectures import DETECTION_MODELS, RECOGNITION_MODELS
from contract.errors import JobError
from contract.job import Job, Plan, new_job_id, parse_job
from contract.kinds import KINDS
from contract.kinds.detection import DetectionParameters
from contract.kinds.ocr import OcrParameters
from contract.kinds.recognition import RecognitionParameters
from contract.source import Source

RECOGNITION = {"recognition_model": "crnn_vgg16_bn", "recognition_batch_size": 128, "characters": None}

DETECTION = {
    "detection_model": "db_resnet50",
    "detection_batch_size": 2,
    "assume_straight_pages": True,
    "preserve_aspect_ratio": True,
    "symmetric_padding": True,
    "binary_threshold": 0.1,
    "box_threshold": 0.1,
    "pdf_resolution": 144,
    "pdf_forms": True,
}

WORDS = {
    "detect_orientation": False,
    "detect_language": False,
    "straighten_pages": False,
    "disable_page_orientation": False,
    "disable_text_orientation": False,
}

GROUPS = {"group_lines": True, "group_blocks": False, "paragraph_break": 0.035}

CROPS = {"detect_orientation": False, "padding": 0.0, "pdf_resolution": 144, "pdf_forms": True}

CONTRACT: dict[str, dict[str, object]] = {
    "recognition": {**RECOGNITION, **CROPS},
    "ocr": {**RECOGNITION, **DETECTION, **WORDS, **GROUPS},
    "detection": DETECTION,
    "kie": {**RECOGNITION, **DETECTION, **WORDS},
    "compare": {
        "models": ("crnn_vgg16_bn", "parseq"),
        "recognition_batch_size": 128,
        "characters": None,
        "truth": None,
        "by": None,
        "target_precision": 0.995,
        **CROPS,
    },
}
"""Names and defaults; `pdf_resolution`, docTR's scale of 2, `pdf_forms` and `padding` are ours."""


@pytest.fixture
def page_job(job: Job) -> Job:
    """The job as one of pages."""
    return Job.model_validate(
        {**job.model_dump(exclude={"parameters", "chunk_size"}), "kind": "ocr", "parameters": {}}
    )


def test_the_kinds_are_those_of_the_contract() -> None:
    assert set(KINDS) == set(CONTRACT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_parameters_are_those_of_the_contract(kind: str) -> None:
    assert KINDS[kind].parameters().model_dump() == CONTRACT[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_described_and_an_architecture_with_all_that_there_are(kind: str) -> None:
    architectures = {"recognition_model": RECOGNITION_MODELS, "detection_model": DETECTION_MODELS}

    for name, field in KINDS[kind].parameters.model_fields.items():
        assert field.description, name
        assert field.description.endswith(", ".join(architectures.get(name, ()))), name


def test_all_nine_detection_architectures_of_the_contract_are_known() -> None:
    assert DETECTION_MODELS == (
        "db_resnet50",
        "db_resnet34",
        "db_mobilenet_v3_large",
        "linknet_resnet18",
        "linknet_resnet34",
        "linknet_resnet50",
        "fast_tiny",
        "fast_small",
        "fast_base",
    )


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
        {"recognition_model": "../crnn"},
        {"recognition_model": "parseq>master"},
        {"recognition_model": "parseq>parseq@0.9"},
        {"recognition_model": "parseq>master@1.5"},
        {"characters": ""},
        {"characters": "9-0"},
        {"characters": "frensh"},
        {"recognition_batch_size": 0},
        {"recognition_batch_size": 4097},
        {"reco_arch": "parseq"},
    ],
)
def test_parameters_outside_the_contract_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RecognitionParameters(**parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"detection_model": ""},
        {"detection_model": "fast_tiny>fast_base@0.5"},
        {"detection_batch_size": 0},
        {"detection_batch_size": 257},
        {"binary_threshold": -0.01},
        {"box_threshold": 1.01},
        {"box_threshold": float("nan")},
        {"paragraph_break": 1.5},
        {"pdf_resolution": 17},
        {"pdf_resolution": 1201},
        {"detect_language": "perhaps"},
        {"det_arch": "fast_tiny"},
        {"resolve_lines": False},
    ],
)
def test_parameters_of_pages_outside_the_contract_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OcrParameters(**parameters)


@pytest.mark.parametrize(
    ("kind", "strange"),
    [
        ("recognition", "detection_batch_size"),
        ("detection", "recognition_model"),
        ("detection", "detect_orientation"),
        ("kie", "group_lines"),
    ],
)
def test_a_parameter_of_another_kind_is_refused(kind: str, strange: str) -> None:
    with pytest.raises(ValidationError) as raised:
        KINDS[kind].parameters.model_validate({strange: CONTRACT["ocr"][strange]})

    assert [(problem["type"], problem["loc"]) for problem in raised.value.errors()] == [
        ("extra_forbidden", (strange,))
    ]


@pytest.mark.parametrize(
    ("kind", "size"), [("recognition", 1024), ("ocr", 32), ("detection", 32), ("kie", 32)]
)
def test_a_chunk_is_as_large_as_its_kind_wants_unless_said(kind: str, size: int, job: Job) -> None:
    record = {**job.model_dump(exclude={"parameters", "chunk_size"}), "kind": kind, "parameters": {}}

    assert Job.model_validate(record).chunk_size == size
    assert Job.model_validate({**record, "chunk_size": 7}).chunk_size == 7


@pytest.mark.parametrize("kind", KINDS)
def test_job_json_gives_back_a_job_of_every_kind_with_all_its_parameters(kind: str, job: Job) -> None:
    given = job.model_copy(update={"kind": kind, "parameters": KINDS[kind].parameters()})

    found = parse_job(given.to_json(), "job.json")

    assert found == given
    written = {name: value for name, value in CONTRACT[kind].items() if value is not None}
    assert json.loads(given.to_json())["parameters"] == json.loads(json.dumps(written))


def test_a_job_json_of_no_kind_is_of_recognition_as_before_there_were_others(job: Job) -> None:
    record = json.loads(job.to_json())
    del record["kind"]

    assert parse_job(json.dumps(record).encode(), "job.json") == job


def test_a_job_with_parameters_of_another_kind_is_none(page_job: Job) -> None:
    record = {**dict(page_job), "parameters": DetectionParameters()}

    with pytest.raises(ValidationError, match="the parameters are not those of the kind ocr"):
        Job.model_validate(record)


def test_workers_prepare_only_the_exports_that_are_made_of_pages(page_job: Job) -> None:
    job = page_job.model_copy(update={"exports": ("parquet", "txt", "pdf")})

    assert job.page_exports == ("txt", "pdf")


@pytest.mark.parametrize("exports", [("../up",), ("",), ("txt",) * 17])
def test_exports_are_bounded_names(exports: tuple[str, ...], page_job: Job) -> None:
    with pytest.raises(ValidationError, match="exports"):
        Job.model_validate({**page_job.model_dump(), "exports": exports})


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
        lambda record: json.dumps({**record, "kind": ["ocr"]}).encode(),
        lambda record: json.dumps({**record, "kind": "detection"}).encode(),
        lambda record: json.dumps({**record, "parameters": {"group_lines": True}}).encode(),
        lambda record: json.dumps({**record, "parameters": None}).encode(),
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
        {"source": Source(type="prefix", uri="s3://bucket/other/")},
        {"chunk_size": 3},
    ],
)
def test_jobs_that_would_give_other_files_are_other_jobs(update: dict[str, Any], job: Job) -> None:
    assert job.model_copy(update=update).identity() != job.identity()


@pytest.mark.parametrize(
    "update",
    [
        {"parameters": OcrParameters(group_lines=False)},
        {"parameters": OcrParameters(pdf_resolution=72)},
        {"kind": "kie", "parameters": KINDS["kie"].parameters()},
        {"exports": ("txt",)},
    ],
)
def test_jobs_over_pages_that_would_give_other_files_are_other_jobs(
    update: dict[str, Any], page_job: Job
) -> None:
    assert page_job.model_copy(update=update).identity() != page_job.identity()


@pytest.mark.parametrize(
    "update",
    [
        {"id": "crops-2"},
        {"urgent": True},
        {"created_at": 2_000},
        {"parameters": RecognitionParameters(recognition_batch_size=5)},
    ],
)
def test_name_urgency_time_and_batch_size_do_not_make_another_job(update: dict[str, Any], job: Job) -> None:
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
