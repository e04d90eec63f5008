"""The forms of a template's job over HTTP; what they hold is tested in `tests/integration/one_service`."""

from fastapi.testclient import TestClient

from contract.workspace import Workspace


def test_a_job_without_a_template_has_no_forms(client: TestClient, complete: Workspace) -> None:
    answer = client.get("/jobs/crops-1/forms")

    assert (answer.status_code, "only jobs with one have forms" in answer.text) == (404, True)
