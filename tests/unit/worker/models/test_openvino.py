"""OpenVINO on CPUs: it reads what ONNX Runtime reads, in bfloat16 if asked, or says what it lacks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from contract.errors import SettingsError
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from tests.conftest import REPOSITORY, SAMPLES
from worker.images.decode import decode_crop
from worker.models.recognition import Recogniser, load_recogniser
from worker.models.runtimes import choosing, openvino
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.bfloat16 import has_bfloat16
from worker.models.runtimes.choosing import check_runtime, graph_runtime

CPU, GPU = "cpu", "cuda:0"
ARCHITECTURE = "crnn_mobilenet_v3_small"
ONNX, FLOAT32 = RuntimeOptions("onnx"), RuntimeOptions("openvino", "float32")
BFLOAT16, AUTO_BFLOAT16 = RuntimeOptions("openvino", "bfloat16"), RuntimeOptions("auto", "bfloat16")

installed = pytest.mark.skipif(
    not openvino.is_installed(), reason="OpenVINO, the extra [openvino], is not installed"
)
with_instructions = pytest.mark.skipif(
    not has_bfloat16(), reason="this CPU has no instructions for bfloat16 (AVX512_BF16, AMX)"
)


@pytest.fixture(autouse=True)
def in_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(cache))


@pytest.fixture(scope="module")
def batch(cache: Path) -> Any:
    """All pieces of the sample crops, (n, 3, 32, 128) uint8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCTR_CACHE_DIR", str(cache))
        prepare = loaded(ONNX).prepare
    files = [path for path in sorted((SAMPLES / "crops").iterdir()) if path.suffix in {".png", ".jpg"}]
    assert len(files) == 257
    return np.concatenate([prepare(decode_crop(path.read_bytes(), 10**7).pixels).pieces for path in files])


def loaded(options: RuntimeOptions) -> Recogniser:
    """Return a worker's model of the bundled weights."""
    store = ModelStore(str(SAMPLES / "weights"), Storage(Settings()))
    return load_recogniser(ARCHITECTURE, store, CPU, options)


@pytest.fixture
def no_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a CPU without bfloat16."""
    for module in (choosing, openvino):
        monkeypatch.setattr(module, "has_bfloat16", lambda: False)


@pytest.fixture
def instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that a CPU with bfloat16 is asked about, whichever this one is."""
    monkeypatch.setattr(choosing, "has_bfloat16", lambda: True)


@installed
class TestReading:
    def test_in_float32_it_reads_what_onnx_runtime_reads(self, batch: Any) -> None:
        ours, theirs = loaded(FLOAT32).read(batch), loaded(ONNX).read(batch)

        assert [value for value, _ in ours] == [value for value, _ in theirs]
        assert [c for _, c in ours] == pytest.approx([c for _, c in theirs], abs=1e-4)

    @with_instructions
    def test_in_bfloat16_every_string_of_the_samples_is_the_same(self, batch: Any) -> None:
        ours, theirs = loaded(BFLOAT16).read(batch), loaded(ONNX).read(batch)

        assert [value for value, _ in ours] == [value for value, _ in theirs]
        # and it really was another arithmetic
        assert [c for _, c in ours] != pytest.approx([c for _, c in theirs], abs=1e-4)

    @with_instructions
    def test_what_is_read_together_does_not_change_a_bit(self, batch: Any) -> None:
        model = loaded(BFLOAT16)

        assert model.read(batch[:20]) == [
            one for index in range(20) for one in model.read(batch[index][None])
        ]

    @with_instructions
    def test_the_summary_names_engine_and_precision(self) -> None:
        identity = loaded(AUTO_BFLOAT16).identity

        assert (identity["runtime"], identity["precision"]) == ("openvino", "bfloat16")

    @pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
    def test_what_is_for_gpus_is_float32(self, precision: Any) -> None:
        identity = loaded(RuntimeOptions("openvino", precision)).identity

        assert (identity["runtime"], identity["precision"]) == ("openvino", "float32")

    def test_a_cpu_without_instructions_computes_in_float32_and_says_so(
        self, batch: Any, no_instructions: None
    ) -> None:
        model = loaded(BFLOAT16)

        assert model.identity["precision"] == "float32"
        assert model.read(batch[:40]) == loaded(FLOAT32).read(batch[:40])

    def test_it_keeps_to_the_cores_of_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openvino, "computing_cores", lambda: 1)

        compiled = loaded(FLOAT32)._runtime._model  # type: ignore[attr-defined]

        names = ("NUM_STREAMS", "INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING")
        assert [compiled.get_property(name) for name in names] == [1, 1, False]


