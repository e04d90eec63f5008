"""`trace-ocr models list`: the architectures, and where the weights of each would come from here."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from contract.job import RECOGNITION_MODELS
from contract.model_store import ModelStore, doctr_cache


@dataclass(frozen=True)
class CatalogueEntry:
    """One architecture; `weights` is 'model store', 'docTR cache' or 'download'."""

    architecture: str
    task: str
    weights: str
    source: str
    licence: str = ""


def list_models(store: ModelStore | None) -> list[CatalogueEntry]:
    """Return every architecture of the contract; a model store's weights go before docTR's.

    Raises:
        ModelUnavailableError: a card in the store is not valid
    """
    cached = _cached(doctr_cache())
    return [_entry(architecture, store, cached) for architecture in RECOGNITION_MODELS]


def _entry(architecture: str, store: ModelStore | None, cached: dict[str, Path]) -> CatalogueEntry:
    card = store.card(architecture) if store else None
    if store and card:
        return CatalogueEntry(architecture, "recognition", "model store", store.root, card.licence)
    if architecture in cached:
        return CatalogueEntry(
            architecture, "recognition", "docTR cache", str(cached[architecture]), "Apache-2.0"
        )
    return CatalogueEntry(
        architecture, "recognition", "download", "docTR's hub, at the first use", "Apache-2.0"
    )


def _cached(folder: Path) -> dict[str, Path]:
    """Whole files of docTR's cache; their names carry the first digits of their sha256."""
    found = {}
    for path in sorted(folder.glob("*-*.pt")):
        match = re.fullmatch(r"(\w+)-([0-9a-f]{8})\.pt", path.name)
        if match and hashlib.sha256(path.read_bytes()).hexdigest().startswith(match[2]):
            found[match[1]] = path
    return found
