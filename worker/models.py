"""Stage 6: docTR's recognition models; and what holds the parts of it together.

Everything that decides a string is docTR's own code: resizing, normalisation, splitting of wide crops, the
model, merging of the split strings; or its arithmetic, bit for bit, where that was slow.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from doctr.models import recognition
from doctr.models.preprocessor import PreProcessor
from doctr.models.recognition import CRNN
from doctr.models.recognition.predictor import RecognitionPredictor
from doctr.models.recognition.predictor._utils import remap_preds
from doctr.utils.data import download_from_url
from filelock import FileLock

from contract.errors import ModelUnavailableError, SettingsError, TraceOcrError, UnfitWorkerError
from contract.model_store import ModelStore, doctr_cache
from worker.batching import Prediction, PreparedCrop
from worker.ctc import CtcDecoder
from worker.decode import Pixels
from worker.preprocess import Preprocessor
from worker.runtimes import TORCH, RuntimeOptions, make_runtime


class Recogniser:
    """One architecture with its weights on one device; the forward is serialised.

    `fitting_batch_size` is None until the device runs out of memory, and from then on the pieces that it is
    given at once.

    Args:
        model: a docTR recognition model
        device: where it runs
        identity: what the summary says of it; the runtime's name and precision are added
        options: which runtime is wanted
    """

    def __init__(
        self,
        model: Any,
        device: torch.device,
        identity: dict[str, str],
        options: RuntimeOptions = TORCH,
    ) -> None:
        self.fitting_batch_size: int | None = None
        self._device = device
        self._shape = model.cfg["input_shape"]
        height, width = self._shape[-2:]
        ours = RecognitionPredictor(PreProcessor((height, width), batch_size=1), model)
        self._overlap_ratio = ours.overlap_ratio
        self._preprocessor = Preprocessor(height, width, ours.critical_ar, ours.target_ar, ours.overlap_ratio)
        is_crnn = isinstance(model, CRNN)
        self._runtime = make_runtime(model, identity, device, options, logits=is_crnn)
        self._decode: Callable[[torch.Tensor], list[Prediction]] = (
            CtcDecoder(model.vocab) if is_crnn else getattr(model, "postprocessor", list)
        )
        self._lock = threading.Lock()
        self.identity = {**identity, "runtime": self._runtime.name, "precision": self._runtime.precision}

    def warm_up(self) -> None:
        """Read one black piece: what a device and its libraries set up at the first forward is then done.

        Raises:
            UnfitWorkerError: not even one piece can be read
        """
        self.read(np.zeros((1, *self._shape), np.uint8))

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return the crop's pieces as the model takes them; wide crops have several.

        Args:
            pixels: RGB, (height, width, 3) uint8
        """
        return self._preprocessor.prepare(pixels)

    def read(self, batch: Pixels) -> list[Prediction]:
        """Return (string, confidence) of each piece, in as many turns as the device's memory asks for.

        A piece is of one size whatever the crop, so what fits once fits always, and is remembered.

        Args:
            batch: (n, 3, height, width) uint8; normalised on the device

        Raises:
            UnfitWorkerError: not even one piece fits, or the device has failed for good
            RuntimeError: the model fails on this batch
        """
        predictions: list[Prediction] = []
        while len(predictions) < len(batch):
            turn = batch[len(predictions) :][: self.fitting_batch_size]
            with self._judging(len(turn)):
                predictions += self._forward(turn)
                continue
            # Here, not where it is caught: the error's traceback holds the tensors that are to be freed.
            self._shrink(len(turn))
        return predictions

    @contextlib.contextmanager
    def _judging(self, size: int) -> Iterator[None]:
        """Let the block end early where the device's memory does not hold `size` pieces, but holds fewer."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise UnfitWorkerError(
                    f"the memory of {self._device} does not hold one crop ({error}): "
                    "end what else runs there, or take a smaller recognition_model"
                ) from error
        except torch.AcceleratorError as error:
            # The device's context is lost: whatever this process sends there from now on fails too.
            raise UnfitWorkerError(
                f"the device {self._device} has failed and needs a new process ({error}): "
                "if that goes on, check its health (nvidia-smi -q, dmesg)"
            ) from error

    def _shrink(self, tried: int) -> None:
        # The least of both: another chunk's thread may have found out at the same time.
        self.fitting_batch_size = min(tried // 2, self.fitting_batch_size or tried)
        structlog.get_logger().warning("device_out_of_memory", tried=tried, next=self.fitting_batch_size)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _forward(self, batch: Pixels) -> list[Prediction]:
        with self._lock:
            output = self._runtime.forward(batch)
        # Outside the lock: while one chunk's strings are put together, the device has the other's batch.
        with torch.inference_mode():
            read: list[Prediction] = self._decode(output) if torch.is_tensor(output) else output
        return read

    def join(self, crop: PreparedCrop, predictions: Sequence[Prediction]) -> Prediction:
        """Return the whole crop's (string, confidence) from those of its pieces."""
        value, confidence = remap_preds(list(predictions), crop.crop_map, self._overlap_ratio)[0]
        return value, float(confidence)


