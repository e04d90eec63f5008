"""The characters that compared models can read, from their cards in the model store."""

from contract.cascade import models_in
from contract.characters import characters_in
from contract.errors import ModelUnavailableError
from contract.model_store import ModelStore


def vocabulary_of(model: str, characters: str | None, store: ModelStore | None) -> frozenset[str] | None:
    """Return the characters that a model or cascade can read; None if they are not known.

    Args:
        characters: the job's `characters`; one of docTR's vocabularies is known to workers only

    Raises:
        StorageError: the model store cannot be read
    """
    cards = [_vocabulary(name, store) for name in models_in(model)]
    if any(card is None for card in cards):
        return None
    vocabulary = frozenset().union(*(card for card in cards if card))
    if characters is None:
        return vocabulary
    allowed = characters_in(characters)
    return None if allowed is None else vocabulary & allowed


def _vocabulary(name: str, store: ModelStore | None) -> frozenset[str] | None:
    try:
        card = store.card(name) if store else None
    except ModelUnavailableError:
        # The worker has refused this card, or it was replaced since; its vocabulary is of no use either way.
        return None
    return frozenset(card.vocab) if card and card.vocab else None
