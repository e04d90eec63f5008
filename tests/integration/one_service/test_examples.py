"""The examples run against a service; a few lines stand for Airflow and Prefect."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.integration.service import Service

EXAMPLES = Path(__file__).parents[3] / "examples"


class Deferred(Exception):  # noqa: N818 - as Airflow names it
    """The operator has given its slot back."""


class Operator:
    """What the example needs of Airflow's BaseOperator."""

    def __init__(self, **kwargs: Any) -> None:
        self.arguments = kwargs

    def defer(self, **kwargs: Any) -> None:
        raise Deferred(kwargs)


class Anything:
    """Airflow's DAG and BaseTrigger."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def load(name: str, monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> Any:
    """Import an example with these modules, by name with __ for dots, in place of missing ones."""
    for module, attributes in modules.items():
        stub = ModuleType(module.replace("__", "."))
        vars(stub).update(attributes)
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.fixture(autouse=True)
def environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_URL", service.url)
    monkeypatch.setenv("TRACE_OCR_KEY", service.key)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    return load(
        "airflow_night",
        monkeypatch,
        airflow={},
        airflow__exceptions={"AirflowException": RuntimeError},
        airflow__sdk={"BaseOperator": Operator, "DAG": Anything},
        airflow__triggers={},
        airflow__triggers__base={"BaseTrigger": Anything, "TriggerEvent": dict},
    )


async def fired(trigger: Any) -> dict[str, Any]:
    return dict(await anext(trigger.run()))


@pytest.mark.parametrize("rules", [["errors>50%"], ["errors>0"]])
def test_airflow_submits_gives_its_slot_back_and_goes_on_when_the_job_has_ended(
    rules: list[str], airflow: Any, service: Service, source: Path
) -> None:
    output = str(service.folder(f"airflow-{len(rules[0])}"))
    operator = airflow.TraceOcrOperator(
        task_id="read", source=str(source), output=output, options={"fail_if": rules}
    )

    with pytest.raises(Deferred) as deferred:
        operator.execute({"run_id": "manual__2026-11-25"})
    asked = deferred.value.args[0]
    name, arguments = asked["trigger"].serialize()
    trigger = getattr(airflow, name.rpartition(".")[2])(**{**arguments, "poll_seconds": 0.2})
    event = asyncio.run(fired(trigger))

    finish = getattr(operator, asked["method_name"])
    if rules == ["errors>0"]:
        with pytest.raises(RuntimeError, match="errors>0: 1 of 30"):
            finish({}, event)
    else:
        assert finish({}, event) == output


def test_prefect_reads_a_night_and_returns_its_counts(
    service: Service, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect = {"flow": lambda function: function, "task": lambda **_: lambda function: function}
    example = load("prefect_night", monkeypatch, prefect=prefect)

    counts = example.night(str(source), str(service.folder("prefect")))

    assert counts == {"total": 30, "completed": 29, "failed": 1}


def test_every_cell_of_the_notebook_runs(
    service: Service, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_OCR_SOURCE", str(source))
    monkeypatch.setenv("TRACE_OCR_OUTPUT", str(service.folder("notebook")))
    namespace: dict[str, Any] = {}

    for cell in json.loads((EXAMPLES / "results.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)

    namespace["client"].close()
    assert len(namespace["table"]) == 29
    assert sum(namespace["quality"]["confidence_histogram"]) == 29
