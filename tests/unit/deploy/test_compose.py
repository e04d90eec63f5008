"""docker-compose.yml: valid, closed to the outside, with limits, and patient when it stops workers."""

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from contract.settings import Settings
from tests.unit.deploy.deployment import (
    DEPLOY,
    REPOSITORY,
    SECRETS,
    compose,
    interpolated,
    last,
    project,
    raw_compose,
    stages,
)

OURS = (
    "control",
    "api",
    "flower",
    "worker",
    "worker-gpu0",
    "worker-gpu1",
    "cli",
    "storage-setup",
    "storage-folder",
)
THEIRS = ("redis", "storage", "prometheus", "grafana")
WORKERS = ("worker", "worker-gpu0", "worker-gpu1")


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose(SECRETS)["services"]
    return found


def seconds(text: str) -> int:
    """Return compose's duration of whole seconds."""
    return int(re.fullmatch(r"(\d+)s", text)[1])  # type: ignore[index]


@pytest.mark.parametrize("document", [raw_compose(), compose(SECRETS)], ids=["as written", "filled in"])
def test_the_file_follows_the_compose_specification(document: dict[str, Any]) -> None:
    schema = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()

    jsonschema.Draft202012Validator(json.loads(schema)).validate(document)


def test_the_services_are_known(services: dict[str, Any]) -> None:
    assert set(services) == {*OURS, *THEIRS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("${A:-2}", "1"),
        ("${B:-2}", "2"),
        ("${B-2}", ""),
        ("${C-2}", "2"),
        ("${A:+x${A}y}z", "x1yz"),
        ("${B:+x}z", "z"),
        ("$$A", "$A"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, expected: str) -> None:
    assert interpolated(text, {"A": "1", "B": ""}) == expected


@pytest.mark.parametrize(
    "missing", ["S3_ACCESS_KEY", "S3_SECRET_KEY", "TRACE_OCR_FLOWER_BASIC_AUTH", "GRAFANA_PASSWORD"]
)
def test_nothing_starts_without_its_credentials(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        compose({**SECRETS, missing: ""})


def test_the_example_environment_names_every_variable_and_no_other() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text()
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text)) | {
        secret["environment"] for secret in raw_compose()["secrets"].values()
    }

    offered = set(re.findall(r"^#?(\w+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))

    assert offered == used


@pytest.mark.parametrize("name", [*OURS, *THEIRS])
def test_every_service_is_confined(name: str, services: dict[str, Any]) -> None:
    service = services[name]
    user, group = service["user"].split(":")

    assert int(user) > 0
    assert group.isdigit()
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "prometheus")
    assert set(service["deploy"]["resources"]["limits"]) >= {"cpus", "memory", "pids"}
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize(
    "name", [name for name in OURS if name not in ("cli", "storage-setup", "storage-folder")]
)
def test_every_service_of_ours_comes_back_and_waits_for_redis_and_storage(
    name: str, services: dict[str, Any]
) -> None:
    assert services[name]["restart"] == "unless-stopped"
    assert services[name]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert services[name]["depends_on"]["storage-setup"]["condition"] == "service_completed_successfully"


def test_a_command_starts_no_other_service(services: dict[str, Any]) -> None:
    assert services["cli"]["depends_on"] == {}


@pytest.mark.parametrize("name", OURS)
def test_images_of_ours_are_built_here_in_this_version_and_run_as_their_own_user(
    name: str, services: dict[str, Any]
) -> None:
    service = services[name]
    target = service["build"]["target"]

    assert target in stages()
    assert service["image"] == f"trace-ocr-{target}:{project()['project']['version']}"
    assert (REPOSITORY / service["build"]["dockerfile"]).is_file()
    assert service["user"] == last(target, "USER")


@pytest.mark.parametrize("name", THEIRS)
def test_images_of_others_are_pinned_and_watched(name: str, services: dict[str, Any]) -> None:
    assert re.search(r":v?\d+\.\d+", services[name]["image"])
    assert services[name]["healthcheck"]["test"]


def test_only_what_people_look_at_is_published_and_to_this_machine_alone(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert set(published) == {"api", "flower", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_redis_and_storage_are_on_the_inner_network_alone(services: dict[str, Any]) -> None:
    assert compose(SECRETS)["networks"]["inside"] == {"internal": True}
    for name in ("redis", "storage", "prometheus"):
        assert services[name]["networks"] == ["inside"]


@pytest.mark.parametrize("name", WORKERS)
def test_workers_have_as_long_to_load_their_models_as_in_a_cluster(
    name: str, services: dict[str, Any]
) -> None:
    chart = yaml.safe_load((DEPLOY / "helm" / "trace-ocr" / "values.yaml").read_text())

    assert seconds(services[name]["healthcheck"]["start_period"]) == chart["worker"]["startSeconds"]
    # The rest is the image's check.
    assert set(services[name]["healthcheck"]) == {"start_period"}


@pytest.mark.parametrize("name", WORKERS)
def test_workers_have_time_to_finish_or_hand_back_their_chunks(name: str, services: dict[str, Any]) -> None:
    grace = float(services[name]["environment"]["TRACE_OCR_SHUTDOWN_GRACE_SECONDS"])

    assert grace >= Settings.model_fields["shutdown_grace_seconds"].default
    assert seconds(services[name]["stop_grace_period"]) > grace


def test_each_gpu_worker_has_a_gpu_of_its_own(services: dict[str, Any]) -> None:
    reserved = [
        services[name]["deploy"]["resources"]["reservations"]["devices"]
        for name in ("worker-gpu0", "worker-gpu1")
    ]

    assert [device["device_ids"] for (device,) in reserved] == [["0"], ["1"]]
    assert all(device["capabilities"] == ["gpu"] for (device,) in reserved)
    assert services["worker-gpu0"]["profiles"] == services["worker-gpu1"]["profiles"] == ["gpu"]
    assert "profiles" not in services["worker"]


def test_every_file_that_is_mounted_exists_and_every_volume_and_network_is_declared(
    services: dict[str, Any],
) -> None:
    document = compose(SECRETS)
    volumes = [volume for service in services.values() for volume in service.get("volumes", [])]
    mounts = [volume.split(":") for volume in volumes if isinstance(volume, str)]

    assert len([source for source, *_ in mounts if source.startswith("./")]) == 4
    for source, _, *options in mounts:
        if source.startswith("./"):
            assert (REPOSITORY / source).exists()
            assert options == ["ro"]
        else:
            assert source in document["volumes"]
    assert {network for service in services.values() for network in service.get("networks", [])} <= set(
        document["networks"]
    )
    assert {name for service in services.values() for name in service.get("depends_on", {})} <= set(services)


def test_copies_of_documents_are_on_the_disk_and_not_in_memory(services: dict[str, Any]) -> None:
    of_disk = {"type": "volume", "target": "/tmp"}
    copying = {name for name, service in services.items() if of_disk in service.get("volumes", [])}

    assert copying == {"control", "worker", "worker-gpu0", "worker-gpu1", "cli"}
    assert not any(services[name]["tmpfs"] for name in copying)


def test_prometheus_finds_its_key_and_its_target_where_its_configuration_says(
    services: dict[str, Any],
) -> None:
    (scrape,) = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yml").read_text())["scrape_configs"]
    ((target,),) = [entry["targets"] for entry in scrape["static_configs"]]

    assert (
        scrape["authorization"]["credentials_file"] == f"/run/secrets/{services['prometheus']['secrets'][0]}"
    )
    assert target == "api:8080"
    assert services["api"]["ports"][0].endswith(":8080")


def test_redis_keeps_what_it_is_given(services: dict[str, Any]) -> None:
    script = services["redis"]["command"][2]

    assert "--appendonly yes" in script
    assert "--maxmemory-policy noeviction" in script


def test_the_bucket_maker_makes_the_buckets_of_the_allowed_roots(services: dict[str, Any]) -> None:
    roots = services["worker"]["environment"]["TRACE_OCR_ALLOWED_ROOTS"].split(",")

    assert {root.removeprefix("s3://").partition("/")[0] for root in roots} == set(
        services["storage-setup"]["command"][1:]
    )
