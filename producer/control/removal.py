"""`gc`: remove a cancelled job. Only files that the job wrote are deleted, each by its exact name."""

from collections.abc import Callable, Iterator, Set

from contract.broker.ledger import Ledger
from contract.chunk_set import ChunkSet
from contract.errors import JobError
from contract.job import Job
from contract.layout import number_of
from contract.states import Action
from contract.workspace import Workspace
from producer.control.steer import check_action
from producer.notify.outbox import remove_events
from producer.results.corrections import batch_uris
from producer.results.sinks import files_of, sweep_formats

File = Callable[[int], str]
"""Returns the URI of a chunk's file of one type."""


def remove_job(job: Job, workspace: Workspace, ledger: Ledger | None) -> int:
    """Remove everything that a cancelled job wrote; return the number of objects.

    Raises:
        JobStateError: as `check_action`
    """
    numbers = _chunks(job, workspace)
    # An earlier, interrupted removal has deleted the halt, and all chunks before it.
    cut_off = job.plan is not None and workspace.load_halt() is None and not _exist(workspace, numbers)
    if not cut_off:
        check_action(Action.REMOVE, job, workspace, ledger)
    removed = _remove_merged(job, workspace)
    # Chunks last: an interrupted removal of a job whose plan has not ended finds its parts by them.
    for file in _files(job, workspace):
        removed += sum(_remove(workspace, uri) for uri in _existing(file, workspace, numbers))
    removed += sum(_remove(workspace, uri) for uri in (*batch_uris(workspace), workspace.corrections))
    removed += workspace.sweep() + remove_events(workspace)
    # job.json last of all, so that an interrupted removal can be repeated.
    for uri in (workspace.merge_json, workspace.halt_json, workspace.job_json):
        removed += _remove(workspace, uri)
    return removed


def _remove(workspace: Workspace, uri: str) -> bool:
    there = workspace.store.exists(uri)
    if there:
        workspace.store.delete(uri)
    return there


def _chunks(job: Job, workspace: Workspace) -> Set[int]:
    """Return the numbers of the job's chunks: those that job.json records, or those of a plan without end."""
    if job.plan:
        return ChunkSet.below(job.chunks)
    return {number for number in workspace.chunk_numbers() if _holds_items(workspace, number)}


def _holds_items(workspace: Workspace, number: int) -> bool:
    try:
        return bool(workspace.items(number))
    except JobError:
        return False


def _exist(workspace: Workspace, numbers: Set[int]) -> bool:
    return not workspace.chunk_numbers().isdisjoint(numbers)


def _files(job: Job, workspace: Workspace) -> Iterator[File]:
    """Yield the types of files that the job may have written for a chunk."""
    exports = (workspace.page_exports, workspace.page_pdfs) if job.page_exports else ()
    yield from (workspace.part, workspace.statistics, *exports, workspace.chunk)


def _existing(file: File, workspace: Workspace, numbers: Set[int]) -> list[str]:
    """Return the files of these chunks that exist."""
    folder = file(0).rpartition("/")[0]
    found = ((number_of(name), f"{folder}/{name}") for name in workspace.store.names(folder))
    ours = ((number, uri) for number, uri in found if number is not None and number in numbers)
    return [uri for number, uri in ours if uri == file(number)]


def _remove_merged(job: Job, workspace: Workspace) -> int:
    """Remove what merges of the job wrote; the parts must exist: they name the documents with exports."""
    if not workspace.was_merged(job.id):
        return 0
    files = files_of(job, workspace)
    removed = sum(_remove(workspace, f"{folder}/{name}") for folder, names in files.items() for name in names)
    return removed + _remove(workspace, workspace.summary) + sweep_formats(files, workspace)
