"""Every route of the running API, asked with made-up requests by its own OpenAPI description."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.service import Service, until

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

PASSING = {503, 504}
"""Server errors that the API documents: something it needs is away or slow."""

TRACE = {"/recognition/", "/ocr/", "/detection/", "/kie/"}
"""The Trace-compatible routes."""

EXAMPLES = 15
"""Requests per route and way of making them up: a minute in all."""


JOB = "asked"


@pytest.fixture(scope="module", autouse=True)
def asked(service: Service) -> None:
    """Given a complete job with a failed item."""
    source = service.crops(4)
    (source / "cut.png").write_bytes(b"\x89PNG")
    service.client().submit(source, service.folder(), job_id=JOB, chunk_size=2).wait(timeout=120)


@pytest.fixture(scope="module")
def operations(service: Service) -> list[APIOperation[Any, Any, Any, Any]]:
    """Every operation that the API describes."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def ask(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    key: str | None,
    path_parameters: dict[str, str] | None,
    expect: Any,
) -> None:
    """Send made-up requests to one operation; hand each answer to `expect`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    @given(case=operation.as_strategy(mode, path_parameters=path_parameters))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def each(case: Case) -> None:
        # A made-up header must not take the place of the key, or of its absence.
        case.headers.pop("Authorization", None)
        answer = case.call(headers=headers, timeout=90)
        expect(case, answer)

    each()


def settle(service: Service) -> None:
    """Bring the job to its end: a retry that was paused or cancelled on its way is continued.

    A reader of a job that stands still waits for as long as it does.
    """
    asked = service.client().job(JOB)
    if asked.status().status in ("paused", "cancelling", "cancelled"):
        until(lambda: asked.status().status != "cancelling")
        asked.resume()
    try:
        until(lambda: asked.status().ended)
    except AssertionError as error:
        error.add_note(f"{asked.status()}\n{service.log()[-20_000:]}")
        raise


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("job", ["made up", JOB])
def test_whatever_is_asked_with_a_key_the_answer_is_as_described_and_no_accident(
    service: Service,
    operations: list[APIOperation[Any, Any, Any, Any]],
    mode: GenerationMode,
    job: str,
    subtests: pytest.Subtests,
) -> None:
    def expect(case: Case, answer: Any) -> None:
        assert answer.status_code < 500 or answer.status_code in PASSING, answer.text
        case.validate_response(answer, checks=CHECKS)

    before = service.log().count("Traceback")
    for operation in operations:
        of_a_job = "{job_id}" in operation.path
        if job == JOB and not of_a_job:
            continue
        if mode is GenerationMode.NEGATIVE and not _has_input(operation):
            continue
        if job == JOB:
            settle(service)
        with subtests.test(operation.label):
            ask(operation, mode, service.key, {"job_id": job} if job == JOB else None, expect)
    assert service.log().count("Traceback") == before
    assert service.client().job(JOB).status().status in ("completed", "in_progress", "finalizing")


@pytest.mark.parametrize("key", [None, "not-a-key"])
def test_whatever_is_asked_without_a_key_nothing_but_open_routes_answers(
    service: Service,
    operations: list[APIOperation[Any, Any, Any, Any]],
    key: str | None,
    subtests: pytest.Subtests,
) -> None:
    def expect(case: Case, answer: Any) -> None:
        assert answer.status_code == 401, answer.text
        case.validate_response(answer, checks=CHECKS)

    closed = [operation for operation in operations if operation.definition.raw.get("security")]
    assert len(closed) >= 19
    assert {operation.path for operation in closed} >= TRACE

    for operation in closed:
        with subtests.test(operation.label):
            ask(operation, GenerationMode.POSITIVE, key, None, expect)


def _has_input(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    """Return whether anything of a request to the operation can be wrong."""
    return bool(operation.body or operation.path_parameters or operation.query)
