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
from worker.models.doctr_recognition import recogniser_of
from worker.models.runtimes import export, onnx
from worker.models.runtimes import torch as on_torch
from worker.models.runtimes.base import CROPS, LARGE_MODELS_CROPS, RuntimeOptions
from worker.models.runtimes.choosing import crop_cut, graph_runtime
from worker.models.runtimes.export import exported, make_runtime
from worker.models.runtimes.onnx import OnnxRuntime
from worker.models.runtimes.torch import TorchRuntime

CPU, GPU = "cpu", "cuda:0"
IDENTITY = {"architecture": "crnn_mobilenet_v3_small", "weights_sha256": "0" * 64}
AUTO, TORCH, ONNX = RuntimeOptions("auto"), RuntimeOptions("torch"), RuntimeOptions("onnx")

installed = pytest.mark.skipif(
    not onnx.is_installed(), reason="ONNX Runtime, the extra [onnx], is not installed"
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

        ours = recogniser_of(trained, CPU, IDENTITY, TORCH).read(batch)

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
        monkeypatch.setattr(on_torch, "GpuNormaliser", lambda *_: None)
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
        expected = recogniser_of(trained, CPU, IDENTITY, TORCH).read(batch)

        recogniser = recogniser_of(trained, CPU, IDENTITY, RuntimeOptions("auto", torch_compile=True))

        assert recogniser.identity["runtime"] == "torch.compile"
        assert recogniser.read(batch) == expected

    def test_a_machine_that_cannot_compile_reads_without(
        self, trained: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_compiler(*_: object, **__: object) -> None:
            raise RuntimeError("Failed to find C compiler")

        monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
        recogniser = recogniser_of(trained, CPU, IDENTITY, RuntimeOptions("auto", torch_compile=True))

        with capture_logs() as logs:
            recogniser.warm_up()

        assert [(log["event"], log["error"]) for log in logs] == [
            ("torch_compile_not_used", "RuntimeError: Failed to find C compiler")
        ]
        assert recogniser.identity["runtime"] == "torch"
        assert recogniser.read(batch) == recogniser_of(trained, CPU, IDENTITY, TORCH).read(batch)


class TestChoice:
    @pytest.fixture
    def onnx_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx, "is_installed", lambda: True)

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
        device: str,
        architecture: str,
        wanted: bool,
        onnx_is_there: None,
    ) -> None:
        assert (graph_runtime(architecture, device, options) is not None) is wanted

    def test_large_models_read_smaller_parts(self) -> None:
        assert crop_cut("parseq") == LARGE_MODELS_CROPS
        assert crop_cut("crnn_mobilenet_v3_small") == CROPS

    def test_onnx_on_a_gpu_is_refused(self, onnx_is_there: None) -> None:
        with pytest.raises(SettingsError, match=r"CPUs only.*TRACE_OCR_RUNTIME=auto"):
            graph_runtime("parseq", GPU, ONNX)

    def test_onnx_that_is_not_installed_is_an_error_only_if_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx, "is_installed", lambda: False)

        assert graph_runtime("parseq", CPU, AUTO) is None
        with pytest.raises(SettingsError, match=r"pip install 'trace-ocr-batch\[onnx\]'"):
            graph_runtime("parseq", CPU, ONNX)

    def test_an_export_that_fails_leaves_torch(
        self, trained: Any, onnx_is_there: None, monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        def fail(*_: object, **__: object) -> str:
            raise RuntimeError("no such operator")

        monkeypatch.setattr(export, "export_model_to_onnx", fail)

        assert make_runtime(trained, IDENTITY, CPU, AUTO, logits=True, cut=CROPS).name == "torch"
        assert list(cache.glob("*.onnx")) == []


@installed
class TestOnnx:
    def test_reads_what_torch_reads(self, trained: Any, batch: Any) -> None:
        onnx, torch_ = (recogniser_of(trained, CPU, IDENTITY, options) for options in (ONNX, TORCH))

        ours, theirs = onnx.read(batch), torch_.read(batch)

        assert [value for value, _ in ours] == [value for value, _ in theirs]
        assert [c for _, c in ours] == pytest.approx([c for _, c in theirs], abs=1e-4)
        assert len({value for value, _ in ours}) > 1

    def test_the_identity_says_which_it_was(self, trained: Any) -> None:
        assert recogniser_of(trained, CPU, IDENTITY, AUTO).identity["runtime"] == "onnxruntime"
        assert recogniser_of(trained, CPU, IDENTITY, TORCH).identity["runtime"] == "torch"

    def test_a_graph_is_exported_once(
        self, trained: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        graph = exported(trained, IDENTITY)
        monkeypatch.setattr(export, "export_model_to_onnx", None)

        assert exported(trained, IDENTITY) == graph
        files = sorted(path for path in cache.iterdir() if not path.name.startswith("."))
        assert [path.suffix for path in files] == [".json", ".onnx"]
        assert files[0].stem == files[1].stem

    def test_other_weights_are_another_graph(self, trained: Any, cache: Path) -> None:
        other = {**IDENTITY, "weights_sha256": "1" * 64}

        exported(trained, IDENTITY)
        exported(trained, other)

        assert len(list(cache.glob("*.onnx"))) == 2

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