class RecogniserPool:
    """The recognisers of one process, each loaded once, at its first use, and kept.

    Args:
        store: where weights are looked for before docTR's own
        device: as `select_device` takes it
        options: what chooses the runtime
        on_load: told of each architecture that was loaded, and of the seconds that took
    """

    def __init__(
        self,
        store: ModelStore | None,
        device: str,
        options: RuntimeOptions = TORCH,
        on_load: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._on_load = on_load
        self._device = select_device(device)
        self._options = options
        self._lock = threading.Lock()
        self._loaded: dict[str, Recogniser] = {}

    def get(self, architecture: str) -> Recogniser:
        """Return the architecture's recogniser.

        Raises:
            ModelUnavailableError: there are no weights
            UnfitWorkerError: there are, and this process cannot load them
        """
        with self._lock:
            if architecture not in self._loaded:
                started = time.perf_counter()
                self._loaded[architecture] = self._load(architecture)
                self._on_load(architecture, time.perf_counter() - started)
            return self._loaded[architecture]

    def _load(self, architecture: str) -> Recogniser:
        try:
            recogniser = load_recogniser(architecture, self._store, self._device, self._options)
            recogniser.warm_up()
            return recogniser
        except TraceOcrError:
            raise
        # Any exception: what is left are the device's and the installation's own failures.
        except Exception as error:
            raise UnfitWorkerError(
                f"{architecture} cannot be loaded on {self._device} ({type(error).__name__}: {error}): "
                "check the device's free memory and driver"
            ) from error


def select_device(name: str) -> torch.device:
    """Return the torch device for 'cpu', or CUDA's first visible device for anything else.

    Raises:
        SettingsError: a GPU is asked for and torch sees none
    """
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SettingsError(
            f"device {name} was asked for, but torch sees no CUDA device: check the driver (nvidia-smi), "
            "or run with --devices cpu"
        )
    return torch.device("cuda:0")


def load_recogniser(
    architecture: str, store: ModelStore | None, device: torch.device, options: RuntimeOptions = TORCH
) -> Recogniser:
    """Return a recogniser from the model store if that holds the architecture, else with docTR's weights.

    Raises:
        ModelUnavailableError: neither is to be had, or what is there fails its verification
    """
    card = store.card(architecture) if store else None
    if store and card:
        data = store.weights(card)
        model = _build(architecture, vocab=card.vocab)
        _load_state(model, data, f"{architecture}.pt of the model store {store.root}")
        origin, sha256 = store.root, card.sha256
    else:
        model = _build(architecture)
        path = _download(model.cfg["url"], architecture)
        data = path.read_bytes()
        _load_state(model, data, str(path))
        origin, sha256 = str(model.cfg["url"]), hashlib.sha256(data).hexdigest()
    return Recogniser(model.eval(), device, _identity(architecture, origin, sha256, device), options)


def _build(architecture: str, **options: Any) -> Any:
    return getattr(recognition, architecture)(pretrained=False, pretrained_backbone=False, **options)


def _load_state(model: Any, data: bytes, where: str) -> None:
    """Load a checkpoint strictly; weights_only never runs code from the file."""
    try:
        model.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    # Any exception: a damaged or foreign checkpoint fails in many ways, and all mean the same to the user.
    except Exception as error:
        raise ModelUnavailableError(
            f"{where} holds no weights for this architecture ({type(error).__name__}): replace the file"
        ) from error


def _download(url: str, architecture: str) -> Path:
    """Return docTR's pretrained file, from its cache or its hub; one process of a machine at a time."""
    folder = doctr_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".trace-ocr.lock"):
            return Path(download_from_url(url, cache_subdir="models"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"no weights for {architecture}: docTR's could not be downloaded ({error}), and no model store "
            f"holds them. Either let this machine reach {url} once (or copy that file into {folder}), "
            f"or set TRACE_OCR_MODEL_STORE to a folder or s3:// prefix with {architecture}.pt and "
            f"{architecture}.json"
        ) from error


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
