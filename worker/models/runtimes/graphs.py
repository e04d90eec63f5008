"""The cache of exported graphs, each with a card: what reading with a graph needs, so that torch is not.

A graph's name depends on the checksum of the weights and the versions that made it, so it is never stale.
"""

import hashlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from contract.lines import UNREADABLE
from contract.model_store import doctr_cache
from worker.kernels.pieces import PieceShape
from worker.models.runtimes.base import ModelInput


class HubFile(msgspec.Struct, frozen=True):
    """docTR's own weights: their address, and the name of the downloaded file in docTR's cache."""

    url: str
    name: str


class GraphCard(msgspec.Struct, frozen=True):
    """What the file `<graph>.json` says about a graph.

    Args:
        graph_sha256: checksum of the graph's file
        doctr, torch: versions that it was exported with
        takes: the model's input
        vocab: the characters of a recognition model
        pieces: how crops are cut, of models whose logits are decoded without docTR
        hub: the weights, if docTR has downloaded them
    """

    graph_sha256: str
    doctr: str
    torch: str
    takes: ModelInput
    vocab: str | None = None
    pieces: PieceShape | None = None
    hub: HubFile | None = None


class Graph(NamedTuple):
    """A graph's file, and its card."""

    data: bytes
    card: GraphCard


def graph_path(architecture: str, weights_sha256: str) -> Path:
    """Return where the graph of these weights is cached, with the installed versions of docTR and torch."""
    key = hashlib.sha256("-".join([weights_sha256, *_versions()]).encode()).hexdigest()[:32]
    return _folder() / f"{architecture}-{key}.onnx"


def cached_graph(architecture: str, weights_sha256: str) -> Graph | None:
    """Return the graph of these weights; None if it is not cached, or is not the one of its card."""
    path = graph_path(architecture, weights_sha256)
    card = _card(path.with_suffix(".json"))
    try:
        data = path.read_bytes() if card else b""
    except OSError:
        return None
    return Graph(data, card) if card and hashlib.sha256(data).hexdigest() == card.graph_sha256 else None


def cached_hub_file(architecture: str) -> HubFile | None:
    """Return the weights that docTR downloads for an architecture, if a cached graph was made of them."""
    version = importlib.metadata.version("python-doctr")
    cards = (_card(path) for path in sorted(_folder().glob(f"{architecture}-*.json")))
    return next((card.hub for card in cards if card and card.hub and card.doctr == version), None)


def write_card(path: Path, card: GraphCard) -> None:
    """Write the card of the graph at a path."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.json")
    try:
        unfinished.write_bytes(msgspec.json.encode(card))
        unfinished.replace(path.with_suffix(".json"))
    finally:
        unfinished.unlink(missing_ok=True)


def _folder() -> Path:
    return doctr_cache() / "onnx"


def _versions() -> Iterator[str]:
    return (importlib.metadata.version(name) for name in ("python-doctr", "torch"))


def _card(path: Path) -> GraphCard | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=GraphCard)
    except (OSError, *UNREADABLE):
        return None