class TestChoice:
    @pytest.fixture
    def engines_are_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openvino, "is_installed", lambda: True)
        monkeypatch.setattr(choosing.GRAPH_RUNTIMES["onnx"], "check", lambda: None)

    @pytest.fixture
    def openvino_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openvino, "is_installed", lambda: False)
        monkeypatch.setattr(choosing.GRAPH_RUNTIMES["onnx"], "check", lambda: None)

    def test_auto_takes_it_for_bfloat16(self, instructions: None, engines_are_there: None) -> None:
        assert graph_runtime(ARCHITECTURE, CPU, AUTO_BFLOAT16) is openvino.RUNTIME
        assert graph_runtime(ARCHITECTURE, CPU, RuntimeOptions("auto")) is not openvino.RUNTIME

    def test_auto_takes_onnx_runtime_where_a_cpu_has_no_instructions(
        self, no_instructions: None, openvino_is_not_there: None
    ) -> None:
        assert graph_runtime(ARCHITECTURE, CPU, AUTO_BFLOAT16) is choosing.GRAPH_RUNTIMES["onnx"]

    def test_models_that_have_no_graph_are_left_to_torch(
        self, instructions: None, engines_are_there: None
    ) -> None:
        assert graph_runtime("master", CPU, AUTO_BFLOAT16) is None

    @pytest.mark.parametrize("options", [AUTO_BFLOAT16, BFLOAT16, FLOAT32])
    def test_an_engine_that_is_not_installed_is_an_error(
        self, options: RuntimeOptions, instructions: None, openvino_is_not_there: None
    ) -> None:
        with pytest.raises(SettingsError, match=r"pip install 'trace-ocr-batch\[openvino\]'"):
            check_runtime(CPU, options)

    @pytest.mark.parametrize(
        ("options", "device", "message"),
        [
            (RuntimeOptions("onnx", "bfloat16"), CPU, "runtime onnx has no precision.*_RUNTIME=auto"),
            (RuntimeOptions("torch", "bfloat16"), CPU, "runtime torch has no precision.*_PRECISION=float32"),
            (RuntimeOptions("onnx_cuda", "bfloat16"), CPU, "onnx_cuda has no precision"),
            (RuntimeOptions("auto", "bfloat16", True), CPU, "_TORCH_COMPILE=false"),
            (AUTO_BFLOAT16, GPU, "bfloat16 is for CPUs only.*_PRECISION=float16 or tf32"),
            (RuntimeOptions("onnx_cuda", "bfloat16"), GPU, "bfloat16 is for CPUs only"),
            (FLOAT32, GPU, "openvino runs on CPUs only.*_RUNTIME=auto"),
        ],
    )
    def test_what_has_no_bfloat16_is_an_error_that_says_what_to_set(
        self, options: RuntimeOptions, device: str, message: str, engines_are_there: None
    ) -> None:
        with pytest.raises(SettingsError, match=message):
            check_runtime(device, options)

    def test_a_worker_on_a_cpu_without_instructions_warns_once_and_serves(
        self, no_instructions: None, engines_are_there: None
    ) -> None:
        with capture_logs() as logs:
            check_runtime(CPU, AUTO_BFLOAT16)

        assert [(log["event"], log["log_level"]) for log in logs] == [("bfloat16_not_used", "warning")]

    def test_nothing_is_said_where_the_cpu_has_them(
        self, instructions: None, engines_are_there: None
    ) -> None:
        with capture_logs() as logs:
            check_runtime(CPU, AUTO_BFLOAT16)

        assert logs == []


REPORTER = "from pathlib import Path\nPath(__file__).with_name('reported').touch()\n"
"""A stand-in for Intel's package, which reports when openvino is imported."""


@installed
def test_it_is_imported_without_what_reports_to_its_maker(tmp_path: Path) -> None:
    (tmp_path / "openvino_telemetry.py").write_text(REPORTER)
    code = "from worker.models.runtimes.openvino import imported; imported().Core()"

    command = [sys.executable, "-c", code]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": path}, check=True)

    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["openvino_telemetry.py"]
