"""`compare` on the device: `ahead`(decode, prepare) → `batched`(model) for each model in turn → line."""

from collections.abc import Iterator, Mapping, Sequence

from contract.cascade import parse_cascade
from contract.errors import ItemError
from contract.kinds.compare import CompareParameters, names_in
from contract.lines import CompareLine, Line, ModelReading
from contract.records import Item
from worker.kinds.crop_steps import CropSteps
from worker.kinds.crops import Crops, PreparedCrops
from worker.kinds.reading import Readers, Reading, Readings, stage_of
from worker.models.pool import Models
from worker.pipeline.run import PREFETCH_BATCHES, ChunkRun, name_of


class ComparePipeline:
    """Decodes each crop once and reads it with one model after the other, a chunk at a time.

    A chunk's crops stay in memory as pieces, some 12 MB for 1,024 of them: models that do not fit into the
    device's memory together take turns. A cascade is made of its models' readings.
    """

    def __init__(self, parameters: CompareParameters, models: Models) -> None:
        self._steps = CropSteps.of(parameters, models)
        self.decoding = self._steps.decoding
        self._parameters, self._pool = parameters, models
        self._names = names_in(parameters.models)
        self.batch_size = parameters.recognition_batch_size
        self.prefetch = PREFETCH_BATCHES * self.batch_size
        # Not the models: one that left the device's memory is loaded again when it is its turn.
        self.models = tuple(self._readers(name).models[0] for name in self._names)

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per crop, in order; a `Pipeline.run`."""
        groups: list[PreparedCrops] = []
        readings: dict[str, list[Readings]] = {}
        for name in self._names:
            readers = self._readers(name)
            owned = groups or _kept(self._steps.prepared(items, readers.prepare, run, readers.pieces), groups)
            last = name == self._names[-1]
            read = readers.read(owned, run, self.batch_size, last=last, named=True)
            readings[name] = [made for _, made in read]
        for number, (crops, _) in enumerate(groups):
            group = {name: made[number] for name, made in readings.items()}
            for place in range(len(crops.items)):
                yield self._line(crops, place, {name: made[place] for name, made in group.items()}, run)

    def _readers(self, name: str) -> Readers:
        return Readers((stage_of(name, self._parameters.characters, self._pool),))

    def _line(
        self, crops: Crops, place: int, read: Mapping[str, Reading | ItemError | None], run: ChunkRun
    ) -> Line:
        item = crops.items[place]
        alone = {name: made for name, made in read.items() if isinstance(made, Reading)}
        if len(alone) < len(read):
            failed = next(made for made in read.values() if not isinstance(made, Reading))
            return run.error_line(item, crops.error(place, failed))
        readings = tuple(_reading(model, alone) for model in self._parameters.models)
        region = item.region.name if item.region else None
        note, angle = crops.notes.get(place), crops.angles.get(place)
        return CompareLine(item.id, name_of(item), readings, item.label, note, region, angle)


def _kept(prepared: Iterator[PreparedCrops], groups: list[PreparedCrops]) -> Iterator[PreparedCrops]:
    """Yield the groups, and keep each."""
    for group in prepared:
        groups.append(group)
        yield group


def _reading(model: str, alone: Mapping[str, Reading]) -> ModelReading:
    """Return what a model or a cascade reads, given the readings of each model alone."""
    cascade = parse_cascade(model)
    if cascade is None:
        return ModelReading(model, alone[model].value, alone[model].confidence)
    first = alone[cascade.first]
    value, confidence, by = alone[cascade.second] if first.confidence < cascade.threshold else first
    return ModelReading(model, value, confidence, by)


PIPELINE = ComparePipeline
