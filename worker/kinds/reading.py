"""Crops to strings: one recognition model, or a cascade of two, in full batches across their owners."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from contract.cascade import parse_cascade
from contract.errors import ErrorCode, ItemError
from contract.kinds.recognition import WordParameters
from worker.kernels.pieces import CropMap, Pieces, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.models.ctc import Prediction
from worker.models.pool import Models
from worker.pipeline.batched import Block, Model, batched
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


Readings = list[Reading | ItemError | None]
"""Of each crop; None for one that has no pieces."""


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
        owned: Iterable[tuple[T, Pieces]],
        run: ChunkRun,
        size: int,
        *,
        last: bool = True,
        named: bool = False,
        whole: bool = False,
    ) -> Iterator[tuple[T, Readings]]:
        """Yield each owner with the readings of its crops, in order.

        Args:
            owned: owners with the pieces of their crops
            size: pieces per batch
            last: no other model reads the crops after these
            named: the timings tell the models apart
            whole: the crops of an owner are one item: if one fails, no other is read again
        """
        read: Iterable[_Owned[T]] = (_Owned(owner, pieces, whole=whole) for owner, pieces in owned)
        for stage in self.stages:
            final = stage is self.stages[-1]
            key = f"forward {stage.name}" if named or len(self.stages) > 1 else "forward"
            read = _read(read, stage, run, size, key, last=final and last)
        for one in read:
            yield one.owner, one.readings


class _Owned(Generic[T]):
    """An owner with the pieces of its crops, and their readings so far."""

    __slots__ = ("_whole", "due", "owner", "pieces", "readings")

    def __init__(self, owner: T, pieces: Pieces, *, whole: bool) -> None:
        self.owner, self.pieces, self._whole = owner, pieces, whole
        self.readings: Readings = []
        self.due: Sequence[int] = range(len(pieces.counts))

    def block(self, below: float) -> Block["_Owned[T]"]:
        """Return the pieces of the crops that the next model reads, and note these crops as due."""
        pieces = self.pieces
        samples, counts = pieces.samples, pieces.counts
        if self.readings:
            self.due = self._unsure(below)
            bounds = pieces.bounds()
            samples = [piece for place in self.due for piece in samples[slice(*bounds[place])]]
            due = set(self.due)
            counts = [count if place in due else 0 for place, count in enumerate(counts)]
        return Block(self, samples, [len(samples)] if self._whole else counts)

    def _unsure(self, below: float) -> list[int]:
        if self._whole and error_in(self.readings):
            return []
        return [
            place
            for place, one in enumerate(self.readings)
            if isinstance(one, Reading) and one.confidence < below
        ]

    def take(self, made: Sequence[Prediction | ItemError], stage: Stage) -> None:
        """Note the readings of the crops that were due."""
        if self.readings:
            left = iter(made)
            for place in self.due:
                some = [next(left) for _ in range(self.pieces.counts[place])]
                self.readings[place] = _reading(some, self.pieces.maps.get(place), stage)
        elif self.pieces.is_plain:
            name = stage.name
            self.readings = [
                one if isinstance(one, ItemError) else Reading(one[0], float(one[1]), name) for one in made
            ]
        else:
            bounds, maps = self.pieces.bounds(), self.pieces.maps
            self.readings = [
                _reading(made[start:end], maps.get(place), stage) for place, (start, end) in enumerate(bounds)
            ]

    def passed_on(self) -> dict[str, int]:
        """Return how many crops have a reading, and how many of them have it from the last model."""
        failed = self._whole and error_in(self.readings)
        read = [not failed and isinstance(one, Reading) for one in self.readings]
        return {"crops": sum(read), "passed_on": sum(read[place] for place in self.due)}


def error_in(readings: Readings) -> ItemError | None:
    """Return the last error among readings, if any."""
    return next((one for one in reversed(readings) if isinstance(one, ItemError)), None)


def _reading(
    made: Sequence[Prediction | ItemError], crop_map: CropMap | None, stage: Stage
) -> Reading | ItemError | None:
    """Return the reading of a crop from what was made of its pieces; None if it has none."""
    predictions = [one for one in made if not isinstance(one, ItemError)]
    if len(predictions) < len(made):
        return next(one for one in reversed(made) if isinstance(one, ItemError))
    if not made:
        return None
    value, confidence = stage.reader.join([0] if crop_map is None else crop_map, predictions)
    return Reading(value, confidence, stage.name)


def _read(
    owned: Iterable[_Owned[T]], stage: Stage, run: ChunkRun, size: int, key: str, *, last: bool
) -> Iterator[_Owned[T]]:
    read = batched(
        (one.block(stage.below) for one in owned),
        stage.reader,
        run,
        size=size,
        stage=key,
        code=ErrorCode.RECOGNITION_FAILED,
        last=last,
    )
    for one, made in read:
        one.take(made, stage)
        if stage.below:
            for name, number in one.passed_on().items():
                run.timings.count(name, number)
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
