"""`trace-ocr models list`: the models that jobs can name, and where each one's weights are loaded from."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from contract.architectures import MODEL_TASKS, task_of
from contract.model_store import ModelCard, ModelStore, doctr_cache

DOCTRS_LICENCE = "Apache-2.0"
"""The licence of docTR's own weights."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One model: an entry of the model store, or an architecture with docTR's weights.

    Args:
        name: what parameters such as `recognition_model` take
        task: a key of MODEL_TASKS
        weights: 'model store', 'docTR cache' or 'download'
        vocab_size: number of characters that the model can read; None if there is no card
        sha256: of the checkpoint; None if there is no card
    """

    name: str
    architecture: str
    task: str
    weights: str
    source: str
    licence: str = ""
    vocab_size: int | None = None
    sha256: str | None = None


def list_models(store: ModelStore | None) -> list[CatalogueEntry]:
    """Return every architecture by task, followed by the store's other models of that task.

    Raises:
        ModelUnavailableError: a card in the store is not valid
        StorageError: the store cannot be listed
    """
    cards = _cards(store) if store else {}
    cached = _cached(doctr_cache())
    entries = []
    for task, architectures in MODEL_TASKS.items():
        named = [name for name, card in cards.items() if task_of(card.architecture) == task]
        others = [name for name in named if name not in architectures]
        entries += [_entry(name, task, store, cards.get(name), cached) for name in (*architectures, *others)]
    return entries


def _cards(store: ModelStore) -> dict[str, ModelCard]:
    found = ((name, store.card(name)) for name in store.names())
    return {name: card for name, card in found if card}


def _entry(
    name: str, task: str, store: ModelStore | None, card: ModelCard | None, cached: dict[str, Path]
) -> CatalogueEntry:
    if store and card:
        size = len(card.vocab) if card.vocab else None
        return CatalogueEntry(
            name, card.architecture, task, "model store", store.root, card.licence, size, card.sha256
        )
    if name in cached:
        return CatalogueEntry(name, name, task, "docTR cache", str(cached[name]), DOCTRS_LICENCE)
    return CatalogueEntry(name, name, task, "download", "docTR's hub", DOCTRS_LICENCE)


def _cached(folder: Path) -> dict[str, Path]:
    """Return the complete files of docTR's cache; their names hold the first digits of their SHA-256."""
    found = {}
    for path in sorted(folder.glob("*-*.pt")):
        match = re.fullmatch(r"(\w+)-([0-9a-f]{8})\.pt", path.name)
        if match and hashlib.sha256(path.read_bytes()).hexdigest().startswith(match[2]):
            found[match[1]] = path
    return found
