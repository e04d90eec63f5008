"""The models of one process: each is loaded once, at its first use, and kept."""

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from contract.errors import TraceOcrError, UnfitWorkerError
from worker.models.memory import release_memory

if TYPE_CHECKING:
    from worker.models.detection import Detector
    from worker.models.orientation import OrientationClassifier
    from worker.models.recognition import Recogniser


class Warmable(Protocol):
    """A model that can read an empty sample, so that everything is initialised before its first batch."""

    def warm_up(self) -> None: ...


M = TypeVar("M", bound=Warmable)


class ModelPool(Generic[M]):
    """The models of one task.

    Args:
        load: name -> model; raises TraceOcrError if there are no weights
        on_load: called with each loaded model and the seconds that loading took
        on_loading: called with the name when loading starts, and with "" when it ends
    """

    def __init__(
        self,
        load: Callable[[str], M],
        on_load: Callable[[str, float], None] = lambda *_: None,
        on_loading: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._load_model, self._on_load, self._on_loading = load, on_load, on_loading
        self._lock = threading.Lock()
        self._loaded: dict[str, M] = {}

    def get(self, name: str) -> M:
        """Return the model of a name; if it does not fit next to the others, they leave the device's memory.

        A job that still runs one of the others keeps it alive until its chunk ends.

        Raises:
            ModelUnavailableError: there are no weights
            UnfitWorkerError: there are weights, but this process cannot load them
        """
        with self._lock:
            if name not in self._loaded:
                started = time.perf_counter()
                self._on_loading(name)
                try:
                    self._loaded[name] = self._load_alone_if_needed(name)
                finally:
                    self._on_loading("")
                self._on_load(name, time.perf_counter() - started)
            return self._loaded[name]

    def _load_alone_if_needed(self, name: str) -> M:
        try:
            return self._load(name)
        except UnfitWorkerError as error:
            if not self._loaded:
                raise
            structlog.get_logger().warning("models_unloaded", names=list(self._loaded), error=str(error))
        # Not in the except block: the error's traceback holds the tensors that must be freed.
        self._loaded.clear()
        gc.collect()
        release_memory()
        return self._load(name)

    def _load(self, name: str) -> M:
        try:
            model = self._load_model(name)
            model.warm_up()
            return model
        except TraceOcrError:
            raise
        # Any exception: the remaining failures are those of the device and the installation.
        except Exception as error:
            raise UnfitWorkerError(
                f"{name} cannot be loaded ({type(error).__name__}: {error}): "
                "check the device's free memory and driver"
            ) from error


@dataclass(frozen=True)
class Models:
    """The models of one process, by task."""

    recognisers: ModelPool["Recogniser"]
    detectors: ModelPool["Detector"]
    orientations: ModelPool["OrientationClassifier"]
