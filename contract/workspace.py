"""The workspace: a job's output folder or prefix, which holds its whole state."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from contract.chunk_set import ChunkSet
from contract.errors import (
    JobError,
    ObjectMissingError,
    ReadOnlyStorageError,
    StorageError,
    StorageUnavailableError,
    TooManyBytesError,
)
from contract.job import Job, parse_job
from contract.job_record import is_job_record
from contract.layout import FILES, FOLDERS, Layout, is_batch, number_of
from contract.lines import UNREADABLE
from contract.records import ChunkStatistics, Item, PartOutcome, decode_item, part_outcome
from contract.states import HALTED, State
from contract.storage import Storage, Store, absolute, is_read_only, join
from contract.storage.roots import AllowedRoots

MAX_JSON_BYTES = 1 << 20
"""Maximum bytes of job.json, a statistics file or summary.json; they usually have a few kilobytes."""

MAX_CHUNK_BYTES = 1 << 30
"""Maximum bytes of a chunk or part file: the largest chunk times the longest line, rounded."""

COUNTERS = 32
"""Parts counted at once: on S3, latency takes the time, not the number of bytes."""


class Halt(msgspec.Struct, frozen=True):
    """Why a job is halted, stored in `halt.json`; `status` is one of HALTED, `at` is in Unix seconds."""

    status: State
    message: str
    at: int

    def __post_init__(self) -> None:
        if self.status not in HALTED:
            raise ValueError(f"a job cannot be halted as {self.status}")


class _Named(msgspec.Struct):
    id: str


@dataclass(frozen=True)
class Workspace(Layout):
    """The files of one job, read and written through a store; all writes are atomic."""

    store: Store

    def load_job(self) -> Job | None:
        """Return the job, or None if there is none; raises JobError if its record is damaged."""
        try:
            return parse_job(self.store.read(self.job_json, MAX_JSON_BYTES), self.job_json)
        except ObjectMissingError:
            return None

    def require_job(self) -> Job:
        """Return the job; raises JobError if there is none."""
        job = self.load_job()
        if job is None:
            raise JobError(f"{self.root} holds no job.json: it is not the workspace of a job")
        return job

    def save_job(self, job: Job) -> None:
        """Write the job's record, replacing the old one; `update_job` changes one that others may change."""
        self.store.replace(self.job_json, job.to_json())

    def update_job(self, change: Callable[[Job], Job]) -> Job:
        """Change the job's record and return the job; what another process has written since is kept.

        Args:
            change: takes the current job; called again if the record changes in between

        Raises:
            JobError: there is no job, or its record is damaged
        """
        while True:
            try:
                data = self.store.read(self.job_json, MAX_JSON_BYTES)
            except ObjectMissingError:
                return self.require_job()
            job = parse_job(data, self.job_json)
            changed = change(job)
            if changed == job or self.store.exchange(self.job_json, data, changed.to_json()):
                return changed

    def halt(self, status: State, message: str = "") -> None:
        """Record that the job does not run, so that this is known even after Redis has lost the job."""
        self.store.replace(self.halt_json, msgspec.json.encode(Halt(status, message, int(time.time()))))

    def load_halt(self) -> Halt | None:
        """Return why the job does not run, or None if it may run."""
        try:
            with intact(self.halt_json):
                return msgspec.json.decode(self.store.read(self.halt_json, MAX_JSON_BYTES), type=Halt)
        except ObjectMissingError:
            return None

    def release(self) -> None:
        """Remove `halt.json`, so that the job may run again."""
        self.store.delete(self.halt_json)

    def sweep(self) -> int:
        """Remove unfinished writes of killed processes, once all parts exist; return how many there were."""
        numbered = sum(self.store.sweep(self.path(folder), _is_chunks) for folder in FOLDERS)
        batches = self.store.sweep(self.correction_batches, is_batch)
        return numbered + batches + self.store.sweep(self.root, FILES.__contains__)

    def outcome(self, number: int) -> PartOutcome:
        """Return what a part contains: the number of results and of errors, and the first errors."""
        uri = self.part(number)
        with intact(uri):
            return part_outcome(self.lines(uri))

    def outcomes(self, numbers: Iterable[int]) -> dict[int, PartOutcome]:
        """Return the `outcome` of many parts, COUNTERS at a time."""
        ordered = sorted(numbers)
        with ThreadPoolExecutor(COUNTERS, thread_name_prefix="count") as threads:
            return dict(zip(ordered, threads.map(self.outcome, ordered), strict=True))

    def chunk_numbers(self) -> ChunkSet:
        """Return the numbers of the chunks planned so far."""
        return _numbers(self.store.names(self.path("chunks")))

    def part_numbers(self) -> ChunkSet:
        """Return the numbers of the chunks whose part is durable."""
        return _numbers(self.store.names(self.path("parts")))

    def with_part(self, numbers: Iterable[int]) -> set[int]:
        """Return those of a few chunks whose part is durable; asks for each part, COUNTERS at a time."""
        asked = list(numbers)
        with ThreadPoolExecutor(COUNTERS, thread_name_prefix="exists") as threads:
            found = threads.map(self.store.exists, map(self.part, asked))
            return {number for number, there in zip(asked, found, strict=True) if there}

    def lines(self, uri: str) -> list[bytes]:
        """Return the lines of a chunk or a part, without their newlines."""
        return self.store.read(uri, MAX_CHUNK_BYTES).split(b"\n")[:-1]

    def items(self, number: int) -> list[Item]:
        """Return the items of a chunk, in source order; raises JobError if the file is damaged."""
        uri = self.chunk(number)
        with intact(uri):
            return [decode_item(line) for line in self.lines(uri)]

    def load_statistics(self, number: int) -> ChunkStatistics | None:
        """Return one chunk's statistics, or None if there are none."""
        try:
            data = self.store.read(self.statistics(number), MAX_JSON_BYTES)
        except ObjectMissingError:
            return None
        with intact(self.statistics(number)):
            return msgspec.json.decode(data, type=ChunkStatistics)

    def is_of(self, job: str) -> bool:
        """Return whether the job lives here: nothing is written into a place of somebody else."""
        return self._job_of(self.job_json) == job

    def begin_merge(self, job: str) -> None:
        """Record that merged files and exports are this job's from now on."""
        self.store.replace(self.merge_json, msgspec.json.encode(_Named(job)))

    def was_merged(self, job: str) -> bool:
        """Return whether a merge of this job has begun; older versions wrote no record, but a summary."""
        return job in (self._job_of(self.merge_json), self._job_of(self.summary))

    def is_complete(self, job: str) -> bool:
        """Return whether this job is merged. A marker without its summary is somebody else's."""
        return self.store.exists(self.success) and self._job_of(self.summary) == job

    def _job_of(self, uri: str) -> str | None:
        """Return the job that a file names; None if there is no such file, or it is not of a job."""
        try:
            return msgspec.json.decode(self.store.read(uri, MAX_JSON_BYTES), type=_Named).id
        except (ObjectMissingError, TooManyBytesError, *UNREADABLE):
            return None

    def load_summary(self) -> dict[str, Any] | None:
        """Return the summary, or None before the merge."""
        try:
            data = self.store.read(self.summary, MAX_JSON_BYTES)
        except ObjectMissingError:
            return None
        with intact(self.summary):
            return msgspec.json.decode(data, type=dict[str, Any])


