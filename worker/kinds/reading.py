"""Crops to strings: one recognition model, or a cascade of two, in full batches across their owners."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from contract.cascade import parse_cascade
from contract.errors import ErrorCode, ItemError
from contract.kinds.recognition import WordParameters
from worker.kernels.pieces import CropMap, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.models.ctc import Prediction
from worker.models.pool import Models
from worker.pipeline.batched import Model, batched
from worker.pipeline.run import ChunkRun, ModelIdentity

T = TypeVar("T")


class CropReader(Model[Prediction], Protocol):
    """The interface of a recognition model; `worker.models.recognition.Recogniser` is the real one."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def pieces(self) -> PieceShape | None:
        """What `prepare` makes, if the compiled kernel may make it without the model; else None."""

    def prepare(self, pixels: Pixels) -> PreparedCrop: ...

    def join(self, crop_map: CropMap, predictions: Sequence[Prediction]) -> Prediction: ...


class Reading(NamedTuple):
    """A crop's string, its confidence in 0..1, and the name of the model that read it."""

    value: str
    confidence: float
    model: str


@dataclass(frozen=True)
class Stage:
    """One model; it reads the crops that have no reading yet, or one with a confidence below `below`."""

    reader: CropReader
    name: str
    below: float = 0.0


@dataclass(frozen=True)
class Readers:
    """The stages that crops pass through; all of docTR's recognition models take pieces of the same size."""

    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, reader: CropReader) -> "Readers":
        """Return one model as the only stage."""
        return cls((Stage(reader, reader.identity.get("name", "")),))

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """The models in the order in which they run."""
        return tuple(stage.reader.identity for stage in self.stages)

    @property
    def pieces(self) -> PieceShape | None:
        """As `CropReader.pieces`."""
        return self.stages[0].reader.pieces

    def prepare(self, pixels: Pixels) -> PreparedCrop:
        """Return a crop's pieces, from RGB (height, width, 3) uint8."""
        return self.stages[0].reader.prepare(pixels)

    def read(
        self,
        owned: Iterable[tuple[T, Sequence[PreparedCrop]]],
        run: ChunkRun,
        size: int,
        *,
        last: bool = True,
        named: bool = False,
    ) -> Iterator[tuple[T, list[Reading] | ItemError]]:
        """Yield each owner with the readings of its crops, in order, as `batched`.

        Args:
            owned: owners with their crops
            size: pieces per batch
            last: no other model reads the crops after these
            named: the timings tell the models apart
        """
        read: Iterable[_Owned[T]] = (_Owned(owner, crops) for owner, crops in owned)
        for stage in self.stages:
            final = stage is self.stages[-1]
            key = f"forward {stage.name}" if named or len(self.stages) > 1 else "forward"
            read = _read(read, stage, run, size, key, last=final and last)
        for one in read:
            yield one.owner, one.error or one.readings


class _Owned(Generic[T]):
    """An owner with its crops, and their readings so far."""

    __slots__ = ("crops", "due", "error", "owner", "readings")

    def __init__(self, owner: T, crops: Sequence[PreparedCrop]) -> None:
        self.owner, self.crops = owner, crops
        self.readings: list[Reading] = []
        self.error: ItemError | None = None
        self.due: Sequence[int] = range(len(crops))

    def pieces(self, below: float) -> list[Pixels]:
        """Return the pieces of the crops that the next model reads, and note these crops as due."""
        if self.readings:
            self.due = [place for place, one in enumerate(self.readings) if one.confidence < below]
        if len(self.due) == 1:
            return self.crops[self.due[0]].pieces
        return [piece for place in self.due for piece in self.crops[place].pieces]

    def take(self, predictions: Sequence[Prediction], stage: Stage) -> None:
        """Note the readings of the crops that were due."""
        first = not self.readings
        if first and len(self.crops) == 1:
            value, confidence = stage.reader.join(self.crops[0].crop_map, predictions)
            self.readings.append(Reading(value, confidence, stage.name))
            return
        left = iter(predictions)
        for place in self.due:
            crop = self.crops[place]
            value, confidence = stage.reader.join(crop.crop_map, [next(left) for _ in crop.pieces])
            reading = Reading(value, confidence, stage.name)
            if first:
                self.readings.append(reading)
            else:
                self.readings[place] = reading


def _read(
    owned: Iterable[_Owned[T]], stage: Stage, run: ChunkRun, size: int, key: str, *, last: bool
) -> Iterator[_Owned[T]]:
    read = batched(
        ((one, [] if one.error else one.pieces(stage.below)) for one in owned),
        stage.reader,
        run,
        size=size,
        stage=key,
        code=ErrorCode.RECOGNITION_FAILED,
        last=last,
    )
    for one, predictions in read:
        if isinstance(predictions, ItemError):
            one.error = predictions
        elif not one.error:
            if stage.below:
                run.timings.count("crops", len(one.crops))
                run.timings.count("passed_on", len(one.due))
            one.take(predictions, stage)
        yield one


def stage_of(name: str, characters: str | None, models: Models, below: float = 0.0) -> Stage:
    """Return a model as a stage, restricted to a `characters` parameter.

    Raises:
        ModelUnavailableError, UnfitWorkerError: as `ModelPool.get`
        ModelUnavailableError: the model can read none of the characters
    """
    reader = models.recognisers.get(name)
    return Stage(reader.restricted_to(characters) if characters else reader, name, below)


def make_readers(parameters: WordParameters, models: Models) -> Readers:
    """Return the model or the cascade that parameters choose; raises as `stage_of`."""
    cascade, characters = parse_cascade(parameters.recognition_model), parameters.characters
    if cascade is None:
        return Readers((stage_of(parameters.recognition_model, characters, models),))
    second = stage_of(cascade.second, characters, models, cascade.threshold)
    return Readers((stage_of(cascade.first, characters, models), second))
