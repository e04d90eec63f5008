"""The kinds of jobs over HTTP, for a form."""

from fastapi.testclient import TestClient

from contract.kinds import KINDS


def test_every_kind_says_what_it_takes_and_writes(client: TestClient) -> None:
    kinds = {kind["name"]: kind for kind in client.get("/kinds").json()["data"]}

    assert list(kinds) == list(KINDS)
    for name, kind in kinds.items():
        assert [one["name"] for one in kind["parameters"]] == list(KINDS[name].parameters.model_fields)
        assert all(one["help"] for one in kind["parameters"])
    assert (kinds["ocr"]["unit"], "pdf" in kinds["ocr"]["exports"]) == ("page", True)
    assert (kinds["ocr"]["results"], kinds["recognition"]["results"]) == (
        ["jsonl", "parquet"],
        ["jsonl", "parquet", "csv"],
    )


def test_a_parameter_has_its_bounds_and_the_models_that_it_names(client: TestClient) -> None:
    kinds = {kind["name"]: kind for kind in client.get("/kinds").json()["data"]}

    parameters = {one["name"]: one for one in kinds["recognition"]["parameters"]}
    assert parameters["recognition_model"]["task"] == "recognition"
    batch = parameters["recognition_batch_size"]
    assert (batch["type"], batch["minimum"], batch["default"], batch["tuning"]) == ("integer", 1, 128, True)
    assert parameters["characters"]["default"] is None
    (models,) = (one for one in kinds["compare"]["parameters"] if one["name"] == "models")
    assert (models["type"], models["task"]) == ("array", "recognition")
