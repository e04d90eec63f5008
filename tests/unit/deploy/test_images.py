"""The Dockerfile: what it copies is there, what it installs is pinned, and nothing runs as root."""

import importlib.metadata
import re
import subprocess
import sys

import pytest
import yaml
from packaging.utils import canonicalize_name

from producer.cli.main import cli
from tests.unit.deploy.deployment import (
    DEPLOY,
    REPOSITORY,
    instructions,
    is_ignored,
    last,
    pods,
    project,
    stages,
)
from tools.sbom.bill import closure, dropped, wanted

TARGETS = ("producer", "worker-cpu", "worker-cuda")

HEAVY = {
    "torch",
    "torchvision",
    "numpy",
    "python-doctr",
    "opencv-python",
    "opencv-python-headless",
    "onnx",
}
"""What the light image is light without."""


def installed_with(*extras: str) -> frozenset[str]:
    """Return what is installed with the project and some extras, from what the installed packages say."""
    overrides = (REPOSITORY / "tools" / "lock-overrides.txt").read_text()
    requires = {canonicalize_name(one.name): one.requires or () for one in importlib.metadata.distributions()}
    return closure(wanted(project()["project"], extras), requires, dropped(overrides))


def locked() -> dict[str, str]:
    """Return the lock's versions by name; of those that differ by Python, one."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;]+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE
    )
    return {canonicalize_name(name): version for name, version in pins}


def test_the_light_image_holds_no_torch_and_nothing_that_is_not_pinned() -> None:
    light = installed_with("api", "flower", "columns", "lmdb")

    assert light >= {"fastapi", "uvicorn", "flower", "boto3", "celery"}
    assert light & HEAVY == set()
    assert light - set(locked()) == set()


IMPORTING = """
import importlib, importlib.metadata, sys
from importlib.machinery import PathFinder

there = set(sys.argv[1].split(","))
missing = {
    module
    for module, names in importlib.metadata.packages_distributions().items()
    if not there & {name.lower().replace("_", "-").replace(".", "-") for name in names}
}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in missing else super().find_spec(name, path, target)

sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
for module in sys.argv[2].split(","):
    importlib.import_module(module)
