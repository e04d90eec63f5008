"""The package as users install it: built, and installed into an environment of its own."""

import json
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2]))
"""
"""What `pip` calls to build; setuptools is in this environment, so that nothing is downloaded."""


def build(kind: str, source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, kind, str(target)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return target / built.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trace-ocr` of a wheel, which was built from the sdist; its dependencies are those of the tests."""
    tmp_path = tmp_path_factory.mktemp("package")
    checkout = tmp_path / "checkout"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in filter(None, tracked.stdout.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith(("samples/", "docs/", "tests/")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, checkout / name)
    with tarfile.open(build("sdist", checkout, tmp_path / "dist")) as sdist:
        sdist.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    wheel = build("wheel", source, tmp_path / "dist")

    venv.create(tmp_path / "venv", symlinks=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(
        "".join(f"{path}\n" for path in sys.path if path.endswith("site-packages"))
    )
    install = [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv/bin/python"), "install"]
    subprocess.run(
        [*install, "--quiet", "--no-index", "--no-deps", "--ignore-installed", str(wheel)],
        check=True,
        capture_output=True,
    )
    return tmp_path / "venv/bin/trace-ocr"


def test_the_wheel_alone_reads_crops(program: Path, samples: Path, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    for path in sorted((samples / "crops").iterdir())[:3]:
        shutil.copy(path, crops)
    models = ["--model-store", str(samples / "weights"), "--recognition-model", "crnn_mobilenet_v3_small"]

    done = subprocess.run(
        [program, "run", "crops", "-o", "out", *models],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    results = (tmp_path / "out/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in results] == sorted(path.name for path in crops.iterdir())


def test_the_wheel_holds_every_file_that_the_checkout_has(program: Path) -> None:
    (packages,) = program.parents[1].glob("lib/python*/site-packages")
    tracked = subprocess.run(
        ["git", "ls-files", "contract", "producer", "trace_ocr", "worker"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert [name for name in tracked.stdout.splitlines() if not (packages / name).exists()] == []
