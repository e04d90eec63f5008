"""`trace-ocr models list`: the architectures, and where this machine loads each one's weights from."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from contract.architectures import MODEL_TASKS
from contract.model_store import ModelStore, doctr_cache

DOCTRS_LICENCE = "Apache-2.0"
"""The licence of docTR's own weights."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One architecture.

    Args:
        task: a key of MODEL_TASKS
        weights: 'model store', 'docTR cache' or 'download'
    """

    architecture: str
    task: str
    weights: str
    source: str
    licence: str = ""


def list_models(store: ModelStore | None) -> list[CatalogueEntry]:
    """Return every architecture of `contract.architectures`; a model store's weights go before docTR's.

    Raises:
        ModelUnavailableError: a card in the store is not valid
    """
    cached = _cached(doctr_cache())
    return [
        _entry(architecture, task, store, cached)
        for task, architectures in MODEL_TASKS.items()
        for architecture in architectures
    ]


def _entry(architecture: str, task: str, store: ModelStore | None, cached: dict[str, Path]) -> CatalogueEntry:
    card = store.card(architecture) if store else None
    if store and card:
        return CatalogueEntry(architecture, task, "model store", store.root, card.licence)
    if architecture in cached:
        return CatalogueEntry(architecture, task, "docTR cache", str(cached[architecture]), DOCTRS_LICENCE)
    return CatalogueEntry(architecture, task, "download", "docTR's hub", DOCTRS_LICENCE)


def _cached(folder: Path) -> dict[str, Path]:
    """Return the complete files of docTR's cache; their names hold the first digits of their SHA-256."""
    found = {}
    for path in sorted(folder.glob("*-*.pt")):
        match = re.fullmatch(r"(\w+)-([0-9a-f]{8})\.pt", path.name)
        if match and hashlib.sha256(path.read_bytes()).hexdigest().startswith(match[2]):
            found[match[1]] = path
    return found
