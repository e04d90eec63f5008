"""Runtimes: chosen as asked, exported once, and never one that reads something else."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from doctr.models import recognition
from structlog.testing import capture_logs

from contract.errors import SettingsError
from worker.images.decode import decode_crop
from worker.kernels.pieces import PieceShape
from worker.kernels.preprocess import Preprocessor
from worker.models import runtimes
from worker.models.recognition import Recogniser
from worker.models.runtimes import OnnxRuntime, RuntimeOptions, TorchRuntime, exported, make_runtime

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
IDENTITY = {"architecture": "crnn_mobilenet_v3_small", "weights_sha256": "0" * 64}
AUTO, TORCH, ONNX = RuntimeOptions("auto"), RuntimeOptions("torch"), RuntimeOptions("onnx")

installed = pytest.mark.skipif(
    not runtimes._is_installed(), reason="ONNX Runtime, the extra [onnx], is not installed"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of exported graphs."""
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path))
    return tmp_path / "models" / "onnx"


@pytest.fixture
def trained(samples: Path) -> Any:
    """The bundled checkpoint: in a trained model no string hangs on a logit's last bits."""
    weights = samples / "weights" / "crnn_mobilenet_v3_small"
    vocab = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))["vocab"]
    model = recognition.crnn_mobilenet_v3_small(pretrained=False, pretrained_backbone=False, vocab=vocab)
    model.load_state_dict(torch.load(weights.with_suffix(".pt"), weights_only=True))
    return model.eval()


@pytest.fixture
def batch(samples: Path) -> Any:
    """Sample crops, (n, 3, 32, 128) uint8."""
    preprocessor = Preprocessor(PieceShape(32, 128, 8, 6, 0.5))
    files = sorted((samples / "crops").iterdir())[:40]
    images = [decode_crop(path.read_bytes(), 1_000_000).pixels for path in files if path.suffix == ".png"]
    return np.concatenate([preprocessor.prepare(pixels).pieces for pixels in images])


