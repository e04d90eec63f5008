"""Where a model's weights are: in the model store, or in docTR's cache. Needs no torch."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from contract.architectures import Task
from contract.errors import ModelUnavailableError, SettingsError, UnknownModelError
from contract.kinds.base import WantedModel
from contract.model_store import ModelCard, ModelStore, check_models, doctr_cache
from worker.models.imports import doctr_side
from worker.models.runtimes.graphs import cached_hub_file


class Found(NamedTuple):
    """Weights that were found.

    Args:
        name: the model's name, an entry of the model store or an architecture
        architecture: docTR's name of the architecture
        sha256: checksum of the file; None if docTR has to be asked for its own
        source: the store, or the address of docTR's file
        data: reads the file, and raises ModelUnavailableError unless it has the checksum
        stored: they are in the store
        vocab: the characters that the store says a recognition model has
    """

    name: str
    architecture: str
    sha256: str | None
    source: str
    data: Callable[[], bytes]
    stored: bool = False
    vocab: str | None = None


def find_weights(task: Task, name: str, store: ModelStore | None) -> Found:
    """Return the weights of a model, without reading those of the store.

    Args:
        name: an entry of the model store, or an architecture

    Raises:
        ModelUnavailableError: there is no such model, or its card is not valid
    """
    try:
        check_models([WantedModel("model", task, name)], store)
    except UnknownModelError as error:
        raise ModelUnavailableError(str(error)) from error
    card = store.card(name) if store else None
    if store is None or card is None:
        return _doctrs(name)
    vocab = _vocab(name, card) if task == "recognition" else None
    read = partial(store.weights, name, card)
    return Found(name, card.architecture, card.sha256, store.root, read, stored=True, vocab=vocab)


def identity_of(found: Found, sha256: str, versions: dict[str, str], device: str) -> dict[str, str]:
    """Return what the summary says about a model; its runtime is added by `DeviceModel`.

    Args:
        versions: of docTR and torch
        device: torch's name of the device
    """
    return {
        "name": found.name,
        "architecture": found.architecture,
        "weights_sha256": sha256,
        "source": found.source,
        **versions,
        "device": "cpu" if device == "cpu" else doctr_side("torch").cuda.get_device_name(device),
    }


def _doctrs(architecture: str) -> Found:
    """Return docTR's own weights; with their checksum if a cached graph names their file."""
    file = cached_hub_file(architecture)
    try:
        data = (doctr_cache() / file.name).read_bytes() if file else b""
    except OSError:
        data = b""
    sha256 = hashlib.sha256(data).hexdigest() if data else None
    return Found(architecture, architecture, sha256, file.url if file else "", lambda: data)


def _vocab(name: str, card: ModelCard) -> str:
    if card.vocab is None:
        raise ModelUnavailableError(
            f"the model card {name}.json names no vocab, which recognition models need: add it"
        )
    return card.vocab


def select_device(name: str) -> str:
    """Return torch's name of a device: 'cpu', or CUDA's first visible device for anything else.

    Raises:
        SettingsError: a GPU is required and torch finds none
    """
    if name == "cpu":
        return name
    if not doctr_side("torch").cuda.is_available():
        raise SettingsError(
            f"device {name} is selected, but torch finds no CUDA device: check the driver (nvidia-smi), "
            "or run with --devices cpu"
        )
    return "cuda:0"
