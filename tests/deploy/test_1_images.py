"""Every image of the Dockerfile, built."""

import json
from pathlib import Path

import pytest

from tests.deploy.stack import MODEL, WITH_CUDA, Completed, Stack, docker

BUILD_SECONDS = 1500

OURS = {"producer": "storage-folder", "worker-cpu": "worker", "worker-cuda": "worker-gpu0"}
"""A service of compose for each image."""


def build(folder: Path, target: str) -> str:
    """Build an image as `docker compose build` does; return its name."""
    stack = Stack(folder)
    stack.compose("build", "--quiet", OURS[target], timeout=BUILD_SECONDS)
    return image(stack, target)


def image(stack: Stack, target: str) -> str:
    names = stack.compose("config", "--images").stdout.split()
    return next(name for name in names if name.startswith(f"trace-ocr-{target}:"))


def inside(folder: Path, name: str, script: str) -> str:
    """Run a shell script in an image as its user."""
    command = ["run", "--rm", "--network", "none", "--entrypoint", "sh", name, "-c", script]
    return docker(*command, folder=folder).stdout


CUDA = pytest.param("worker-cuda", marks=WITH_CUDA)
TARGETS = ("producer", "worker-cpu", CUDA)


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_is_built(folder: Path, target: str) -> None:
    name = build(folder, target)

    assert inside(folder, name, "trace-ocr --version; id -u; id -g").split()[-2:] == ["10001", "10001"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_images_user_can_change_nothing_of_the_program(folder: Path, target: str) -> None:
    writable = inside(
        folder, image(Stack(folder), target), "find /opt /usr -xdev ! -type l -writable 2>/dev/null || true"
    )

    assert writable == ""


def test_the_producers_image_has_no_torch(folder: Path) -> None:
    there = inside(
        folder,
        image(Stack(folder), "producer"),
        "python -c 'import importlib.util as u; print(u.find_spec(\"torch\"))'",
    )

    assert there == "None\n"


@pytest.mark.parametrize("target", TARGETS[1:])
def test_a_worker_without_a_compiler_reads_uncompiled_and_says_why(folder: Path, target: str) -> None:
    """Given an image, which has no compiler, with `torch_compile` on: one warning, and the model reads."""
    checked = check_model(folder, target, "--env", "TRACE_OCR_TORCH_COMPILE=true")

    found, log = json.loads(checked.stdout), [json.loads(line) for line in checked.stderr.splitlines()]
    assert (found["model"]["runtime"], found["line"]["value"]) == ("torch", "Trace2026")
    (warning,) = [line for line in log if line["level"] not in ("debug", "info")]
    assert warning["event"] == "torch_compile_not_used"
    assert "C++ compiler" in warning["error"]
    assert "it needs a C compiler" in warning["advice"]


def check_model(folder: Path, target: str, *flags: str) -> Completed:
    """Load the sample model in a worker's image, confined as it is deployed, and read an image with it."""
    confined = ["--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL"]
    weights = ["--volume", f"{folder / 'samples' / 'weights'}:/weights:ro"]
    command = ["models", "check", MODEL, "--model-store", "/weights", "--devices", "cpu"]
    name = image(Stack(folder), target)
    return docker("run", "--rm", *confined, *weights, *flags, name, *command, folder=folder)
