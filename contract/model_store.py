"""The model store: weights and their cards in a folder or S3 prefix, verified before loading."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from contract.errors import ModelUnavailableError, ObjectMissingError, StorageError
from contract.storage import Storage, join

MAX_WEIGHTS_BYTES = 4 << 30
"""Maximum bytes of one checkpoint; docTR's largest is under 1 GB."""

MAX_CARD_BYTES = 1 << 20
"""Maximum bytes of a model card: a vocabulary and a few figures."""


class ModelCard(msgspec.Struct, frozen=True):
    """What `<architecture>.json` says about `<architecture>.pt`; other fields are ignored.

    Only recognition models have a `vocab`.
    """

    architecture: str
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    vocab: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    source: str = ""
    licence: str = ""


@dataclass(frozen=True)
class ModelStore:
    """The cards and checkpoints below one root."""

    root: str
    storage: Storage

    def card(self, architecture: str) -> ModelCard | None:
        """Return the card of an architecture, or None if the store has none.

        Raises:
            ModelUnavailableError: the card cannot be read or is invalid
        """
        uri = join(self.root, f"{architecture}.json")
        try:
            data = self.storage.at(uri).read(uri, MAX_CARD_BYTES)
            card = msgspec.json.decode(data, type=ModelCard)
        except ObjectMissingError:
            return None
        except (StorageError, msgspec.DecodeError) as error:
            raise ModelUnavailableError(f"the model card {uri} cannot be used: {error}") from error
        if card.architecture != architecture:
            raise ModelUnavailableError(
                f"the model card {uri} is for {card.architecture}: rename or replace it"
            )
        return card

    def weights(self, card: ModelCard) -> bytes:
        """Return the checkpoint that a card describes, its checksum verified.

        Raises:
            ModelUnavailableError: the file is missing, unreadable, or not the one the card describes
        """
        uri = join(self.root, f"{card.architecture}.pt")
        try:
            data = self.storage.at(uri).read(uri, MAX_WEIGHTS_BYTES)
        except StorageError as error:
            raise ModelUnavailableError(f"the weights {uri} cannot be read: {error}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != card.sha256:
            raise ModelUnavailableError(
                f"the weights {uri} have sha256 {found}, but their card says {card.sha256}: "
                "the file is damaged or was replaced; copy both again from their source"
            )
        return data


def doctr_cache() -> Path:
    """Return the folder where docTR keeps the weights it has downloaded."""
    root = os.environ.get("DOCTR_CACHE_DIR") or Path.home() / ".cache" / "doctr"
    return Path(root) / "models"