def open_workspace(root: str, storage: Storage, roots: AllowedRoots | None = None) -> Workspace:
    """Return the workspace at a root; a local root becomes absolute, with its symbolic links followed.

    Args:
        roots: for a root that was recorded earlier: the roots that it must lie below; no link below them is
            followed, since it was put there since

    Raises:
        OutsideAllowedRootsError: the workspace is outside the roots
        ReadOnlyStorageError: nothing can be written there
    """
    location = roots.recorded(root) if roots else absolute(root)
    if is_read_only(location):
        raise ReadOnlyStorageError(f"{location}: a workspace cannot be on https://, which can only be read")
    return Workspace(location, storage.at(location))


def holds_workspace(folder: str, store: Store) -> bool:
    """Return whether a folder or prefix is the workspace of a job, of any version.

    Raises:
        StorageUnavailableError: storage is unavailable
    """
    try:
        return is_job_record(store.read(join(folder, "job.json"), MAX_JSON_BYTES))
    except StorageUnavailableError:
        raise
    except StorageError:
        return False


@contextmanager
def intact(uri: str) -> Iterator[None]:
    """Turn a decoding error of the block into a JobError that names the damaged file and what to do."""
    try:
        yield
    except UNREADABLE as error:
        raise JobError(f"{uri} is damaged ({error}): delete it and submit the job again") from error


def _is_chunks(name: str) -> bool:
    return number_of(name) is not None


def _numbers(names: Iterator[str]) -> ChunkSet:
    numbers = (number_of(name) for name in names if name.endswith(".jsonl"))
    return ChunkSet.of(number for number in numbers if number is not None)
