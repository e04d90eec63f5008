"""The model store: `<architecture>.pt` and its card `<architecture>.json`, written and read back."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tools.training.architectures import build, task_of
from tools.training.errors import CheckpointError, StoreError
from tools.training.sources import VOCAB

LICENCE = "Apache-2.0"
DTYPE = "float16 (loads into float32 parameters)"
NOTE = "For demonstration and tests. Production uses docTR's pretrained weights."


@dataclass(frozen=True)
class Stored:
    """A model of the store, ready to read, with its card."""

    model: Any
    card: dict[str, Any]


def halved(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with its floats as float16: half the file size, without changing a text.

    Raises:
        CheckpointError: a weight does not fit into float16
    """
    small = {name: t.half() if t.dtype.is_floating_point else t for name, t in state.items()}
    for name, tensor in small.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} is not finite in float16: the run has diverged, train again")
    return {name: tensor.contiguous() for name, tensor in small.items()}


def write_model(
    store: Path, architecture: str, state: dict[str, torch.Tensor], source: str, recipe: str
) -> Path:
    """Write weights and card; the card has no figures until `evaluate --write-cards` has measured them.

    `source` is a sentence on what the model was trained on, `recipe` the commit of the code that trained it.
    """
    store.mkdir(parents=True, exist_ok=True)
    weights = store / f"{architecture}.pt"
    torch.save(halved(state), weights)
    task = task_of(architecture)
    card: dict[str, Any] = {"architecture": architecture, "task": task}
    if task == "recognition":
        card["vocab"] = VOCAB
    card |= {"sha256": sha256_of(weights), "dtype": DTYPE, "licence": LICENCE}
    card |= {"source": source, "recipe": recipe, "measured": {}, "note": NOTE}
    write_card(store, card)
    return weights


def write_card(store: Path, card: dict[str, Any]) -> None:
    """Write `card` as `<architecture>.json`, for people to read."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    (store / f"{card['architecture']}.json").write_text(text + "\n", encoding="utf-8")


def read_model(store: Path, task: str) -> Stored | None:
    """The store's model for `task`, or None if it has none.

    Raises:
        StoreError: there are several, or the weights are missing or not those the card describes
    """
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(store.glob("*.json"))]
    cards = [card for card in cards if card.get("task") == task]
    if len(cards) > 1:
        names = ", ".join(card["architecture"] for card in cards)
        raise StoreError(f"{store} holds several models for {task} ({names}): evaluate a store with one")
    if not cards:
        return None
    return Stored(load(store, cards[0]), cards[0])


def load(store: Path, card: dict[str, Any]) -> Any:
    """docTR's model with the weights that `card` describes, in evaluation mode.

    Raises:
        StoreError: the weights are missing or not those the card describes
    """
    weights = store / f"{card['architecture']}.pt"
    if not weights.is_file():
        raise StoreError(f"{weights} is missing, but its card is there: export the model again")
    if sha256_of(weights) != card["sha256"]:
        raise StoreError(f"{weights} has not the sha256 of its card: one of the two was exchanged")
    model = build(card["architecture"], card.get("vocab", VOCAB))
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def sha256_of(path: Path) -> str:
    """The file's sha256, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
