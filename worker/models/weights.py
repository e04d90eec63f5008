"""docTR's models with weights from the model store or from docTR; verified, and never executed as code."""

import contextlib
import hashlib
import importlib.metadata
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from doctr.models import classification, detection, recognition
from doctr.models.detection.fast import reparameterize
from doctr.utils.data import download_from_url
from filelock import FileLock

from contract.architectures import Task
from contract.errors import ModelUnavailableError, SettingsError, UnknownModelError
from contract.kinds.base import WantedModel
from contract.model_store import ModelCard, ModelStore, check_models, doctr_cache

_ZOO = {"recognition": recognition, "detection": detection, "orientation": classification}
"""docTR's modules that build the models of each task."""


def select_device(name: str) -> torch.device:
    """Return the torch device for 'cpu', or CUDA's first visible device for anything else.

    Raises:
        SettingsError: a GPU is required and torch finds none
    """
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SettingsError(
            f"device {name} is selected, but torch finds no CUDA device: check the driver (nvidia-smi), "
            "or run with --devices cpu"
        )
    return torch.device("cuda:0")


def load_model(
    task: Task, name: str, store: ModelStore | None, device: torch.device
) -> tuple[Any, dict[str, str]]:
    """Return a model and its identity for the summary: from the model store if it has it, else from docTR.

    The model is still on the CPU; `device` is where it will run.

    Args:
        name: an entry of the model store, or an architecture

    Raises:
        ModelUnavailableError: no weights are available, or they fail verification
    """
    try:
        check_models([WantedModel("model", task, name)], store)
    except UnknownModelError as error:
        raise ModelUnavailableError(str(error)) from error
    card = store.card(name) if store else None
    architecture = card.architecture if card else name
    if store and card:
        data = store.weights(name, card)
        model = _build(task, architecture, vocab=_vocab(name, card) if task == "recognition" else None)
        _load_state(model, data, f"{name}.pt of the model store {store.root}")
        origin, sha256 = store.root, card.sha256
    else:
        model = _build(task, architecture)
        path = _download(model.cfg["url"], architecture, store)
        data = path.read_bytes()
        _load_state(model, data, str(path))
        origin, sha256 = str(model.cfg["url"]), hashlib.sha256(data).hexdigest()
    if task == "detection" and architecture.startswith("fast_"):
        # As docTR's predictor does: it computes the same function with fewer layers.
        model = reparameterize(model)
    return model.eval(), {"name": name, **_identity(architecture, origin, sha256, device)}


def _vocab(name: str, card: ModelCard) -> str:
    if card.vocab is None:
        raise ModelUnavailableError(
            f"the model card {name}.json names no vocab, which recognition models need: add it"
        )
    return card.vocab


def _build(task: Task, architecture: str, *, vocab: str | None = None) -> Any:
    options: dict[str, Any] = {} if vocab is None else {"vocab": vocab}
    if task != "orientation":
        options["pretrained_backbone"] = False
    return getattr(_ZOO[task], architecture)(pretrained=False, **options)


def _load_state(model: Any, data: bytes, where: str) -> None:
    """Load a checkpoint strictly; weights_only prevents running code from the file."""
    try:
        model.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    # Any exception: a damaged or wrong checkpoint fails in many ways, which all mean the same to the user.
    except Exception as error:
        raise ModelUnavailableError(
            f"{where} holds no weights for this architecture ({type(error).__name__}): replace the file"
        ) from error


def _download(url: str, architecture: str, store: ModelStore | None) -> Path:
    """Return docTR's pretrained file from its cache or its hub; a lock admits one process at a time."""
    folder = doctr_cache()
    # After https, docTR tries http, where others on the network could replace the weights; but not if the
    # scheme is spelt differently.
    only_https = re.sub("^https:", "HTTPS:", url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".trace-ocr.lock"), _silence():
            return Path(download_from_url(only_https, cache_subdir="models"))
    except (OSError, ValueError) as error:
        files = f"{architecture}.pt and {architecture}.json"
        advice = (
            f"the model store {store.root} (TRACE_OCR_MODEL_STORE) has no {files}: put them there"
            if store
            else f"no model store is set: set TRACE_OCR_MODEL_STORE to a folder or remote prefix with {files}"
        )
        raise ModelUnavailableError(
            f"no weights for {architecture}: docTR's could not be downloaded ({error}), and {advice}, "
            f"or let this machine reach {url} once, or copy that file into {folder}"
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what docTR prints while it downloads: the log has a line of its own, and holds JSON."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _identity(architecture: str, source: str, sha256: str, device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "architecture": architecture,
        "weights_sha256": sha256,
        "source": source,
        "doctr": importlib.metadata.version("python-doctr"),
        "torch": str(torch.__version__),
        "device": name,
    }
