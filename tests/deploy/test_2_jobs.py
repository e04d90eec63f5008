"""The stack as it is documented: jobs, Flower, Prometheus, and how its containers are confined."""

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pikepdf
import pytest

from tests.deploy.stack import MODEL, WITH_CUDA, Stack, until

PDF_MEGABYTES = 270
PDFS = 4
"""Together more than control's memory limit (1 GiB), and each more than /dev/shm (64 MiB)."""


def test_all_services_become_healthy(stack: Stack) -> None:
    services = ("redis", "storage", "control", "api", "flower", "worker")

    health = {name: stack.container(name)["State"]["Health"]["Status"] for name in services}

    assert health == dict.fromkeys(services, "healthy")


def test_the_first_uploads_of_a_crop_and_of_a_page_wait_for_no_model(
    stack: Stack, labels: dict[str, str]
) -> None:
    """Given a worker that began with an empty cache and is healthy: its models are exported already."""
    samples, exported = stack.folder / "samples", graphs(stack)

    with stack.client() as client:
        (page,) = client.ocr([samples / "pages" / "letter.jpg"])
        (crop,) = client.recognition([samples / "crops" / "0000.png"])

    assert page.pages[0].blocks
    assert crop.value == labels["0000.png"]
    assert {name.rpartition("-")[0] for name in exported} == {"linknet_resnet18", MODEL}
    assert graphs(stack) == exported


def graphs(stack: Stack) -> dict[str, str]:
    """Return when each exported model in the worker's cache was written, by its file's name."""
    find = ("find", "/var/cache/trace-ocr", "-name", "*.onnx", "-printf", "%f %T@\\n")
    return dict(line.split() for line in stack.execute("worker", *find).stdout.splitlines())


def test_doctor_finds_nothing_that_keeps_jobs_from_running(stack: Stack) -> None:
    report = json.loads(stack.cli("doctor", "--json").stdout)

    assert report, report


def test_a_command_starts_no_other_service(stack: Stack) -> None:
    (before,) = stack.containers("storage-setup", all_=True)

    stack.cli("status")

    (after,) = stack.containers("storage-setup", all_=True)
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]


def test_a_crop_job_by_the_command_line(stack: Stack, labels: dict[str, str]) -> None:
    stack.cli(
        "submit", "s3://scans/crops/", "-o", "s3://results/cli-crops/", "--job-id", "cli-crops", "--wait"
    )

    lines = [json.loads(line) for line in stack.cli("results", "s3://results/cli-crops/").stdout.splitlines()]

    assert [line["id"] for line in lines] == sorted(labels)
    right = sum(line["value"] == labels[line["id"]] for line in lines)
    assert right > 0.9 * len(labels)


def test_a_page_job_by_the_command_line(stack: Stack) -> None:
    stack.copy(stack.folder / "samples" / "pages", "s3://scans/pages/")
    workspace = "s3://results/cli-pages/"
    chosen = ["s3://scans/pages/", "--include", "l*.{jpg,pdf}"]
    stack.cli("submit", *chosen, "-o", workspace, "--kind", "ocr", "--exports", "txt,pdf", "--wait")

    lines = [json.loads(line) for line in stack.cli("results", workspace).stdout.splitlines()]

    names = [line["name"] for line in lines]
    assert names == sorted(names)
    assert {name.rpartition("/")[2] for name in names} == {"ledger.pdf", "letter.jpg"}
    assert all(line["pages"][0]["blocks"] for line in lines)


def test_a_crop_job_over_http(stack: Stack, labels: dict[str, str]) -> None:
    with stack.client() as client:
        job = client.submit("s3://scans/crops/", "s3://results/http-crops/", job_id="http-crops")

    lines = stack.lines(job.id)

    assert [line["id"] for line in lines] == sorted(labels)


def test_a_page_job_over_http(stack: Stack) -> None:
    with stack.client() as client:
        job = client.submit("s3://scans/pages/letter.jpg", "s3://results/http-pages/", kind="ocr")

    assert len(stack.lines(job.id)) == 1


def test_a_request_without_a_key_is_refused(stack: Stack) -> None:
    assert httpx.get("http://127.0.0.1:8080/jobs").status_code == 401


def test_flower_shows_the_worker_to_those_with_its_password(stack: Stack) -> None:
    url = "http://127.0.0.1:5555"

    assert httpx.get(f"{url}/").status_code == 401
    assert until(lambda: _lists_a_worker(url, stack.flower), "Flower lists the worker", 60)


def _lists_a_worker(url: str, password: tuple[str, str]) -> bool:
    answer = httpx.get(f"{url}/workers", auth=password, follow_redirects=True)
    assert answer.status_code == 200
    return "cpu@" in answer.text


