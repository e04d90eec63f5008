"""The model store: weights and their cards in a folder or S3 prefix, verified before loading."""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from contract.architectures import MODEL_TASKS, NAME, task_of
from contract.errors import ModelUnavailableError, ObjectMissingError, StorageError, UnknownModelError
from contract.kinds.base import WantedModel
from contract.lines import UNREADABLE
from contract.storage import Storage, absolute, join

MAX_WEIGHTS_BYTES = 4 << 30
"""Maximum bytes of one checkpoint; docTR's largest is under 1 GB."""

SHOWN = 100
"""Maximum characters of a card's architecture that an error message repeats."""

SHOWN_NAMES = 40
"""Maximum entries of a model store that an error message lists."""

MAX_CARD_BYTES = 1 << 20
"""Maximum bytes of a model card: a vocabulary and a few figures."""


class ModelCard(msgspec.Struct, frozen=True):
    """What `<name>.json` says about the checkpoint `<name>.pt`; other fields are ignored.

    The name is free, or the architecture itself: that entry replaces docTR's weights. Only recognition models
    have a `vocab`.
    """

    architecture: str
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    vocab: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    source: str = ""
    licence: str = ""


@dataclass(frozen=True)
class ModelStore:
    """The cards and checkpoints below one root; links are followed, as the operator has made them."""

    root: str
    storage: Storage

    def names(self) -> list[str]:
        """Return the names of all entries, sorted; raises StorageError."""
        files = (PurePosixPath(name) for name in self.storage.at(self.root).names(absolute(self.root)))
        return sorted(file.stem for file in files if file.suffix == ".json" and re.fullmatch(NAME, file.stem))

    def card(self, name: str) -> ModelCard | None:
        """Return the card of an entry, or None if the store has none of that name.

        Raises:
            ModelUnavailableError: the card cannot be read or is invalid
        """
        uri = join(self.root, f"{name}.json")
        try:
            data = self.storage.at(uri).read(absolute(uri), MAX_CARD_BYTES)
            card = msgspec.json.decode(data, type=ModelCard)
        except ObjectMissingError:
            return None
        except (StorageError, *UNREADABLE) as error:
            raise ModelUnavailableError(f"the model card {uri} cannot be used: {error}") from error
        if task_of(card.architecture) is None or (task_of(name) and name != card.architecture):
            raise ModelUnavailableError(
                f"the model card {uri} is for {card.architecture[:SHOWN]}: rename or replace it"
            )
        return card

    def weights(self, name: str, card: ModelCard) -> bytes:
        """Return the checkpoint of an entry, its checksum verified against its card.

        Raises:
            ModelUnavailableError: the file is missing, unreadable, or not the one the card describes
        """
        uri = join(self.root, f"{name}.pt")
        try:
            data = self.storage.at(uri).read(absolute(uri), MAX_WEIGHTS_BYTES)
        except StorageError as error:
            raise ModelUnavailableError(f"the weights {uri} cannot be read: {error}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != card.sha256:
            raise ModelUnavailableError(
                f"the weights {uri} have sha256 {found}, but their card says {card.sha256}: "
                "the file is damaged or was replaced; copy both again from their source"
            )
        return data


def check_models(wanted: Iterable[WantedModel], store: ModelStore | None) -> None:
    """Raise UnknownModelError unless each name is an architecture of its task, or such a model in the store.

    Raises:
        ModelUnavailableError: a named card is invalid
    """
    for parameter, task, name in wanted:
        if name in MODEL_TASKS[task]:
            continue
        card = store.card(name) if store else None
        if card and task_of(card.architecture) == task:
            continue
        fault = f"is a {task_of(card.architecture)} model" if card else "is no architecture"
        raise UnknownModelError(
            f"{parameter} {name!r} {fault}{'' if card else _not_in(store)}: "
            f"architectures for {task} are {', '.join(MODEL_TASKS[task])}",
            parameter,
        )


def _not_in(store: ModelStore | None) -> str:
    if store is None:
        return ", and no model store is set (TRACE_OCR_MODEL_STORE)"
    return f", and the model store {store.root} has {', '.join(store.names()[:SHOWN_NAMES]) or 'no models'}"


def doctr_cache() -> Path:
    """Return the folder where docTR keeps the weights it has downloaded."""
    root = os.environ.get("DOCTR_CACHE_DIR") or Path.home() / ".cache" / "doctr"
    return Path(root) / "models"
