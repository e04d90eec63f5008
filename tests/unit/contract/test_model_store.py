"""The model store: only the weights that their card describes are handed out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ModelUnavailableError, UnknownModelError
from contract.kinds.base import WantedModel
from contract.model_store import ModelStore, check_models, doctr_cache
from contract.storage import Storage

WEIGHTS = b"weights"
CARD = {
    "architecture": "parseq",
    "vocab": "abc",
    "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    "licence": "Apache-2.0",
    "accuracy": 0.9,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Given a store that holds parseq."""
    (tmp_path / "parseq.json").write_text(json.dumps(CARD))
    (tmp_path / "parseq.pt").write_bytes(WEIGHTS)
    return tmp_path


@pytest.fixture
def store(folder: Path, storage: Storage) -> ModelStore:
    return ModelStore(str(folder), storage)


def test_the_card_says_what_the_weights_are(store: ModelStore) -> None:
    card = store.card("parseq")

    assert card
    assert (card.vocab, card.licence) == ("abc", "Apache-2.0")


def test_the_weights_are_handed_out_when_their_checksum_is_the_cards(store: ModelStore) -> None:
    card = store.card("parseq")

    assert card
    assert store.weights("parseq", card) == WEIGHTS


def test_a_store_on_s3_works_alike(s3_bucket: Any, storage: Storage) -> None:
    s3_bucket.put("weights/parseq.json", json.dumps(CARD).encode())
    s3_bucket.put("weights/parseq.pt", WEIGHTS)
    store = ModelStore("s3://bucket/weights/", storage)

    card = store.card("parseq")

    assert card
    assert store.weights("parseq", card) == WEIGHTS


def test_an_architecture_without_a_card_is_not_in_the_store(store: ModelStore) -> None:
    assert store.card("master") is None


def test_weights_that_are_not_those_of_the_card_are_refused(store: ModelStore, folder: Path) -> None:
    card = store.card("parseq")
    (folder / "parseq.pt").write_bytes(b"other weights")

    assert card
    with pytest.raises(ModelUnavailableError, match="damaged or was replaced"):
        store.weights("parseq", card)


def test_a_card_without_weights_is_an_error_that_names_them(store: ModelStore, folder: Path) -> None:
    card = store.card("parseq")
    (folder / "parseq.pt").unlink()

    assert card
    with pytest.raises(ModelUnavailableError, match=r"parseq\.pt"):
        store.weights("parseq", card)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({**CARD, "architecture": "master"}),
        json.dumps({**CARD, "vocab": ""}),
        json.dumps({**CARD, "sha256": "abc"}),
        json.dumps({**CARD, "sha256": CARD["sha256"].upper()}),  # type: ignore[attr-defined]
        json.dumps({"architecture": "parseq"}),
        "not json",
        "",
    ],
)
def test_a_card_that_cannot_be_trusted_is_refused_by_its_name(
    content: str, store: ModelStore, folder: Path
) -> None:
    (folder / "parseq.json").write_text(content)

    with pytest.raises(ModelUnavailableError, match=r"parseq\.json"):
        store.card("parseq")


def test_two_checkpoints_of_one_architecture_have_names_of_their_own(store: ModelStore, folder: Path) -> None:
    (folder / "parseq-2025.json").write_text(json.dumps({**CARD, "vocab": "abcd"}))
    (folder / "parseq-2025.pt").write_bytes(WEIGHTS)
    (folder / "notes.txt").write_text("no model")

    card = store.card("parseq-2025")

    assert store.names() == ["parseq", "parseq-2025"]
    assert card
    assert (card.architecture, card.vocab) == ("parseq", "abcd")
    assert store.weights("parseq-2025", card) == WEIGHTS


@pytest.mark.parametrize("architecture", ["yolo", "../parseq"])
def test_a_card_for_no_architecture_of_doctrs_is_refused(
    architecture: str, store: ModelStore, folder: Path
) -> None:
    (folder / "mine.json").write_text(json.dumps({**CARD, "architecture": architecture}))

    with pytest.raises(ModelUnavailableError, match=r"mine\.json"):
        store.card("mine")


class TestNames:
    """The names that parameters give, checked when a job is submitted."""

    @pytest.fixture(autouse=True)
    def more(self, folder: Path) -> None:
        (folder / "mine.json").write_text(json.dumps(CARD))

    @pytest.mark.parametrize("name", ["parseq", "mine", "master"])
    def test_an_architecture_or_a_model_of_the_store_is_accepted(self, name: str, store: ModelStore) -> None:
        check_models([WantedModel("recognition_model", "recognition", name)], store)

    def test_another_name_is_refused_with_what_there_is(self, store: ModelStore) -> None:
        with pytest.raises(UnknownModelError) as raised:
            check_models([WantedModel("recognition_model", "recognition", "theirs")], store)

        said = str(raised.value)
        assert all(name in said for name in ("recognition_model 'theirs'", "mine", "parseq", "crnn_vgg16_bn"))

    def test_a_model_of_another_task_is_refused(self, store: ModelStore) -> None:
        with pytest.raises(UnknownModelError, match="detection_model 'mine' is a recognition model"):
            check_models([WantedModel("detection_model", "detection", "mine")], store)

    def test_without_a_store_the_refusal_says_so(self) -> None:
        with pytest.raises(UnknownModelError, match="no model store is set"):
            check_models([WantedModel("recognition_model", "recognition", "mine")], None)


def test_doctr_keeps_its_weights_where_its_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTR_CACHE_DIR", "/cache")

    assert doctr_cache() == Path("/cache/models")


def test_doctr_keeps_its_weights_in_the_home_folder_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCTR_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")

    assert doctr_cache() == Path("/home/ada/.cache/doctr/models")
