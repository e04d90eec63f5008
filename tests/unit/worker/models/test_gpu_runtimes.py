"""ONNX Runtime's providers for GPUs: off unless asked for, and a clear error where one does not load."""

from typing import Any, get_args

import numpy as np
import pytest

from contract.errors import SettingsError, UnfitWorkerError
from contract.settings import Settings
from worker.models.memory import Turns
from worker.models.runtimes import GRAPH_RUNTIMES, onnx_gpu
from worker.models.runtimes.base import CROPS, ModelInput, RuntimeOptions
from worker.models.runtimes.choosing import graph_runtime

GPU = "cuda:0"
TAKES = ModelInput((3, 2, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
PROVIDERS = {"onnx_cuda": "CUDAExecutionProvider", "onnx_tensorrt": "TensorrtExecutionProvider"}


class FakeOnnxRuntime:
    """The module `onnxruntime` of a machine with some providers, of which only the last may load.

    A session gives back what it is given, and holds at most `holds` samples.
    """

    def __init__(self, *available: str, loads: bool = True, holds: int = 100) -> None:
        self.available, self._loads, self._holds = [*available, "CPUExecutionProvider"], loads, holds
        self.asked: list[Any] = []
        self.fault = "Failed to allocate memory for requested buffer of size 4096"

    def get_available_providers(self) -> list[str]:
        return self.available

    def InferenceSession(self, graph: bytes, providers: list[Any]) -> "FakeOnnxRuntime":  # noqa: N802
        self.asked = providers
        return self

    def get_providers(self) -> list[str]:
        return [self.asked[0][0] if self._loads else "CPUExecutionProvider", "CPUExecutionProvider"]

    def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
        if len(inputs["input"]) > self._holds:
            raise RuntimeError(self.fault)
        return [inputs["input"]]


def given(monkeypatch: pytest.MonkeyPatch, module: FakeOnnxRuntime) -> FakeOnnxRuntime:
    monkeypatch.setattr(onnx_gpu, "is_installed", lambda: True)
    monkeypatch.setattr(onnx_gpu, "imported", lambda: module)
    return module


def test_every_engine_can_be_asked_for_by_the_setting() -> None:
    names = get_args(Settings.model_fields["runtime"].annotation)

    assert set(names) == {"auto", "torch", *GRAPH_RUNTIMES}


@pytest.mark.parametrize("name", PROVIDERS)
class TestEachProvider:
    def test_runs_graphs_on_the_gpu_if_asked_for(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        module = given(monkeypatch, FakeOnnxRuntime(PROVIDERS[name]))
        options = RuntimeOptions(name)

        engine = graph_runtime("parseq", GPU, options)
        assert engine
        runtime = engine.load(b"graph", TAKES, CROPS, options)

        white = np.full((2, 3, 2, 4), 255, np.uint8)
        assert np.array_equal(runtime.forward(white), np.ones((2, 3, 2, 4)))
        assert (runtime.name, runtime.precision) == (name.replace("onnx", "onnxruntime"), "tf32")
        assert module.asked[0][0] == PROVIDERS[name]

    def test_that_is_not_installed_is_an_error(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        given(monkeypatch, FakeOnnxRuntime())

        with pytest.raises(SettingsError, match=rf"{name} needs {PROVIDERS[name]}.* has only CPUExec.*-gpu"):
            graph_runtime("parseq", GPU, RuntimeOptions(name))

    def test_that_is_installed_and_does_not_load_is_an_error(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given(monkeypatch, FakeOnnxRuntime(PROVIDERS[name], loads=False))

        with pytest.raises(SettingsError, match=rf"{PROVIDERS[name]} is installed and did not load.*=auto"):
            GRAPH_RUNTIMES[name].load(b"graph", TAKES, CROPS, RuntimeOptions(name))

    def test_is_refused_for_a_cpu(self, name: str) -> None:
        with pytest.raises(SettingsError, match=rf"{name} runs on NVIDIA GPUs only"):
            graph_runtime("parseq", "cpu", RuntimeOptions(name))

    def test_leaves_models_that_have_no_graph_to_torch(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given(monkeypatch, FakeOnnxRuntime(PROVIDERS[name]))

        assert graph_runtime("master", GPU, RuntimeOptions(name)) is None

    def test_splits_a_batch_that_its_memory_does_not_hold(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given(monkeypatch, FakeOnnxRuntime(PROVIDERS[name], holds=2))
        runtime = GRAPH_RUNTIMES[name].load(b"graph", TAKES, CROPS, RuntimeOptions(name))
        turns = Turns("cpu", "crop", "recognition_model")

        read = turns.run(np.zeros((5, 3, 2, 4), np.uint8), lambda batch: list(runtime.forward(batch)))

        assert (len(read), turns.fitting) == (5, 2)

    def test_says_if_one_sample_is_too_large(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        given(monkeypatch, FakeOnnxRuntime(PROVIDERS[name], holds=0))
        runtime = GRAPH_RUNTIMES[name].load(b"graph", TAKES, CROPS, RuntimeOptions(name))

        with pytest.raises(UnfitWorkerError, match="does not hold one crop"):
            Turns(GPU, "crop", "recognition_model").run(np.zeros((2, 3, 2, 4), np.uint8), runtime.forward)

    def test_any_other_fault_is_the_models(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        module = given(monkeypatch, FakeOnnxRuntime(PROVIDERS[name], holds=0))
        module.fault = "invalid shape"
        runtime = GRAPH_RUNTIMES[name].load(b"graph", TAKES, CROPS, RuntimeOptions(name))

        with pytest.raises(RuntimeError, match="invalid shape"):
            Turns(GPU, "crop", "recognition_model").run(np.zeros((2, 3, 2, 4), np.uint8), runtime.forward)


@pytest.mark.parametrize(
    ("name", "precision", "option", "value"),
    [
        ("onnx_cuda", "float32", "use_tf32", "0"),
        ("onnx_cuda", "tf32", "use_tf32", "1"),
        ("onnx_tensorrt", "tf32", "trt_fp16_enable", "0"),
        ("onnx_tensorrt", "float16", "trt_fp16_enable", "1"),
    ],
)
def test_the_precision_is_the_providers(
    name: str, precision: Any, option: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = given(monkeypatch, FakeOnnxRuntime(*PROVIDERS.values()))

    GRAPH_RUNTIMES[name].load(b"graph", TAKES, CROPS, RuntimeOptions(name, precision))

    assert module.asked[0][1][option] == value


@pytest.mark.parametrize(("name", "precision"), [("onnx_cuda", "float16"), ("onnx_tensorrt", "float32")])
def test_a_precision_that_it_does_not_have_is_an_error(
    name: str, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, FakeOnnxRuntime(*PROVIDERS.values()))

    with pytest.raises(SettingsError, match=rf"{name} has no precision {precision}: set .*tf32"):
        GRAPH_RUNTIMES[name].load(b"graph", TAKES, CROPS, RuntimeOptions(name, precision))
