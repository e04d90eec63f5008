"""`recognition` on the device: `ahead`(decode, prepare) → `batched`(recogniser) → join."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from contract.errors import ErrorCode, ItemError
from contract.kinds.recognition import RecognitionParameters
from contract.lines import Line, RecognitionLine
from contract.records import Item
from worker.images.decode import File
from worker.images.files import Decoding
from worker.kernels.pixels import Pixels
from worker.kernels.preprocess import CropMap, PreparedCrop
from worker.models.ctc import Prediction
from worker.models.pool import Models
from worker.pipeline.ahead import ahead
from worker.pipeline.batched import Model, batched
from worker.pipeline.run import PREFETCH_BATCHES, ChunkRun, ModelIdentity, name_of

GROUP = 32
"""Items that one pool task prepares: submitting a task costs some 30 us, a third of preparing a crop."""

GROUPS_AHEAD = 8
"""Minimum tasks per window: groups shrink to allow this many, so that no thread waits for another."""

FETCHED_BYTES = 4 << 20
"""Bytes of files that a task fetches before it decodes them: a thousand crops, or one large image. System
calls between two crops evict the decoder's data from the caches: fetching together saves a third of the
time."""


class CropReader(Model[Prediction], Protocol):
    """The interface of a recognition model; `worker.models.recognition.Recogniser` is the real one."""

    @property
    def identity(self) -> ModelIdentity: ...

    def prepare(self, pixels: Pixels) -> PreparedCrop: ...

    def join(self, crop_map: CropMap, predictions: Sequence[Prediction]) -> Prediction: ...


@dataclass(frozen=True, slots=True)
class _Crop:
    """An item in the pipeline: its crop map, which joins its pieces' strings, or its error."""

    item: Item
    outcome: CropMap | ItemError
    note: str | None = None


Fetched = tuple[Item, File | ItemError]


class RecognitionPipeline:
    """Reads crops in batches of `batch_size` pieces; a wide crop has several pieces."""

    decoding = Decoding(pages=False)

    def __init__(self, recogniser: CropReader, batch_size: int) -> None:
        self._recogniser = recogniser
        self.batch_size = batch_size
        self.prefetch = PREFETCH_BATCHES * batch_size
        self.models = (recogniser.identity,)

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per crop, in order; a `Pipeline.run`."""
        read = batched(
            self._prepared(items, run),
            self._recogniser,
            run,
            size=self.batch_size,
            stage="forward",
            code=ErrorCode.RECOGNITION_FAILED,
            last=True,
        )
        for crop, predictions in read:
            yield self._line(crop, predictions, run)

    def _prepared(self, items: Sequence[Item], run: ChunkRun) -> Iterator[tuple[_Crop, list[Pixels]]]:
        """Yield each crop with its pieces, in order, from the pool's threads."""
        # In careful mode an item may take a minute, so each is a task and a heartbeat of its own.
        size = max(1, min(GROUP, run.window // GROUPS_AHEAD)) if run.attempt == 1 else 1
        groups: Iterator[list[Item | Fetched]]
        if run.fetchers:
            fetched = ahead(run.fetchers, lambda item: (item, run.fetched(item)), items, run.fetch_window)
            groups = _groups(fetched, size)
        else:
            groups = _groups(iter(items), size)
        ready = ahead(run.pool, lambda group: self._group(group, run), groups, run.window // size)
        return chain.from_iterable(ready)

    def _group(self, group: Sequence[Item | Fetched], run: ChunkRun) -> list[tuple[_Crop, list[Pixels]]]:
        prepared: list[tuple[_Crop, list[Pixels]]] = []
        files: list[Fetched] = []
        held = 0
        for one in group:
            files.append((one, run.fetched(one)) if isinstance(one, Item) else one)
            data = files[-1][1]
            held += len(data) if isinstance(data, bytes) else 0
            if held >= FETCHED_BYTES:
                prepared += [self._crop(item, file, run) for item, file in files]
                files, held = [], 0
        return prepared + [self._crop(item, file, run) for item, file in files]

    def _crop(self, item: Item, file: File | ItemError, run: ChunkRun) -> tuple[_Crop, list[Pixels]]:
        # For each crop: a group of large images may take minutes before the first one is yielded.
        run.on_alive()
        image = run.decoded(item, file)
        if isinstance(image, ItemError):
            return _Crop(item, image), []
        started = time.perf_counter()
        crop = self._recogniser.prepare(image.pixels)
        run.timings.add("preprocess", time.perf_counter() - started)
        return _Crop(item, crop.crop_map, image.note), crop.pieces

    def _line(self, crop: _Crop, predictions: list[Prediction] | ItemError, run: ChunkRun) -> Line:
        started = time.perf_counter()
        if isinstance(crop.outcome, ItemError):
            line: Line = run.error_line(crop.item, crop.outcome)
        elif isinstance(predictions, ItemError):
            line = run.error_line(crop.item, predictions)
        else:
            value, confidence = self._recogniser.join(crop.outcome, predictions)
            item = crop.item
            line = RecognitionLine(item.id, name_of(item), value, confidence, item.label, crop.note)
        run.timings.add("postprocess", time.perf_counter() - started)
        return line


def _groups(values: Iterator[Item] | Iterator[Fetched], size: int) -> Iterator[list[Item | Fetched]]:
    return iter(lambda: list(islice(values, size)), [])


def _make(parameters: RecognitionParameters, models: Models) -> RecognitionPipeline:
    recogniser = models.recognisers.get(parameters.recognition_model)
    return RecognitionPipeline(recogniser, parameters.recognition_batch_size)


PIPELINE = _make
