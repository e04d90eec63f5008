"""ncnn on CPUs: detection finds what it finds with ONNX Runtime, to float32's rounding, or says why it is not
used."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from contract.errors import SettingsError
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from tests.conftest import SAMPLES
from worker.models.detection import Detector, PageResize, load_detector
from worker.models.runtimes import choosing, ncnn, ncnn_files
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.choosing import EXPORTABLE, WINOGRAD, graph_runtime

CPU, GPU = "cpu", "cuda:0"
ARCHITECTURE = "linknet_resnet18"
AUTO, ONNX, NCNN = RuntimeOptions("auto"), RuntimeOptions("onnx"), RuntimeOptions("ncnn")

installed = pytest.mark.skipif(not ncnn.is_installed(), reason="ncnn, the extra [ncnn], is not installed")


@pytest.fixture
def in_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given a cache of models that tests of this session share."""
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(cache))
    return cache


@pytest.fixture(scope="module")
def pages() -> Any:
    """Two sample pages, (2, 3, 1024, 1024) uint8."""
    resize = PageResize((3, 1024, 1024), preserve_aspect_ratio=True, symmetric_padding=True)
    names = ("invoice.png", "receipt.png")
    return np.stack(
        [resize(np.asarray(Image.open(SAMPLES / "pages" / name).convert("RGB"))) for name in names]
    )


def loaded(options: RuntimeOptions) -> Detector:
    """Return a worker's model of the bundled weights."""
    store = ModelStore(str(SAMPLES / "weights"), Storage(Settings()))
    return load_detector(ARCHITECTURE, store, CPU, options)


def boxes(model: Detector, pages: Any) -> list[Any]:
    post = model.postprocessor(0.3, 0.1, assume_straight_pages=True)
    return [found[:, :4].tolist() for page in model.read(pages) for found in post(page[None])[0]]


