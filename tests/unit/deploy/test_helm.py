"""The Helm chart: rendered by Helm's own engine, valid, and the same system as the manifests."""

import functools
import json

import pytest
import yaml

from contract.settings import HIDDEN, load_settings
from tests.unit.deploy.deployment import (
    DEPLOY,
    NEWEST_VERSIONS,
    OF_CRDS,
    Document,
    container_of,
    of_kind,
    parse,
    pods,
    project,
    validate,
)

helm = pytest.importorskip("helm_python", reason="there is no wheel of helm-python-sdk for this machine")

CHART = DEPLOY / "helm" / "trace-ocr"
ROWS = ("values", "ci/everything", "ci/small")
"""The values that charts are rendered with: the defaults, and two files with others."""

SAME = (
    "args",
    "command",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "volumeMounts",
)
"""What a container of the chart has in common with that of the manifests."""


def values_of(row: str) -> Document:
    values: Document = yaml.safe_load((CHART / f"{row}.yaml").read_text())
    return values


def texts(values: Document) -> dict[str, str]:
    with helm.Chart.load(CHART) as chart:
        rendered: dict[str, str] = chart.render(values, name="ocr", namespace="night")
    return {name.removeprefix("trace-ocr/templates/"): text for name, text in rendered.items()}


@functools.cache
def rendered(row: str) -> tuple[Document, ...]:
    """Return what Helm would apply with some values, its tests too."""
    found = [text for name, text in texts(values_of(row)).items() if name != "NOTES.txt"]
    return tuple(document for text in found for document in yaml.safe_load_all(text) if document)


