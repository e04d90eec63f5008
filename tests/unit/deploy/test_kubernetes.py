"""The Kubernetes manifests: valid, restricted, closed, and patient with workers."""

import re
import shutil
import subprocess
from pathlib import Path

import fakeredis
import kubernetes_validate
import pytest
import yaml

from contract.broker.ledger import Ledger
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.settings import Settings, load_settings
from producer.api.monitoring.metrics import ApiMetrics
from producer.api.security.access import OPEN_PATHS
from tests.unit.deploy.deployment import (
    BASE,
    DEPLOY,
    NEWEST_VERSIONS,
    container_of,
    manifests,
    of_kind,
    pods,
    project,
    validate,
)

MANIFESTS = manifests()
PODS = pods()
NUMBER_OF_OBJECTS = 27
"""Manifests there are, those of the example Secrets with them: so that none is forgotten in silence."""


def labels_of(name: str) -> dict[str, str]:
    found: dict[str, str] = PODS[name]["metadata"]["labels"]
    return found


@pytest.mark.parametrize("version", NEWEST_VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    validate(MANIFESTS, version)


def test_validation_notices_a_field_that_does_not_exist() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": 1}}

    with pytest.raises(kubernetes_validate.ValidationError):
        validate([wrong], NEWEST_VERSIONS[-1])


def test_every_object_is_in_the_namespace() -> None:
    assert len(MANIFESTS) == NUMBER_OF_OBJECTS
    for document in MANIFESTS:
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "trace-ocr"


@pytest.mark.parametrize("folder", ["base", "keda"])
def test_every_manifest_is_applied_but_the_example_of_secrets(folder: str) -> None:
    place = DEPLOY / "kubernetes" / folder
    listed = set(yaml.safe_load((place / "kustomization.yaml").read_text())["resources"])

    there = {path.name for path in place.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}

    assert {name for name in listed if name.endswith(".yaml")} == there
    assert (place / "../base").is_dir()
    assert ("../base" in listed) == (folder == "keda")


def test_the_images_are_ours_in_this_version_or_pinned() -> None:
    ours = {
        image["name"]: image["newTag"]
        for image in yaml.safe_load((BASE / "kustomization.yaml").read_text())["images"]
    }

    assert set(ours.values()) == {project()["project"]["version"]}
    for pod in PODS.values():
        image = container_of(pod)["image"]
        assert image in ours or image.rpartition(":")[2][0].isdigit()


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["base", "keda"])
def test_kustomize_puts_everything_together(folder: str) -> None:
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / folder)]
    built = list(yaml.safe_load_all(subprocess.check_output(command, text=True)))

    (worker,) = [one for one in built if one["kind"] == "Deployment" and one["metadata"]["name"] == "worker"]
    assert (
        container_of(worker["spec"]["template"])["image"]
        == f"trace-ocr-worker-cuda:{project()['project']['version']}"
    )
    assert any(one["kind"] == "ScaledObject" for one in built) == (folder == "keda")
    assert not any(one["kind"] == "Secret" for one in built)


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_restricted(name: str) -> None:
    """Given Kubernetes' restricted standard, and a file system that cannot be written besides."""
    spec, container = PODS[name]["spec"], container_of(PODS[name])

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert spec["automountServiceAccountToken"] is False
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_no_service_of_the_namespace_can_pass_for_a_setting_of_ours(name: str) -> None:
    """Given that Kubernetes would set TRACE_OCR_API_PORT in every pod for a Service called trace-ocr-api."""
    assert PODS[name]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PODS)
