"""The `characters` parameter on the device: readings that have no other characters.

Where the values that docTR's own `add_whitelist` masks are the logits that are decoded here, masking those is
the same arithmetic. Models that read character by character are masked inside their loop:
`worker.models.doctr_recognition`.
"""

import numpy as np

from contract.characters import characters_in
from contract.errors import ModelUnavailableError
from worker.models.ctc import Forbidden
from worker.models.imports import doctr_side


def allowed_in(specification: str, vocab: str, model: str) -> str:
    """Return the characters of a model's vocabulary that a `characters` parameter allows, in its order.

    Raises:
        ModelUnavailableError: there are none
    """
    named = characters_in(specification)
    wanted = set(doctr_side("doctr.datasets").VOCABS[specification]) if named is None else named
    allowed = "".join(character for character in vocab if character in wanted)
    if not allowed:
        raise ModelUnavailableError(
            f"{model} can read none of the characters {specification[:100]!r}: choose another model or others"
        )
    return allowed


def forbidden_classes(vocab: str, allowed: str, classes: int) -> Forbidden:
    """Return which of a model's classes must not be chosen.

    The class after the vocabulary ends a string, or is CTC's blank: it is always kept, as docTR does.
    """
    forbidden = np.ones(classes, np.bool_)
    forbidden[[vocab.index(character) for character in allowed] + [len(vocab)]] = False
    return forbidden
