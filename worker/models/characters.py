"""The `characters` parameter on the device: readings that have no other characters.

docTR's own `add_whitelist` masks the last layer's output, also inside the loop of models that read character
by character. Where the masked values are the logits that are decoded here, masking those is the same
arithmetic.
"""

from typing import Any

import torch
from doctr.datasets import VOCABS
from doctr.models.utils import add_whitelist

from contract.characters import characters_in
from contract.errors import ModelUnavailableError
from worker.kernels.pixels import Pixels
from worker.models.runtimes import Output, Runtime


def allowed_in(specification: str, vocab: str, model: str) -> str:
    """Return the characters of a model's vocabulary that a `characters` parameter allows, in its order.

    Raises:
        ModelUnavailableError: there are none
    """
    named = characters_in(specification)
    wanted = set(VOCABS[specification]) if named is None else named
    allowed = "".join(character for character in vocab if character in wanted)
    if not allowed:
        raise ModelUnavailableError(
            f"{model} can read none of the characters {specification[:100]!r}: choose another model or others"
        )
    return allowed


def forbidden_classes(vocab: str, allowed: str, classes: int) -> torch.Tensor:
    """Return which of a model's classes must not be chosen, (classes,) bool.

    The class after the vocabulary ends a string, or is CTC's blank: it is always kept, as docTR does.
    """
    forbidden = torch.ones(classes, dtype=torch.bool)
    forbidden[[vocab.index(character) for character in allowed] + [len(vocab)]] = False
    return forbidden


class WhitelistedRuntime:
    """A torch runtime whose model may choose only some characters while it runs.

    Args:
        runtime: runs `model`, uncompiled; its `forward` is called by one thread at a time
        model: docTR's model
        allowed: the characters
    """

    def __init__(self, runtime: Runtime, model: Any, allowed: str) -> None:
        self.name, self.precision = runtime.name, runtime.precision
        self._runtime, self._model, self._allowed = runtime, model, allowed

    def forward(self, batch: Pixels) -> Output:
        """Return the runtime's output under docTR's whitelist."""
        with add_whitelist(self._model, self._allowed):
            return self._runtime.forward(batch)
