"""Fixtures of models: docTR's cache as the first worker of a machine leaves it."""

from pathlib import Path

import pytest

from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from tests.conftest import SAMPLES
from worker.kernels.scaling import make_resample
from worker.models.recognition import load_recogniser
from worker.models.runtimes.base import RuntimeOptions


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docTR's cache with the graph of the bundled weights, as the first worker of a machine leaves it."""
    folder = tmp_path_factory.mktemp("cache")
    make_resample.cache_clear()
    store = ModelStore(str(SAMPLES / "weights"), Storage(Settings()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCTR_CACHE_DIR", str(folder))
        load_recogniser("crnn_mobilenet_v3_small", store, "cpu", RuntimeOptions("onnx"))
    return folder
