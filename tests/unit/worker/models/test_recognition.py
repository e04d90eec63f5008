"""Weights: verified before they are loaded, never a way to run code, and missing ones say both ways out."""

import hashlib
import io
import json
import os
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from doctr.models import recognition

from contract.errors import ModelUnavailableError, SettingsError
from contract.model_store import ModelStore
from contract.storage import Storage
from worker.models import doctr_models
from worker.models.recognition import load_recogniser
from worker.models.weights import select_device

ARCHITECTURE = "crnn_mobilenet_v3_small"
VOCAB = "0123456789"
CPU = "cpu"

PutWeights = Callable[..., ModelStore]


def state_of(vocab: str = VOCAB) -> dict[str, Any]:
    """Return an untrained model's state."""
    build = getattr(recognition, ARCHITECTURE)
    return dict(build(pretrained=False, pretrained_backbone=False, vocab=vocab).state_dict())


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    return saved(state_of())


@pytest.fixture
def put(tmp_path: Path, storage: Storage) -> PutWeights:
    """Make a model store of one architecture; its card is right but for what a test changes."""

    def make(data: bytes | None, **card: object) -> ModelStore:
        folder = tmp_path / "models"
        folder.mkdir()
        if data is not None:
            (folder / f"{ARCHITECTURE}.pt").write_bytes(data)
        right = {
            "architecture": ARCHITECTURE,
            "vocab": VOCAB,
            "sha256": hashlib.sha256(data or b"").hexdigest(),
        }
        (folder / f"{ARCHITECTURE}.json").write_text(json.dumps({**right, **card}), encoding="utf-8")
        return ModelStore(str(folder), storage)

    return make


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Given a machine that cannot reach docTR's hub and has no cache; the URLs that were tried."""
    tried: list[str] = []

    def fail(url: str, *_: object) -> Path:
        tried.append(url)
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("doctr.utils.data._urlretrieve", fail)
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path / "cache"))
    return tried


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