@installed
class TestReading:
    def test_it_finds_the_boxes_that_onnx_runtime_finds(self, in_cache: Path, pages: Any) -> None:
        ours, theirs = loaded(NCNN), loaded(ONNX)

        found = boxes(ours, pages)

        assert found == boxes(theirs, pages)
        assert [len(page) > 20 for page in found] == [True, True]
        assert np.abs(ours.read(pages)[0] - theirs.read(pages)[0]).max() < 1e-4

    def test_a_page_is_the_same_alone_and_among_others(self, in_cache: Path, pages: Any) -> None:
        model = loaded(NCNN)

        alone = [model.read(page[None])[0] for page in pages]

        assert all(np.array_equal(*pair) for pair in zip(model.read(pages), alone, strict=True))

    def test_threads_beside_each_other_read_the_same(
        self, in_cache: Path, pages: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = loaded(NCNN).read(pages)
        monkeypatch.setattr(ncnn, "computing_cores", lambda: 4)

        model = loaded(NCNN)

        assert model._runtime._net.opt.num_threads == 2  # type: ignore[attr-defined]
        assert all(np.array_equal(*pair) for pair in zip(model.read(pages), expected, strict=True))

    def test_the_summary_names_engine_and_precision(self, in_cache: Path) -> None:
        identity = loaded(AUTO).identity

        assert (identity["runtime"], identity["precision"]) == ("ncnn", "float32")


@installed
class TestConverting:
    def test_a_graph_is_converted_once(
        self, in_cache: Path, pages: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded(NCNN)
        monkeypatch.setattr(ncnn_files, "_pnnx", lambda: Path("/bin/false"))

        assert loaded(NCNN).identity["runtime"] == "ncnn"

    def test_of_processes_that_start_at_once_one_converts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        converting: list[Path] = []

        def made(_: bytes, __: Any, scratch: Path) -> Path:
            converting.append(scratch)
            (scratch / "made").mkdir()
            (scratch / "made/model.bin").write_bytes(b"")
            return scratch / "made"

        monkeypatch.setattr(ncnn_files, "doctr_cache", lambda: tmp_path)
        monkeypatch.setattr(ncnn_files, "_made", made)
        both = threading.Barrier(2)

        def start(_: int) -> ncnn_files.NcnnFiles:
            both.wait()
            return ncnn_files.converted(b"graph", (3, 32, 32), lambda _: None)

        with ThreadPoolExecutor(2) as processes:
            first, second = processes.map(start, range(2))

        assert first == second
        assert len(converting) == 1

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda: Path("/bin/false"), "CalledProcessError"),
            (lambda: Path("/nowhere/pnnx"), "FileNotFoundError"),
        ],
    )
    def test_a_graph_that_cannot_be_converted_is_run_by_onnx_runtime(
        self,
        spoil: Any,
        said: str,
        in_cache: Path,
        tmp_path: Path,
        pages: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(ncnn_files, "doctr_cache", lambda: tmp_path)
        monkeypatch.setattr(ncnn_files, "_pnnx", spoil)

        with capture_logs() as logs:
            model = loaded(AUTO)

        assert model.identity["runtime"] == "onnxruntime"
        assert [(line["event"], said in line["error"]) for line in logs] == [("ncnn_not_used", True)]
        assert list((tmp_path / "ncnn").iterdir()) == [], "nothing unfinished is left"

    def test_a_model_that_computes_something_else_is_not_kept(
        self, in_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ncnn_files, "doctr_cache", lambda: tmp_path)
        monkeypatch.setattr(ncnn, "TOLERANCE", 0.0)

        with capture_logs() as logs:
            model = loaded(AUTO)

        assert model.identity["runtime"] == "onnxruntime"
        assert "logits differ by" in logs[0]["error"]
        assert list((tmp_path / "ncnn").iterdir()) == []

    def test_files_that_are_cut_off_are_not_read(
        self, in_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ncnn_files, "doctr_cache", lambda: tmp_path)
        loaded(NCNN)
        (weights,) = tmp_path.glob("ncnn/*/model.bin")
        weights.write_bytes(weights.read_bytes()[:1000])

        with capture_logs() as logs:
            model = loaded(NCNN)

        assert model.identity["runtime"] == "onnxruntime"
        assert f"remove this folder: {weights.parent}" in logs[0]["error"]

    def test_a_conversion_that_hangs_ends_at_its_limit(
        self, in_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hanging = tmp_path / "pnnx"
        hanging.write_text("#!/bin/sh\nexec sleep 600\n")
        hanging.chmod(0o755)
        monkeypatch.setattr(ncnn_files, "_pnnx", lambda: hanging)
        monkeypatch.setattr(ncnn_files, "doctr_cache", lambda: tmp_path)
        monkeypatch.setattr(ncnn_files, "CONVERT_SECONDS", 0.1)

        with pytest.raises(subprocess.TimeoutExpired):
            ncnn_files.converted(b"", (3, 32, 32), lambda _: None)


class TestChoice:
    @pytest.fixture
    def is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ncnn, "is_installed", lambda: True)
        monkeypatch.setattr(choosing.GRAPH_RUNTIMES["onnx"], "check", lambda: None)

    @pytest.fixture
    def is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ncnn, "is_installed", lambda: False)
        monkeypatch.setattr(choosing.GRAPH_RUNTIMES["onnx"], "check", lambda: None)

    def test_the_architectures_are_of_those_that_are_exported(self) -> None:
        assert set(WINOGRAD) < set(EXPORTABLE)

    @pytest.mark.parametrize("architecture", WINOGRAD)
    def test_auto_takes_it_for_its_architectures(self, architecture: str, is_there: None) -> None:
        assert graph_runtime(architecture, CPU, AUTO) is ncnn.RUNTIME

    @pytest.mark.parametrize("options", [AUTO, NCNN])
    @pytest.mark.parametrize("architecture", sorted(set(EXPORTABLE) - set(WINOGRAD)))
    def test_the_others_are_for_onnx_runtime(
        self, architecture: str, options: RuntimeOptions, is_there: None
    ) -> None:
        assert graph_runtime(architecture, CPU, options) is choosing.GRAPH_RUNTIMES["onnx"]

    def test_without_it_auto_takes_onnx_runtime(self, is_not_there: None) -> None:
        assert graph_runtime(ARCHITECTURE, CPU, AUTO) is choosing.GRAPH_RUNTIMES["onnx"]

    def test_on_a_gpu_auto_takes_torch(self, is_there: None) -> None:
        assert graph_runtime(ARCHITECTURE, GPU, AUTO) is None

    @pytest.mark.parametrize(
        ("device", "options", "said"),
        [
            (CPU, NCNN, r"pip install 'trace-ocr-batch\[ncnn\]'"),
            (GPU, NCNN, "runtime ncnn runs on CPUs only"),
            (CPU, RuntimeOptions("ncnn", "bfloat16"), "runtime ncnn has no precision bfloat16"),
        ],
    )
    def test_what_it_cannot_do_is_an_error_that_says_what_to_set(
        self, device: str, options: RuntimeOptions, said: str, is_not_there: None
    ) -> None:
        with pytest.raises(SettingsError, match=said):
            graph_runtime(ARCHITECTURE, device, options)
