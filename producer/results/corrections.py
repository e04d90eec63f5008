"""What people have corrected: batches in the workspace, folded into `corrections.jsonl`, laid over results.

A request becomes one small object, since object stores cannot append. The objects are folded into
`corrections.jsonl` by the merge, or when there are many; a reader takes both. The last correction of a text
counts. See docs/decisions/0029.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from contract.errors import ObjectMissingError, TooManyBytesError
from contract.kinds.base import Given
from contract.layout import is_batch
from contract.lines import Geometry, encode_lines
from contract.workspace import Workspace, intact

MAX_BYTES = 1 << 26
"""Maximum bytes of all corrections of a job: some 300,000. A merge holds them in memory."""

MOST_BATCHES = 256
"""Batches that are folded into the file: a reader then reads few small objects."""

AT_ONCE = 16
"""Batches read at once, to hide the latency of remote storage."""


class Correction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One text that a person gave, or confirmed: then `after` is `before`.

    `chunk` and `index` are the item's place in the job. `word` is the word's number in reading order, on a
    page, and `geometry` its box. `by` is the name of the key, or of the user of a command; `at` is in Unix
    seconds. `confidence` is the model's.
    """

    id: str
    chunk: int
    index: int
    before: str
    after: str
    by: str
    at: float
    word: int | None = None
    geometry: Geometry | None = None
    confidence: float | None = None


Overlay = Mapping[str, Mapping[int | None, Given]]
"""The last correction of each text: by the item's id, and the word's number."""


class TooManyCorrectionsError(TooManyBytesError):
    """A job has as many corrections as a merge can hold."""


def record(workspace: Workspace, corrections: Sequence[Correction]) -> None:
    """Store some corrections as one batch, all or none.

    Raises:
        TooManyCorrectionsError: there are too many already
    """
    if len(batch_uris(workspace)) >= MOST_BATCHES:
        fold(workspace)
        if workspace.store.size(workspace.corrections) > MAX_BYTES:
            raise TooManyCorrectionsError(
                f"{workspace.corrections} is larger than {MAX_BYTES >> 20} MiB: no more corrections of this "
                "job can be kept"
            )
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
    workspace.store.create(f"{workspace.correction_batches}/{name}", encode_lines(corrections))


def load(workspace: Workspace) -> list[Correction]:
    """Return all corrections of a job, oldest first; raises JobError if a file is damaged."""
    # Batches first: one that is folded meanwhile is then in the file.
    batches = _batches(workspace)
    found = [*_decoded(_folded(workspace), workspace.corrections)]
    found += [one for uri, data in batches.items() for one in _decoded(data, uri)]
    return sorted(dict.fromkeys(found), key=lambda one: one.at)


def fold(workspace: Workspace) -> None:
    """Move all batches into `corrections.jsonl`.

    A process that is killed in between leaves batches that are in the file too, which readers count once.
    """
    while batches := _batches(workspace):
        old = _folded(workspace)
        kept = old.splitlines()
        known = set(kept)
        new = [line for data in batches.values() for line in data.splitlines() if line not in known]
        if _exchanged(workspace, old, b"\n".join((*kept, *new, b""))):
            for uri in batches:
                workspace.store.delete(uri)
            return


def overlay_of(corrections: Iterable[Correction]) -> Overlay:
    """Return the last correction of each text."""
    overlay = defaultdict[str, dict[int | None, Given]](dict)
    for one in corrections:
        overlay[one.id][one.word] = Given(one.after, one.by)
    return overlay


def _exchanged(workspace: Workspace, old: bytes, new: bytes) -> bool:
    store, uri = workspace.store, workspace.corrections
    return store.exchange(uri, old, new) if old else store.create(uri, new)


def _folded(workspace: Workspace) -> bytes:
    try:
        return workspace.store.read(workspace.corrections, 2 * MAX_BYTES)
    except ObjectMissingError:
        return b""


def _batches(workspace: Workspace) -> dict[str, bytes]:
    """Return the batches by URI, oldest first."""

    def read(uri: str) -> bytes | None:
        try:
            return workspace.store.read(uri, 2 * MAX_BYTES)
        except ObjectMissingError:
            return None

    uris = batch_uris(workspace)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="corrections") as threads:
        found = zip(uris, threads.map(read, uris), strict=True)
        return {uri: data for uri, data in found if data is not None}


def batch_uris(workspace: Workspace) -> list[str]:
    """Return the URIs of the batches that are not folded yet, oldest first."""
    folder = workspace.correction_batches
    return [f"{folder}/{name}" for name in sorted(filter(is_batch, workspace.store.names(folder)))]


def _decoded(data: bytes, uri: str) -> list[Correction]:
    with intact(uri):
        return [_CORRECTIONS.decode(line) for line in data.splitlines()]


_CORRECTIONS = msgspec.json.Decoder(Correction)