def test_every_mount_and_every_source_of_variables_is_there(name: str) -> None:
    spec, container = PODS[name]["spec"], container_of(PODS[name])
    claims = of_kind("StatefulSet").get(name, {}).get("spec", {}).get("volumeClaimTemplates", [])
    volumes = {volume["name"] for volume in spec["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    secrets = of_kind("Secret")

    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            assert source["secretRef"]["name"] in secrets
        else:
            assert source["configMapRef"]["name"] in of_kind("ConfigMap")
    for reference in (
        entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry
    ):
        assert reference["key"] in secrets[reference["name"]]["stringData"]


def test_passwords_go_to_those_that_need_them() -> None:
    given = {
        name: {
            source["secretRef"]["name"]
            for source in container_of(pod).get("envFrom", [])
            if "secretRef" in source
        }
        for name, pod in PODS.items()
    }

    assert given == {
        "api": {"trace-ocr-api", "trace-ocr-storage"},
        "control": {"trace-ocr-notify", "trace-ocr-storage"},
        "flower": {"trace-ocr-flower"},
        "nightly": {"trace-ocr-storage"},
        "redis": set(),
        "worker": {"trace-ocr-storage"},
    }


def test_workers_have_a_gpu_each_and_time_to_finish_or_hand_back_their_chunks() -> None:
    spec = PODS["worker"]["spec"]
    grace = float(of_kind("ConfigMap")["trace-ocr"]["data"]["TRACE_OCR_SHUTDOWN_GRACE_SECONDS"])

    assert container_of(PODS["worker"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container_of(PODS["worker"])["args"][-2:] == ["--devices", "0"]
    assert grace >= Settings.model_fields["shutdown_grace_seconds"].default
    assert spec["terminationGracePeriodSeconds"] > grace


def test_a_worker_may_load_models_for_minutes_before_it_counts_as_failed() -> None:
    container = container_of(PODS["worker"])

    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 900
    assert probe["exec"] == container["readinessProbe"]["exec"]
    assert "livenessProbe" not in container


def test_the_api_is_ready_with_its_stores_and_alive_without_them() -> None:
    container = container_of(PODS["api"])

    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/version"
    assert {"/ready", "/version"} <= OPEN_PATHS


def test_services_lead_to_ports_of_pods() -> None:
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"].items() <= labels_of(name).items()
        ports = {port["name"]: port["containerPort"] for port in container_of(PODS[name])["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_disruption_budgets_leave_one_and_let_one_go() -> None:
    budgets = of_kind("PodDisruptionBudget")

    assert set(budgets) == {"api", "control", "worker"}
    for name, budget in budgets.items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels_of(name).items()
        # One that keeps all pods would keep nodes from being drained.
        if "minAvailable" in budget["spec"]:
            assert budget["spec"]["minAvailable"] < of_kind("Deployment")[name]["spec"]["replicas"]


def test_nothing_is_let_in_or_out_unless_named() -> None:
    policies = of_kind("NetworkPolicy")

    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert labels_of("redis").items() >= policies["redis"]["spec"]["podSelector"]["matchLabels"].items()
    (rule,) = policies["redis"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "trace-ocr"}}}]
    assert all(labels_of(name)["app.kubernetes.io/part-of"] == "trace-ocr" for name in PODS)
    (storage,) = policies["to-storage"]["spec"]["podSelector"]["matchExpressions"]
    assert set(storage["values"]) == {"api", "control", "nightly", "worker"}
    assert "Ingress" not in policies["to-storage"]["spec"]["policyTypes"]
    reached = {name for name, policy in policies.items() if policy["spec"].get("ingress")}
    assert reached == set(of_kind("Service"))


def test_workers_are_scaled_by_what_waits_and_what_they_hold(
    ledger: Ledger, fake_server: fakeredis.FakeServer, uploads: Uploads
) -> None:
    """Given the fields that KEDA asks for; there is no schema of its kinds here."""
    from worker.app.main import CHUNKS_IN_FLIGHT

    scaled = of_kind("ScaledObject")["worker"]
    triggers = {trigger["name"]: trigger["metadata"] for trigger in scaled["spec"]["triggers"]}

    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"] == {"kind": "Deployment", "name": "worker"}
    assert "replicas" not in of_kind("Deployment")["worker"]["spec"]
    assert 0 == scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"]
    assert {trigger["type"] for trigger in scaled["spec"]["triggers"]} == {"prometheus"}
    for metadata in triggers.values():
        assert set(metadata) == {"serverAddress", "query", "threshold", "ignoreNullValues"}
        assert all(isinstance(value, str) for value in metadata.values())
    assert float(triggers["chunks"]["threshold"]) <= CHUNKS_IN_FLIGHT
    down = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= PODS["worker"]["spec"]["terminationGracePeriodSeconds"]
    client = fakeredis.FakeRedis(server=fake_server, decode_responses=True)
    client.hset("unacked", "a chunk in a worker's hands", "{}")
    metrics = ApiMetrics(client, load_settings(), ledger, Reports(client, "trace-ocr"), uploads)
    exposed = metrics.exposition().decode()
    assert "trace_ocr_queue_depth 1.0\n" in exposed
    for metadata in triggers.values():
        for name in re.findall(r"trace_ocr_\w+(?:\{.*?\})?", metadata["query"]):
            assert name in exposed


SCENES = {
    # A worker reads its last chunk: nothing waits, and it must stay.
    "busy": ({"trace_ocr_queue_depth": "1x20"}, {"chunks": 1, "urgent": 0, "uploads": 0}),
    "urgent": (
        {'trace_ocr_queue_messages{queue="trace-ocr.urgent"}': "3x20"},
        {"chunks": 0, "urgent": 3, "uploads": 0},
    ),
    # Two refused uploads, minutes ago: they want one worker, not two.
    "refused": (
        {'trace_ocr_upload_requests_total{kind="ocr", status="503"}': "0 2x19"},
        {"chunks": 0, "urgent": 0, "uploads": 1},
    ),
    "uploads": ({"trace_ocr_uploads_waiting": "40x20"}, {"chunks": 0, "urgent": 0, "uploads": 40}),
    # The same refused uploads, long ago.
    "idle": (
        {'trace_ocr_upload_requests_total{kind="ocr", status="503"}': "2x20"},
        {"chunks": 0, "urgent": 0, "uploads": 0},
    ),
}
"""What the system shows for some minutes, and what each trigger then asks workers for."""

QUIET = {
    "trace_ocr_queue_depth": "0x20",
    "trace_ocr_chunks_in_line": "0x20",
    "trace_ocr_uploads_waiting": "0x20",
    'trace_ocr_queue_messages{queue="trace-ocr.urgent"}': "0x20",
    'trace_ocr_upload_requests_total{kind="ocr", status="503"}': "0x20",
}
"""Two api pods show all this while nothing happens."""


def test_each_queue_starts_workers_and_lets_them_go(tmp_path: Path) -> None:
    """Given Prometheus itself, which computes what KEDA would be told."""
    (scaled,) = of_kind("ScaledObject").values()
    queries = {one["name"]: one["metadata"]["query"] for one in scaled["spec"]["triggers"]}
    tests = [
        {
            "name": name,
            "interval": "30s",
            "input_series": [
                {"series": series, "values": values} for series, values in {**QUIET, **shown}.items()
            ],
            "promql_expr_test": [
                {
                    "expr": queries[trigger],
                    "eval_time": "8m",
                    "exp_samples": [{"labels": "{}", "value": value}],
                }
                for trigger, value in wanted.items()
            ],
        }
        for name, (shown, wanted) in SCENES.items()
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": tests}))

    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_nightly_job_reads_what_is_new_and_its_date_is_that_of_its_schedules_zone() -> None:
    container, spec = container_of(PODS["nightly"]), of_kind("CronJob")["nightly"]["spec"]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}

    assert container["args"][0] == "nightly"
    assert "command" not in container
    assert variables["TZ"] == spec["timeZone"]
    assert PODS["nightly"]["spec"]["volumes"] == PODS["control"]["spec"]["volumes"]


def test_the_nightly_job_runs_once_at_a_time_and_is_not_tried_again_over_bad_items() -> None:
    spec = of_kind("CronJob")["nightly"]["spec"]
    drained, failed = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]

    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 86_400
    assert drained["action"] == "Ignore"
    assert (failed["action"], failed["onExitCodes"]["values"]) == ("FailJob", [1, 2, 4])
    assert failed["onExitCodes"]["containerName"] == container_of(PODS["nightly"])["name"]


def test_the_example_of_secrets_is_empty() -> None:
    assert {value for secret in of_kind("Secret").values() for value in secret["stringData"].values()} == {""}