"""
"""Imports some modules as if only some distributions were installed."""


def test_the_light_image_holds_all_that_its_commands_import() -> None:
    """Given that a library may be asked for only by an extra of another, which nobody named."""
    there = ",".join({*installed_with("api", "flower", "columns", "lmdb"), "trace-ocr-batch"})
    commands = ",".join(sorted({place.module for place in cli.places.values()}))
    modules = (
        f"{commands},producer.cli.failures,"
        "producer.api.app,producer.api.services,kombu.transport.redis,flower.app,flower.urls"
    )

    command = [sys.executable, "-c", IMPORTING, there, modules]
    imported = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert imported.stderr == ""


def test_the_workers_images_hold_nothing_that_is_not_pinned() -> None:
    heavy = installed_with("worker", "ncnn", "openvino", "s3-fast", "columns", "lmdb")

    assert heavy >= {"torch", "numpy", "python-doctr", "onnxruntime", "ncnn", "openvino"}
    assert heavy - set(locked()) == set()


@pytest.mark.parametrize(
    ("stage", "extras"),
    [
        ("producer", {"clouds", "api", "flower", "columns", "lmdb"}),
        ("worker-cpu", {"clouds", "worker", "ncnn", "openvino", "s3-fast", "columns", "lmdb"}),
        ("worker-cuda", {"clouds", "worker", "s3-fast", "columns", "lmdb"}),
    ],
)
def test_every_installation_takes_its_extras_in_the_locks_versions(stage: str, extras: set[str]) -> None:
    installs = [
        rest for word, rest in stages()[f"build-{stage}"] if word == "RUN" and "uv pip install" in rest
    ]
    libraries, own = installs

    assert set(re.findall(r"--extra ([\w-]+)", libraries)) == extras
    assert extras <= set(project()["project"]["optional-dependencies"])
    assert "--require-hashes --constraint requirements.lock" in libraries
    assert ("--override tools/lock-overrides.txt" in libraries) == ("worker" in extras)
    assert ("--torch-backend" in libraries) == (stage == "worker-cpu")
    assert "--no-deps" in own
    assert "--build-constraint requirements.lock" in own
    assert "setuptools" in locked()


def test_every_file_that_is_installed_has_a_hash() -> None:
    for path in ("requirements.lock", "tools/sbom/requirements.txt", "tools/installer/requirements.txt"):
        pins = re.split(r"^(?=\S+==)", (REPOSITORY / path).read_text(), flags=re.MULTILINE)[1:]
        assert pins
        assert [
            pin for pin in pins if not re.search(r"^    --hash=sha256:[0-9a-f]{64}", pin, re.MULTILINE)
        ] == []
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "--require-hashes -r requirements.lock" in makefile
    assert "--generate-hashes" in makefile


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_says_what_it_is(target: str) -> None:
    labels = " ".join(rest for word, rest in stages()[target] if word == "LABEL")
    defaults = dict(rest.split("=", 1) for word, rest in stages()[target] if word == "ARG")

    for name in ("title", "description", "version", "revision", "source", "licenses"):
        assert re.search(rf'org\.opencontainers\.image\.{name}="\S', labels), name
    assert f"trace-ocr {target.partition('-')[0]}" in labels
    assert defaults["VERSION"] == project()["project"]["version"]
    assert f'licenses="{project()["project"]["license"]}"' in labels


def test_everything_that_is_copied_is_there_and_reaches_the_build() -> None:
    copied = [
        word
        for kind, rest in instructions()
        if kind == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    ]

    assert {"contract", "producer", "trace_ocr", "worker", "pyproject.toml", "requirements.lock"} <= set(
        copied
    )
    for path in copied:
        assert (REPOSITORY / path).exists(), path
        assert not is_ignored(path), path


@pytest.mark.parametrize(
    "path", [".env", ".git", ".venv", "samples", "deploy/env.example", "contract/__pycache__"]
)
def test_the_build_is_not_given_what_it_does_not_need(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_runs_without_root_under_an_init_and_stops_on_sigterm(target: str) -> None:
    user, group = last(target, "USER").split(":")

    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user}" in next(rest for word, rest in stages()["runtime"] if "useradd" in rest)
    assert yaml.safe_load(last(target, "ENTRYPOINT")) == ["tini", "--", "trace-ocr"]
    assert last(target, "STOPSIGNAL") == "SIGTERM"
    assert "PYTHONUNBUFFERED=1" in next(rest for word, rest in stages()["runtime"] if word == "ENV")


@pytest.mark.parametrize("name", ["api", "control", "flower", "nightly", "worker"])
def test_pods_run_as_the_images_user(name: str) -> None:
    security = pods()[name]["spec"]["securityContext"]

    assert f"{security['runAsUser']}:{security['runAsGroup']}" == last("producer", "USER")


@pytest.mark.parametrize("target", TARGETS)
def test_the_health_check_is_in_the_image(target: str) -> None:
    _, script = yaml.safe_load(last(target, "HEALTHCHECK").partition("CMD ")[2])
    (sources,) = [rest.split() for word, rest in stages()["runtime"] if word == "COPY"]

    assert script == sources[-1] + "healthcheck.py"
    assert "deploy/docker/healthcheck.py" in sources
    assert (DEPLOY / "docker" / "healthcheck.py").is_file()


def test_base_images_and_the_installer_are_pinned() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG" and "=" in rest)

    assert re.fullmatch(r"python:\d+\.\d+-slim-\w+", arguments["PYTHON_IMAGE"])
    installs = [rest for word, rest in stages()["build"] if word == "RUN" and "pip install" in rest]
    assert all("--require-hashes -r tools/installer/requirements.txt" in rest for rest in installs)
    assert installs
    assert {rest.split()[0] for word, rest in instructions() if word == "FROM"} <= {
        "${PYTHON_IMAGE}",
        *stages(),
    }
    assert list(stages())[-1] == "producer"


def test_the_packages_readme_and_licence_are_copied() -> None:
    metadata = project()["project"]
    copied = " ".join(rest for word, rest in stages()["build-producer"] if word == "COPY")

    for name in (metadata["readme"], *metadata["license-files"]):
        assert name in copied