class TestTorch:
    def test_the_cpu_computes_doctrs_own_bits(self, trained: Any, batch: Any) -> None:
        mean, std = (torch.tensor(trained.cfg[name]).view(-1, 1, 1) for name in ("mean", "std"))
        trained.exportable = False
        with torch.inference_mode():
            expected = trained((torch.from_numpy(batch).float().div(255) - mean) / std, return_preds=True)

        ours = Recogniser(trained, CPU, IDENTITY, TORCH).read(batch)

        assert [value for value, _ in ours] == [value for value, _ in expected["preds"]]
        assert [c for _, c in ours] == pytest.approx([c for _, c in expected["preds"]], abs=1e-6)

    def test_half_precision_is_for_gpus(self, trained: Any, batch: Any) -> None:
        runtime = TorchRuntime(trained, CPU, RuntimeOptions("torch", "float16"), logits=True)

        assert runtime.precision == "float32"
        assert runtime.forward(batch[:1]).dtype == torch.float32

    @pytest.mark.parametrize(
        ("precision", "rounded"), [("float32", False), ("tf32", True), ("float16", True)]
    )
    def test_only_the_precision_float32_is_not_rounded_on_a_gpu(
        self, precision: Any, rounded: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a GPU that only takes a model
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not rounded)
        monkeypatch.setattr(runtimes, "Normaliser", lambda *_: None)
        model = SimpleNamespace(cfg={}, to=lambda *_, **__: None)

        runtime = TorchRuntime(model, GPU, RuntimeOptions("torch", precision), logits=False)

        assert runtime.precision == precision
        assert torch.backends.cudnn.allow_tf32 is rounded

    def test_a_compiled_model_is_asked_for_by_name_and_reads_the_same(
        self, trained: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given dynamo's tracing without the minutes of its code generator
        compile_ = torch.compile
        monkeypatch.setattr(torch, "compile", lambda model, **_: compile_(model, backend="eager"))
        expected = Recogniser(trained, CPU, IDENTITY, TORCH).read(batch)

        recogniser = Recogniser(trained, CPU, IDENTITY, RuntimeOptions("auto", torch_compile=True))

        assert recogniser.identity["runtime"] == "torch.compile"
        assert recogniser.read(batch) == expected

    def test_a_machine_that_cannot_compile_reads_without(
        self, trained: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_compiler(*_: object, **__: object) -> None:
            raise RuntimeError("Failed to find C compiler")

        monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
        recogniser = Recogniser(trained, CPU, IDENTITY, RuntimeOptions("auto", torch_compile=True))

        with capture_logs() as logs:
            recogniser.warm_up()

        assert [(log["event"], log["error"]) for log in logs] == [
            ("torch_compile_not_used", "RuntimeError: Failed to find C compiler")
        ]
        assert recogniser.identity["runtime"] == "torch"
        assert recogniser.read(batch) == Recogniser(trained, CPU, IDENTITY, TORCH).read(batch)


class TestChoice:
    @pytest.fixture
    def onnx_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtimes, "_is_installed", lambda: True)

    @pytest.mark.parametrize(
        ("options", "device", "architecture", "wanted"),
        [
            (AUTO, CPU, "parseq", True),
            (AUTO, CPU, "master", False),
            (AUTO, GPU, "parseq", False),
            (TORCH, CPU, "parseq", False),
            (ONNX, CPU, "parseq", True),
            (ONNX, CPU, "sar_resnet31", False),
        ],
    )
    def test_by_setting_device_and_architecture(
        self,
        options: RuntimeOptions,
        device: torch.device,
        architecture: str,
        wanted: bool,
        onnx_is_there: None,
    ) -> None:
        assert runtimes._wants_onnx({"architecture": architecture}, device, options) is wanted

    def test_onnx_on_a_gpu_is_refused(self, onnx_is_there: None) -> None:
        with pytest.raises(SettingsError, match=r"CPUs only.*TRACE_OCR_RUNTIME=torch"):
            runtimes._wants_onnx(IDENTITY, GPU, ONNX)

    def test_onnx_that_is_not_installed_is_an_error_only_if_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runtimes, "_is_installed", lambda: False)

        assert not runtimes._wants_onnx(IDENTITY, CPU, AUTO)
        with pytest.raises(SettingsError, match=r"pip install 'trace-ocr-batch\[onnx\]'"):
            runtimes._wants_onnx(IDENTITY, CPU, ONNX)

    def test_an_export_that_fails_leaves_torch(
        self, trained: Any, onnx_is_there: None, monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        def fail(*_: object, **__: object) -> str:
            raise RuntimeError("no such operator")

        monkeypatch.setattr(runtimes, "export_model_to_onnx", fail)

        assert make_runtime(trained, IDENTITY, CPU, AUTO, logits=True).name == "torch"
        assert list(cache.glob("*.onnx")) == []


@installed
class TestOnnx:
    def test_reads_what_torch_reads(self, trained: Any, batch: Any) -> None:
        onnx, torch_ = (Recogniser(trained, CPU, IDENTITY, options) for options in (ONNX, TORCH))

        ours, theirs = onnx.read(batch), torch_.read(batch)

        assert [value for value, _ in ours] == [value for value, _ in theirs]
        assert [c for _, c in ours] == pytest.approx([c for _, c in theirs], abs=1e-4)
        assert len({value for value, _ in ours}) > 1

    def test_the_identity_says_which_it_was(self, trained: Any) -> None:
        assert Recogniser(trained, CPU, IDENTITY, AUTO).identity["runtime"] == "onnxruntime"
        assert Recogniser(trained, CPU, IDENTITY, TORCH).identity["runtime"] == "torch"

    def test_a_graph_is_exported_once(
        self, trained: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        graph = exported(trained, IDENTITY)
        monkeypatch.setattr(runtimes, "export_model_to_onnx", None)

        assert exported(trained, IDENTITY) == graph
        assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == [graph.name]

    def test_other_weights_are_another_graph(self, trained: Any) -> None:
        other = {**IDENTITY, "weights_sha256": "1" * 64}

        assert exported(trained, IDENTITY) != exported(trained, other)

    def test_a_graph_that_computes_something_else_is_not_kept(
        self, trained: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        forward = OnnxRuntime.forward
        monkeypatch.setattr(OnnxRuntime, "forward", lambda self, batch: forward(self, batch) + 0.1)

        with pytest.raises(ValueError, match=r"logits differ by 0\.1"):
            exported(trained, IDENTITY)
        assert list(cache.glob("*.onnx")) == []

    def test_exporting_leaves_the_model_as_it_was(self, trained: Any) -> None:
        trained.exportable = False

        exported(trained, IDENTITY)

        assert trained.exportable is False
