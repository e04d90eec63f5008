"""The cache of machine code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.kernels import compiled

KERNEL = """
import numba
from worker.kernels.compiled import compiled
from worker.kernels.inlined import number

def _kernel():
    return number()

print(compiled(_kernel, numba.int64())())
"""

INLINED = """
from numba import njit

@njit
def number():
    return {number}
"""


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """The folder of a package with one kernel, which contains a function of another file."""
    folder = tmp_path / "worker" / "kernels"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    (folder / "compiled.py").write_bytes(Path(compiled.__file__).read_bytes())
    (folder / "kernel.py").write_text(KERNEL)
    (folder / "inlined.py").write_text(INLINED.format(number=1))
    return folder


def run(kernels: Path) -> str:
    command = [sys.executable, "-c", "import worker.kernels.kernel"]
    root = kernels.parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(root / "cache")}
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def cached(kernels: Path) -> dict[Path, int]:
    files = (kernels.parents[1] / "cache").rglob("*.nb?")
    return {path: path.stat().st_mtime_ns for path in files}


def test_what_another_file_adds_to_a_kernel_is_new_after_a_change(kernels: Path) -> None:
    # given a kernel in the cache
    assert run(kernels) == "1"

    # when the file of a function within it is another one
    (kernels / "inlined.py").write_text(INLINED.format(number=2))

    # then the machine code is of that one
    assert run(kernels) == "2"


def test_without_a_change_the_cached_code_is_used(kernels: Path) -> None:
    run(kernels)
    before = cached(kernels)

    run(kernels)

    assert before
    assert cached(kernels) == before