@WITH_CUDA
def test_the_cuda_workers_image_serves_on_the_cpu(stack: Stack) -> None:
    stack.up("worker-gpu0")

    assert stack.container("worker-gpu0")["State"]["Health"]["Status"] == "healthy"
    stack.compose("rm", "--stop", "--force", "worker-gpu0")


PROMETHEUS = "http://127.0.0.1:9090/api/v1"


def ask_prometheus(path: str, **parameters: str) -> dict[str, Any]:
    """Return the data of Prometheus's answer."""
    answer = httpx.get(f"{PROMETHEUS}/{path}", params=parameters, timeout=30)
    assert answer.status_code == 200, f"{parameters}: {answer.text}"
    found: dict[str, Any] = answer.json()["data"]
    return found


def test_prometheus_scrapes_the_api_and_loads_the_alert_rules(stack: Stack) -> None:
    stack.up("prometheus")

    assert until(items_scraped, "Prometheus has the count of items", 120) >= 256
    assert [target["health"] for target in ask_prometheus("targets")["activeTargets"]] == ["up"]
    rules = [rule for group in ask_prometheus("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 10
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert not any(rule.get("lastError") for rule in rules)


def items_scraped() -> float:
    found = ask_prometheus("query", query="sum(trace_ocr_items_total)")["result"]
    return float(found[0]["value"][1]) if found else 0.0


def test_prometheus_answers_every_query_of_the_grafana_dashboard(stack: Stack) -> None:
    dashboard = json.loads((stack.folder / "deploy/monitoring/grafana/dashboard.json").read_text())
    queries = list(queries_of(dashboard))
    for query in queries:
        for variable in ("$job", "$worker"):
            query = query.replace(variable, ".*")
        ask_prometheus("query", query=query.replace("$__rate_interval", "1m"))

    assert len(queries) > 40


def queries_of(panel: dict[str, Any]) -> Iterator[str]:
    """Yield the queries of a dashboard or a row of it."""
    for one in panel.get("panels", []):
        yield from queries_of(one)
        yield from (target["expr"] for target in one.get("targets", []))


OURS = ("control", "api", "flower", "worker")


@pytest.mark.parametrize("service", OURS)
def test_its_container_is_confined(stack: Stack, service: str) -> None:
    """Given the running container: no root, no capability, and only its folders can be written."""
    status = stack.execute(service, "cat", "/proc/1/status").stdout
    words = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    touched = stack.execute(service, "touch", "/opt/trace-ocr/x", "/usr/x", "/etc/x", check=False)

    assert set(words["Uid"].split()) == {"10001"}
    assert {words[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert words["NoNewPrivs"] == "1"
    assert touched.stderr.count("Read-only file system") == 3


def test_files_in_volumes_belong_to_the_services_users(stack: Stack) -> None:
    found = {
        name: set(stack.execute(name, "stat", "-c", "%u", *paths).stdout.split())
        for name, paths in {
            "redis": ["/data", "/data/appendonlydir"],
            "storage": ["/data", "/data/results"],
            "worker": ["/var/cache/trace-ocr", "/tmp/ready"],
            "flower": ["/var/lib/trace-ocr"],
        }.items()
    }

    assert found == {"redis": {"999"}, "storage": {"10001"}, "worker": {"10001"}, "flower": {"10001"}}


def test_documents_larger_than_the_memory_of_tmp_and_shm(stack: Stack) -> None:
    """Given documents that are together larger than control's memory: nothing is killed."""
    mounts = stack.execute("worker", "df", "--output=target,fstype,size", "/tmp", "/dev/shm").stdout
    folder = stack.folder / "out" / "large"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = _large_pdf(stack.folder / "samples" / "pages" / "ledger.pdf", folder / "0.pdf")
    for number in range(1, PDFS):
        (folder / f"{number}.pdf").hardlink_to(made)
    stack.copy(folder, "s3://scans/large/")
    with stack.client() as client:
        job = client.submit("s3://scans/large/", "s3://results/large/", kind="ocr")

    lines = stack.lines(job.id)

    assert "tmpfs" not in next(line for line in mounts.splitlines() if line.startswith("/tmp"))
    assert len({line["id"] for line in lines}) == len(lines) >= PDFS
    for name in ("control", "worker", "storage"):
        state = stack.container(name)
        assert (state["State"]["OOMKilled"], state["RestartCount"]) == (False, 0), name


def _large_pdf(origin: Path, target: Path) -> Path:
    """Write a copy of a PDF with an attachment that no compression makes smaller."""
    with pikepdf.open(origin) as pdf:
        noise = secrets.token_bytes(PDF_MEGABYTES << 20)
        pdf.attachments["noise.bin"] = pikepdf.AttachedFileSpec(pdf, noise)
        pdf.save(target)
    return target
