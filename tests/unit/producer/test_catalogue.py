"""The catalogue: every architecture, and where this machine loads its weights from."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from contract.architectures import DETECTION_MODELS, ORIENTATION_MODELS, RECOGNITION_MODELS
from contract.errors import ModelUnavailableError
from contract.model_store import ModelStore
from contract.storage import Storage
from producer.catalogue import CatalogueEntry, list_models


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given an empty docTR cache."""
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path / "doctr"))
    folder = tmp_path / "doctr" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def store(tmp_path: Path, storage: Storage) -> ModelStore:
    """Given a model store that holds parseq."""
    card = {"architecture": "parseq", "vocab": "abc", "sha256": "0" * 64, "licence": "MIT"}
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "parseq.json").write_text(json.dumps(card))
    return ModelStore(str(tmp_path / "store"), storage)


def put_in(cache: Path, architecture: str, content: bytes = b"weights", digest: str | None = None) -> Path:
    digest = digest or hashlib.sha256(content).hexdigest()[:8]
    path = cache / f"{architecture}-{digest}.pt"
    path.write_bytes(content)
    return path


def entry_of(architecture: str, store: ModelStore | None) -> CatalogueEntry:
    return next(entry for entry in list_models(store) if entry.name == architecture)


def test_every_architecture_is_listed() -> None:
    listed = list_models(None)

    assert tuple(entry.name for entry in listed) == (
        *RECOGNITION_MODELS,
        *DETECTION_MODELS,
        *ORIENTATION_MODELS,
    )
    assert Counter(entry.task for entry in listed) == {
        "recognition": len(RECOGNITION_MODELS),
        "detection": len(DETECTION_MODELS),
        "orientation": len(ORIENTATION_MODELS),
    }


def test_missing_weights_are_downloaded() -> None:
    assert {entry.weights for entry in list_models(None)} == {"download"}


def test_weights_that_doctr_has_downloaded_are_available(cache: Path) -> None:
    path = put_in(cache, "crnn_vgg16_bn")

    entry = entry_of("crnn_vgg16_bn", None)

    assert (entry.weights, entry.source) == ("docTR cache", str(path))


def test_an_interrupted_download_is_not_available(cache: Path) -> None:
    put_in(cache, "crnn_vgg16_bn", digest="00000000")

    assert entry_of("crnn_vgg16_bn", None).weights == "download"


def test_the_model_store_goes_before_doctrs_cache(store: ModelStore, cache: Path) -> None:
    put_in(cache, "parseq")

    assert entry_of("parseq", store) == CatalogueEntry(
        "parseq", "parseq", "recognition", "model store", store.root, "MIT", 3, "0" * 64
    )
    assert entry_of("master", store).weights == "download"


def test_a_stores_other_models_follow_the_architectures_of_their_task(store: ModelStore) -> None:
    card = {"architecture": "parseq", "vocab": "abcd", "sha256": "1" * 64}
    Path(store.root, "mine.json").write_text(json.dumps(card))

    names = [entry.name for entry in list_models(store)]

    assert names.index("mine") == len(RECOGNITION_MODELS)
    assert entry_of("mine", store) == CatalogueEntry(
        "mine", "parseq", "recognition", "model store", store.root, "", 4, "1" * 64
    )


def test_a_card_that_is_not_valid_is_an_error(store: ModelStore) -> None:
    Path(store.root, "master.json").write_text("{}")

    with pytest.raises(ModelUnavailableError, match=r"master\.json"):
        list_models(store)