def named(row: str, kind: str, component: str = "") -> Document:
    """Return the only object of a kind, and of a component."""
    name = "-".join(["ocr-trace-ocr", component]).rstrip("-")
    (found,) = [one for one in rendered(row) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods_of(row: str) -> dict[str, Document]:
    """Return the templates of pods by component."""
    found = {}
    for document in rendered(row):
        spec = document.get("spec", {})
        spec = spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec
        if document["kind"] == "Pod" or "template" in spec:
            labels = document["metadata"]["labels"]
            found[labels["app.kubernetes.io/component"]] = spec.get("template", document)
    return found


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("version", NEWEST_VERSIONS)
def test_every_object_is_valid(row: str, version: str) -> None:
    validate(rendered(row), version)


@pytest.mark.parametrize("row", ROWS)
def test_helm_finds_nothing_to_say(row: str) -> None:
    report = helm.lint(CHART, values_of(row), strict=True)

    assert [one["error"] for one in report["messages"]] == ["icon is recommended"]


def test_the_rows_render_everything_there_is() -> None:
    """Given that each template has an object in some row, and the largest has what is off by default."""
    drawn = {name for row in ROWS for name, text in texts(values_of(row)).items() if text.strip()}

    assert drawn == {
        str(path.relative_to(CHART / "templates")) for path in CHART.rglob("templates/**/*.*")
    } - {"_helpers.tpl"}
    kinds = {document["kind"] for document in rendered("ci/everything")}
    assert {"CronJob", "Ingress", "NetworkPolicy", "PodDisruptionBudget"} | OF_CRDS <= kinds
    assert {one["kind"] for one in rendered("ci/small")} & {"NetworkPolicy", "CronJob", *OF_CRDS} == set()


def test_the_chart_has_the_programs_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == project()["project"]["version"]
    assert container_of(pods_of("values")["api"])["image"] == f"trace-ocr-producer:{chart['appVersion']}"


@pytest.mark.parametrize("component", sorted(pods()))
def test_every_pod_is_that_of_the_manifests(component: str) -> None:
    """Given two ways to install one system: what one of them has learned, the other must not lack."""
    row = "ci/everything" if component == "nightly" else "values"
    ours, theirs = pods_of(row)[component], pods()[component]
    container, other = container_of(ours), container_of(theirs)
    variables = {entry["name"] for entry in container["env"]} | {"REDIS_PASSWORD"}

    same = [name for name in SAME if (component, name) != ("nightly", "args")]
    assert {name: container.get(name) for name in same} == {name: other.get(name) for name in same}
    assert variables == {entry["name"] for entry in other["env"]}
    assert ours["spec"]["volumes"] == theirs["spec"]["volumes"]
    for name in ("terminationGracePeriodSeconds", "automountServiceAccountToken", "enableServiceLinks"):
        assert ours["spec"].get(name) == theirs["spec"].get(name)
    assert ours["spec"]["securityContext"].items() >= theirs["spec"]["securityContext"].items()


def test_the_workload_around_a_pod_is_that_of_the_manifests() -> None:
    night, scaled = (
        named("ci/everything", kind, name)
        for kind, name in (("CronJob", "nightly"), ("ScaledObject", "worker"))
    )
    ours, theirs = (
        night["spec"]["jobTemplate"]["spec"],
        of_kind("CronJob")["nightly"]["spec"]["jobTemplate"]["spec"],
    )
    (other,) = of_kind("ScaledObject").values()

    assert {**ours, "template": None} == {**theirs, "template": None}
    assert night["spec"]["concurrencyPolicy"] == "Forbid"
    assert scaled["spec"]["advanced"] == other["spec"]["advanced"]
    queries = [one["metadata"]["query"] for one in scaled["spec"]["triggers"]]
    assert [query.replace("night.urgent", "trace-ocr.urgent") for query in queries] == [
        one["metadata"]["query"] for one in other["spec"]["triggers"]
    ]
    assert "replicas" not in named("ci/everything", "Deployment", "worker")["spec"]
    for component, budget in of_kind("PodDisruptionBudget").items():
        drawn = named("values", "PodDisruptionBudget", component)["spec"]
        assert {**drawn, "selector": None} == {**budget["spec"], "selector": None}


@pytest.mark.parametrize("row", ROWS)
def test_every_command_is_one_of_the_program(row: str) -> None:
    for component, pod in pods_of(row).items():
        if component != "redis":
            assert parse(container_of(pod)["args"]) == component


@pytest.mark.parametrize("row", ROWS)
def test_selectors_choose_the_pods_that_are_meant(row: str) -> None:
    drawn = pods_of(row)
    for document in rendered(row):
        spec, labels = document.get("spec", {}), document["metadata"]["labels"]
        selector = spec.get("selector", {})
        wanted = selector.get("matchLabels", selector)
        if wanted:
            pod = drawn[labels["app.kubernetes.io/component"]]["metadata"]["labels"]
            assert wanted.items() <= pod.items()
        if document["kind"] == "Service":
            assert (
                spec["ports"][0]["port"]
                == container_of(drawn[labels["app.kubernetes.io/component"]])["ports"][0]["containerPort"]
            )


def test_no_two_releases_choose_each_others_pods() -> None:
    for document in rendered("values"):
        chosen = document.get("spec", {}).get("podSelector", {}).get("matchLabels")
        if chosen:
            assert chosen["app.kubernetes.io/instance"] == "ocr"


def test_settings_are_those_of_the_program_and_no_secret_is_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = named("ci/everything", "ConfigMap")["data"]
    for name, value in data.items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    assert settings.model_fields_set == set(values_of("values")["settings"]) | set(
        values_of("ci/everything")["settings"]
    )
    assert (settings.namespace, settings.shutdown_grace_seconds) == ("night", 120.0)
    assert data["OMP_NUM_THREADS"] == "4"
    refused = set(schema()["properties"]["settings"]["propertyNames"]["not"]["enum"])

    assert refused == HIDDEN


def schema() -> Document:
    found: Document = json.loads((CHART / "values.schema.json").read_text())
    return found


@pytest.mark.parametrize("row", ROWS)
def test_a_worker_has_longer_than_a_chunk_and_one_gpu(row: str) -> None:
    grace = float(named(row, "ConfigMap")["data"]["TRACE_OCR_SHUTDOWN_GRACE_SECONDS"])
    spec = pods_of(row)["worker"]["spec"]
    container = container_of(pods_of(row)["worker"])
    gpus = {name: value for name, value in container["resources"]["limits"].items() if "gpu" in name}

    assert spec["terminationGracePeriodSeconds"] > grace
    assert gpus == ({} if row == "ci/small" else {"nvidia.com/gpu": "1"})
    assert ("worker-cpu" in container["image"]) == (row == "ci/small")


def test_traffic_passes_to_dns_redis_and_storage() -> None:
    policies = {
        one["metadata"]["name"].removeprefix("ocr-trace-ocr-"): one["spec"]
        for row in ("values", "ci/everything")
        for one in rendered(row)
        if one["kind"] == "NetworkPolicy"
    }
    nodes, openshift = policies["to-dns"]["egress"]
    blocks = [one["ipBlock"]["cidr"] for one in nodes["to"] if "ipBlock" in one]

    assert blocks == ["169.254.20.10/32", "fd00::/8"]
    assert {port["port"] for port in openshift["ports"]} == {5353}
    assert [port["port"] for port in policies["to-redis"]["egress"][0]["ports"]] == [6379, 26379]
    (storage,) = policies["to-storage"]["egress"]
    assert [one["ipBlock"]["cidr"] for one in storage["to"]] == ["0.0.0.0/0", "::/0"]
    assert policies["default-deny"]["policyTypes"] == ["Ingress", "Egress"]


def test_secrets_are_only_referred_to() -> None:
    assert "Secret" not in {document["kind"] for row in ROWS for document in rendered(row)}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"setings": {}}, "setings"),
        ({"settings": {"redis_url": "redis://:word@host"}}, "redis_url"),
        ({"settings": {"shutdown_grace_seconds": "soon"}}, "shutdown_grace_seconds"),
        ({"nightly": {"enabled": True}}, "/nightly"),
        ({"api": {"ingress": {"enabled": True, "host": "a.example.org"}}}, "tlsSecret"),
        ({"worker": {"resources": {"requests": {}, "limits": {"memory": None}}}}, "memory"),
        ({"networkPolicy": {"storagePorts": ["https"]}}, "storagePorts"),
    ],
)
def test_wrong_values_are_refused_by_name(values: Document, told: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=told):
        texts(values)


def paths_in(values: Document) -> set[str]:
    """Return the dotted names of values, down to the second level."""
    return {
        f"{name}.{inner}" if name not in ("settings", "environment") else name
        for name, group in values.items()
        for inner in group
    }


def test_every_value_is_in_the_schema_and_explained() -> None:
    """Given that Helm itself lets a schema and a README forget values."""
    known, explained = schema()["properties"], (CHART / "README.md").read_text()
    there = paths_in(values_of("values"))
    del known["global"]

    assert there == paths_in({name: group.get("properties", (name,)) for name, group in known.items()})
    assert sorted(path for path in there if f"`{path}`" not in explained) == []


def test_the_notes_name_what_is_needed_first() -> None:
    notes = texts({})["NOTES.txt"]

    for name in ("trace-ocr-redis", "trace-ocr-api", "trace-ocr-flower", "helm test ocr --namespace night"):
        assert name in notes
    assert "scaled to zero" in texts({"autoscaling": {"enabled": True}})["NOTES.txt"]