class TestFromTheStore:
    def test_loaded_without_asking_doctr(
        self, put: PutWeights, checkpoint: bytes, no_network: list[str]
    ) -> None:
        store = put(checkpoint)

        recogniser = load_recogniser(ARCHITECTURE, store, CPU)

        assert no_network == []
        assert recogniser.identity["architecture"] == ARCHITECTURE
        assert recogniser.identity["source"] == store.root
        assert recogniser.identity["weights_sha256"] == hashlib.sha256(checkpoint).hexdigest()
        assert {"doctr", "torch", "precision", "device"} <= set(recogniser.identity)

    def test_half_precision_is_read_as_single(self, put: PutWeights) -> None:
        state = {
            name: value.half() if value.is_floating_point() else value for name, value in state_of().items()
        }

        assert load_recogniser(ARCHITECTURE, put(saved(state)), CPU).identity["precision"] == "float32"

    def test_a_wrong_checksum(self, put: PutWeights, checkpoint: bytes) -> None:
        with pytest.raises(ModelUnavailableError, match=r"sha256.*damaged or was replaced.*copy both again"):
            load_recogniser(ARCHITECTURE, put(checkpoint, sha256="0" * 64), CPU)

    def test_the_checksum_is_verified_before_anything_is_loaded(
        self, put: PutWeights, monkeypatch: pytest.MonkeyPatch, checkpoint: bytes
    ) -> None:
        def loaded(*_: object, **__: object) -> None:
            raise AssertionError("loaded unverified")

        monkeypatch.setattr(torch, "load", loaded)

        with pytest.raises(ModelUnavailableError, match="sha256"):
            load_recogniser(ARCHITECTURE, put(checkpoint, sha256="0" * 64), CPU)

    def test_a_card_without_weights_is_no_licence_to_take_others(
        self, put: PutWeights, no_network: list[str]
    ) -> None:
        with pytest.raises(ModelUnavailableError, match=rf"{ARCHITECTURE}\.pt cannot be read"):
            load_recogniser(ARCHITECTURE, put(None), CPU)

        assert no_network == []

    @pytest.mark.parametrize(
        "card",
        [{"architecture": "parseq"}, {"vocab": ""}, {"sha256": "not a checksum"}, {"vocab": None}],
        ids=str,
    )
    def test_a_card_that_is_not_valid(
        self, put: PutWeights, checkpoint: bytes, card: dict[str, object]
    ) -> None:
        with pytest.raises(ModelUnavailableError, match=rf"model card .*{ARCHITECTURE}\.json"):
            load_recogniser(ARCHITECTURE, put(checkpoint, **card), CPU)

    def test_another_vocabulary_than_the_weights(self, put: PutWeights, checkpoint: bytes) -> None:
        with pytest.raises(ModelUnavailableError, match=rf"{ARCHITECTURE}\.pt.*no weights for this arch"):
            load_recogniser(ARCHITECTURE, put(checkpoint, vocab=VOCAB + "ab"), CPU)

    @pytest.mark.parametrize("missing", ["linear.weight", "linear.bias"])
    def test_a_layer_short(self, put: PutWeights, missing: str) -> None:
        state = state_of()
        del state[missing]

        with pytest.raises(ModelUnavailableError, match="replace the file"):
            load_recogniser(ARCHITECTURE, put(saved(state)), CPU)

    @pytest.mark.parametrize("data", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
    def test_no_checkpoint_at_all(self, put: PutWeights, data: bytes) -> None:
        with pytest.raises(ModelUnavailableError, match="replace the file"):
            load_recogniser(ARCHITECTURE, put(data), CPU)

    def test_a_pickle_with_code_is_refused_and_not_run(self, put: PutWeights, tmp_path: Path) -> None:
        # given a checkpoint whose unpickling would make a folder; the trap works
        trap = tmp_path / "sprung"
        data = saved({**state_of(), "payload": Trap(trap)})
        torch.load(io.BytesIO(data), weights_only=False)
        trap.rmdir()

        with pytest.raises(ModelUnavailableError, match="replace the file"):
            load_recogniser(ARCHITECTURE, put(data), CPU)

        assert not trap.exists()


class TestFromDoctr:
    @pytest.mark.parametrize("with_store", [False, True], ids=["no store", "a store of other models"])
    def test_nothing_to_be_had_names_both_ways_out(
        self, tmp_path: Path, storage: Storage, no_network: list[str], with_store: bool
    ) -> None:
        store = ModelStore(str(tmp_path / "models"), storage) if with_store else None

        with pytest.raises(ModelUnavailableError) as caught:
            load_recogniser(ARCHITECTURE, store, CPU)

        # docTR would try http next
        (url,) = no_network
        assert url.lower().startswith("https://")
        message = str(caught.value)
        assert ARCHITECTURE in message
        assert "Name or service not known" in message
        assert f"https:{url[6:]}" in message
        assert str(tmp_path / "cache" / "models") in message
        assert "TRACE_OCR_MODEL_STORE" in message
        assert (f"the model store {tmp_path}/models" if with_store else "no model store is set") in message

    def test_a_file_of_doctrs_that_is_damaged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        downloaded = tmp_path / "downloaded.pt"
        downloaded.write_bytes(b"<html>not found</html>")
        monkeypatch.setattr(doctr_models, "download_from_url", lambda url, **_: downloaded)

        with pytest.raises(ModelUnavailableError, match=r"downloaded\.pt.*replace the file"):
            load_recogniser(ARCHITECTURE, None, CPU)

    def test_the_file_that_was_downloaded_is_named_and_hashed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Path
    ) -> None:
        # given docTR's file: the bundled weights stand in, which share the default vocabulary
        weights = samples / "weights" / f"{ARCHITECTURE}.pt"
        monkeypatch.setattr(doctr_models, "download_from_url", lambda url, **_: weights)

        identity = load_recogniser(ARCHITECTURE, None, CPU).identity

        assert identity["source"].startswith("https://")
        assert identity["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


class TestDevice:
    def test_the_cpu(self) -> None:
        assert select_device("cpu") == "cpu"

    def test_the_one_gpu_that_the_process_sees(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

        assert select_device("3") == "cuda:0"

    def test_a_gpu_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

        with pytest.raises(SettingsError, match=r"device 0 .*--devices cpu"):
            select_device("0")
