"""Step 6: docTR's recognition models.

Everything that decides a string is docTR's own code: resizing, normalisation, splitting of wide crops, the
model, merging of the split strings. Where docTR's code is slow, ours computes the same bits.

This module needs no torch: a CRNN whose graph is cached reads without it.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

from contract.errors import SettingsError
from contract.model_store import ModelStore
from worker.kernels.pieces import CropMap, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import Preprocessor
from worker.models.characters import allowed_in, forbidden_classes
from worker.models.ctc import CtcDecoder, Forbidden, Prediction
from worker.models.device_model import DeviceModel
from worker.models.imports import doctr_side
from worker.models.merging import joined
from worker.models.runtimes.base import TORCH, Output, Runtime, RuntimeOptions
from worker.models.runtimes.choosing import crop_cut, graph_runtime
from worker.models.runtimes.graphs import Graph, cached_graph
from worker.models.weights import Found, find_weights, identity_of

Decode = Callable[[Output, Forbidden | None], list[Prediction]]
"""The runtime's output, and the classes that must not be chosen, to (string, confidence) of each piece."""


class Reading(NamedTuple):
    """How a model reads.

    Args:
        vocab: its characters
        pieces: how crops are cut
        decode: decodes the runtime's output
        whitelisted: returns a runtime of this model that can read only some characters; None to mask the
            classes of its output
    """

    vocab: str
    pieces: PieceShape
    decode: Decode
    whitelisted: Callable[[str], Runtime] | None = None


class Recogniser(DeviceModel[Prediction]):
    """Reads pieces of crops: returns a string and its confidence for each.

    Args:
        input_shape: (3, height, width) of a piece
        device: torch's name of the device
        identity: what the summary says about the model; its `name` is used in messages
        runtime: runs the model's forward
    """

    sample, parameter = "crop", "recognition_model"

    def __init__(
        self,
        reading: Reading,
        input_shape: tuple[int, int, int],
        device: str,
        identity: dict[str, str],
        runtime: Runtime,
    ) -> None:
        super().__init__(input_shape, device, identity, runtime)
        self._reading = reading
        self._allowed: str | None = None
        self._preprocessor = Preprocessor(reading.pieces)
        self.pieces = reading.pieces if self._preprocessor.compiled else None

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces for the model; a wide crop has several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        return self._preprocessor.prepare(pixels)

    def restricted_to(self, characters: str) -> "Recogniser":
        """Return this model, sharing its memory on the device, with readings of only some characters.

        Args:
            characters: a `characters` parameter

        Raises:
            ModelUnavailableError: the model can read none of them
        """
        allowed = allowed_in(characters, self._reading.vocab, self.identity["name"])
        restricted = copy.copy(self)
        if self._reading.whitelisted:
            restricted._runtime = self._reading.whitelisted(allowed)
        else:
            restricted._allowed = allowed
        return restricted

    def join(self, crop_map: CropMap, predictions: Sequence[Prediction]) -> Prediction:
        """Return the crop's (string, confidence), joined from those of its pieces."""
        if crop_map == [0]:
            return predictions[0]
        return joined(crop_map, predictions, self._reading.pieces.overlap_ratio)

    def _decoded(self, output: Any) -> list[Prediction]:
        forbidden = (
            None
            if self._allowed is None
            else forbidden_classes(self._reading.vocab, self._allowed, output.shape[-1])
        )
        return self._reading.decode(output, forbidden)


def load_recogniser(
    name: str, store: ModelStore | None, device: str, options: RuntimeOptions = TORCH
) -> Recogniser:
    """Return a recogniser with the weights that are found: by its cached graph, or docTR's model.

    Raises:
        ModelUnavailableError: no weights are available, or they fail verification
        SettingsError: the options ask for an engine that is not installed, or not for this device
    """
    found = find_weights("recognition", name, store)
    recogniser = _by_graph(found, device, options)
    if recogniser:
        return recogniser
    made: Recogniser = doctr_side("worker.models.doctr_recognition").by_doctr(found, store, device, options)
    return made


def _by_graph(found: Found, device: str, options: RuntimeOptions) -> Recogniser | None:
    """Return a recogniser that needs no torch; None if there is no graph, or its output needs docTR."""
    engine = graph_runtime(found.architecture, device, options)
    if engine is None or found.sha256 is None:
        return None
    graph = cached_graph(found.architecture, found.sha256)
    if graph is None or not _reads_alone(graph, found):
        return None
    # The graph is of these weights only if the file is still the one that the checksum is of.
    found.data()
    try:
        runtime = engine.load(graph.data, graph.card.takes, crop_cut(found.architecture), options)
    except SettingsError:
        raise
    # Any exception: engines fail in many ways, and torch reads the same strings, but slower.
    except Exception as error:
        structlog.get_logger().warning("graph_not_used", error=f"{type(error).__name__}: {error}")
        return None
    vocab, pieces = graph.card.vocab, graph.card.pieces
    assert vocab
    assert pieces
    versions = {"doctr": graph.card.doctr, "torch": graph.card.torch}
    return Recogniser(
        Reading(vocab, pieces, CtcDecoder(vocab)),
        graph.card.takes.shape,
        device,
        identity_of(found, found.sha256, versions, device),
        runtime,
    )


def _reads_alone(graph: Graph, found: Found) -> bool:
    """Return whether a graph's logits are decoded without docTR, with the vocabulary of these weights."""
    vocab = found.vocab or graph.card.vocab
    return graph.card.pieces is not None and vocab is not None and vocab == graph.card.vocab
