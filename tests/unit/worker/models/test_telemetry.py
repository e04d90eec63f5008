"""ONNX Runtime, loaded as a worker loads it, writes no file of its own and looks up no name.

A library that is preloaded refuses and notes every name that anything in the process asks the C library for.
It sees no lookup that a library makes without the C library; ONNX Runtime makes its own with it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.telemetry import SWITCHES
from worker.models.runtimes import onnx

NOTES_NAMES = r"""
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

static void note(const char *name) {
  FILE *file = fopen(getenv("NAMES"), "a");
  if (!file) abort();
  fprintf(file, "%s\n", name ? name : "");
  fclose(file);
}
int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
  note(name); return EAI_FAIL;
}
struct hostent *gethostbyname(const char *name) { note(name); return NULL; }
struct hostent *gethostbyname2(const char *name, int family) { note(name); return NULL; }
"""

REPORT_SECONDS = 13
"""Seconds that the process lives. With its telemetry on, ONNX Runtime 1.32 writes its files at once, and asks
for its maker's host 9 s after its first session."""

RUNS_A_SESSION = """
import socket, sys, time
from pathlib import Path
import numpy as np
from onnx import TensorProto, helper, save
from worker.models.runtimes.base import ModelInput
from worker.models.runtimes.onnx import OnnxRuntime

values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 4, 4]) for name in ("input", "out")]
graph = helper.make_graph([helper.make_node("Identity", ["input"], ["out"])], "same", values[:1], values[1:])
path = Path(sys.argv[1])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
runtime = OnnxRuntime(path.read_bytes(), ModelInput((3, 4, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
assert runtime.forward(np.zeros((2, 3, 4, 4), np.uint8)).shape == (2, 3, 4, 4)
time.sleep(float(sys.argv[2]))
try:
    socket.getaddrinfo("control.invalid", 1)
except OSError:
    pass
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Run a session in a process of its own; give the files it wrote below its home, and the names' file."""
    if not onnx.is_installed():
        pytest.skip("ONNX Runtime, the extra [onnx], is not installed")
    folder = tmp_path_factory.mktemp("telemetry")
    home, names = folder / "home", folder / "names"
    for name in ("cache", "tmp"):
        (home / name).mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    environment["MPLCONFIGDIR"] = str(folder / "matplotlib")
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    compiler = shutil.which("cc")
    if compiler:
        source, library = folder / "names.c", folder / "names.so"
        source.write_text(NOTES_NAMES)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        environment |= {"LD_PRELOAD": str(library), "NAMES": str(names)}
    command = [sys.executable, "-P", "-c", RUNS_A_SESSION, str(folder / "same.onnx"), str(REPORT_SECONDS)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    return files, names


def test_no_file_appears(written: tuple[list[str], Path]) -> None:
    assert written[0] == []


def test_no_name_is_looked_up(written: tuple[list[str], Path]) -> None:
    if not shutil.which("cc"):
        pytest.skip("no C compiler makes the library that notes names")

    assert written[1].read_text().split() == ["control.invalid"]
