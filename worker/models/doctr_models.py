"""docTR's models with weights from the model store or from docTR; verified, and never executed as code."""

import contextlib
import hashlib
import importlib.metadata
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from doctr.models import classification, detection, recognition
from doctr.models.detection.fast import reparameterize
from doctr.utils.data import download_from_url
from filelock import FileLock

from contract.architectures import Task
from contract.errors import ModelUnavailableError
from contract.model_store import ModelStore, doctr_cache
from worker.models.runtimes.graphs import HubFile
from worker.models.weights import Found, find_weights, identity_of

_ZOO = {"recognition": recognition, "detection": detection, "orientation": classification}
"""docTR's modules that build the models of each task."""


class Loaded(NamedTuple):
    """A model on the CPU, its identity for the summary, and the file that docTR has downloaded for it."""

    model: Any
    identity: dict[str, str]
    hub: HubFile | None


def load_model(task: Task, name: str, store: ModelStore | None, device: str) -> tuple[Any, dict[str, str]]:
    """Return a model and its identity for the summary: from the model store if it has it, else from docTR.

    The model is still on the CPU; `device` is where it will run.

    Args:
        name: an entry of the model store, or an architecture

    Raises:
        ModelUnavailableError: no weights are available, or they fail verification
    """
    model, identity, _ = load_found(task, find_weights(task, name, store), store, device)
    return model, identity


def load_found(task: Task, found: Found, store: ModelStore | None, device: str) -> Loaded:
    """Return the model of weights that `find_weights` found; raises as `load_model`."""
    model = _build(task, found.architecture, vocab=found.vocab)
    file = None
    if found.stored:
        data = found.data()
        _load_state(model, data, f"{found.name}.pt of the model store {found.source}")
    else:
        path = _download(model.cfg["url"], found.architecture, store)
        data = path.read_bytes()
        _load_state(model, data, str(path))
        file = HubFile(str(model.cfg["url"]), path.name)
        found = found._replace(source=file.url)
    if task == "detection" and found.architecture.startswith("fast_"):
        # As docTR's predictor does: it computes the same function with fewer layers.
        model = reparameterize(model)
    versions = {"doctr": importlib.metadata.version("python-doctr"), "torch": str(torch.__version__)}
    sha256 = hashlib.sha256(data).hexdigest()
    return Loaded(model.eval(), identity_of(found, sha256, versions, device), file)


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
