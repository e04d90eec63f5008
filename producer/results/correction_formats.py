"""Corrections as files: all of them, or the last texts for training with docTR or in Label Studio."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from contract.job import Job
from contract.kinds import KINDS
from contract.lines import Geometry, encode_line
from contract.records import Item
from contract.region import Region
from contract.workspace import Workspace
from producer.results.corrections import Correction

Made = Iterator[bytes]
Write = Callable[[Job, Workspace, Sequence[Correction]], Made]


def as_jsonl(_: Job, __: Workspace, corrections: Sequence[Correction]) -> Made:
    """Yield every correction, oldest first, a line each."""
    return map(encode_line, corrections)


def as_doctr(_: Job, workspace: Workspace, corrections: Sequence[Correction]) -> Made:
    """Yield docTR's `labels.json` for training recognition: the last text of each crop, by its id.

    Only crops that are files of their own are in it: docTR reads pictures by these names. What is a region or
    a word of a page is in Label Studio's format.
    """
    crops = (one for one in last(corrections) if one.word is None)
    labels = {one.id: one.after for one, item in with_items(workspace, crops) if item.region is None}
    yield msgspec.json.format(msgspec.json.encode(labels)) + b"\n"


def as_label_studio(job: Job, workspace: Workspace, corrections: Sequence[Correction]) -> Made:
    """Yield Label Studio's tasks, an image each: what was read as prediction, what is right as annotation.

    `image` is the URI of the file. Names of the labeling interface are those of its OCR template: `bbox` for
    boxes, `transcription` for texts.
    """
    separator = b"[\n"
    for item, texts in _by_item(workspace, last(corrections)):
        yield separator + json.dumps(_task(job, item, texts)).encode()
        separator = b",\n"
    yield b"\n]\n" if separator == b",\n" else b"[]\n"


FORMATS: Mapping[str, Write] = MappingProxyType(
    {"jsonl": as_jsonl, "doctr": as_doctr, "label-studio": as_label_studio}
)

MEDIA_TYPES = MappingProxyType(
    {"jsonl": "application/jsonl", "doctr": "application/json", "label-studio": "application/json"}
)

if TYPE_CHECKING:
    CorrectionFormat = str
else:
    CorrectionFormat = Literal[tuple(FORMATS)]


def last(corrections: Iterable[Correction]) -> list[Correction]:
    """Return the last correction of each text, with what the model read before the first one."""
    found: dict[tuple[str, int | None], Correction] = {}
    for one in corrections:
        key = one.id, one.word
        first = found.get(key, one)
        found[key] = msgspec.structs.replace(one, before=first.before)
    return sorted(found.values(), key=lambda one: (one.chunk, one.index, one.word or 0))


def with_items(workspace: Workspace, corrections: Iterable[Correction]) -> Iterator[tuple[Correction, Item]]:
    """Yield corrections, sorted by chunk, with their items; each chunk is read once."""
    chunk, items = -1, list[Item]()
    for one in corrections:
        if one.chunk != chunk:
            chunk, items = one.chunk, workspace.items(one.chunk)
        if one.index < len(items) and items[one.index].id == one.id:
            yield one, items[one.index]


def _by_item(
    workspace: Workspace, corrections: Iterable[Correction]
) -> Iterator[tuple[Item, list[Correction]]]:
    texts = list[Correction]()
    current: Item | None = None
    for one, item in with_items(workspace, corrections):
        if current is not None and item.id != current.id:
            yield current, texts
            texts = []
        current = item
        texts.append(one)
    if current is not None:
        yield current, texts


def _task(job: Job, item: Item, texts: list[Correction]) -> dict[str, Any]:
    regions = [_shape(one.geometry, item.region) for one in texts]
    model = getattr(job.parameters, "recognition_model", KINDS[job.kind].name)
    data = {"image": item.uri, "id": item.id, **({"page": item.page} if item.page else {})}
    if item.member is not None:
        data["member"] = item.member.name
    scores = [one.confidence for one in texts if one.confidence is not None]
    read = _results(texts, regions, [one.before for one in texts])
    given = _results(texts, regions, [one.after for one in texts])
    prediction: dict[str, Any] = {"model_version": model, "result": read}
    if scores:
        prediction["score"] = min(scores)
    return {"data": data, "predictions": [prediction], "annotations": [{"result": given}]}


def _results(
    texts: Sequence[Correction], shapes: Sequence[dict[str, Any] | None], values: Sequence[str]
) -> list[dict[str, Any]]:
    results = []
    for one, shape, value in zip(texts, shapes, values, strict=True):
        identity = f"t{one.word or 0}"
        common = {"id": identity, "to_name": "image"}
        place = shape["value"] if shape else {}
        if shape:
            results.append({**common, "from_name": "bbox", **shape})
        text = {**place, "text": [value]}
        who = {"by": one.by, "at": one.at}
        given = {"from_name": "transcription", "type": "textarea", "value": text, "meta": who}
        results.append({**common, **given})
    return results


def _shape(geometry: Geometry | None, region: Region | None) -> dict[str, Any] | None:
    """Return where a text is, in percent of its page; None if the image is nothing but the text.

    A region in pixels has no place: how large its page is, is not known here.
    """
    if geometry is None and region is not None and region.unit == "rel":
        geometry = region.points
    if not geometry:
        return None
    percent = [100 * one for one in geometry]
    if len(percent) == 4:
        left, top, right, bottom = percent
        box = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
        return {"type": "rectangle", "value": box}
    corners = [list(corner) for corner in zip(percent[::2], percent[1::2], strict=True)]
    return {"type": "polygon", "value": {"points": corners}}
