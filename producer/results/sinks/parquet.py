"""`results.parquet` and `errors.parquet`: the lines as typed columns, in source order."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from contract.errors import JobError, TraceOcrError, UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.storage import Store
from contract.workspace import Workspace
from producer.results.sinks.base import Lines, MergedLine, SinkContext, Write

if TYPE_CHECKING:
    from producer.results.parquet_file import ParquetLines

FILE_ITEMS = {"crop": 4_000_000, "page": 40_000}
"""Items of one file, by their unit: some hundred megabytes. A count, and not a size, so that retries and
other versions of the library leave the names and the borders of files as they are."""

PARQUET = "parquet"
"""The name of this format."""

JOB = "trace_ocr.job"
"""The key of job.json in a file's metadata."""

PRIVATE = {"notify", "roots", "traceparent"}
"""Fields of job.json that stay in the workspace, since results are handed on: URLs of receivers may hold
secrets."""


class Parquet:
    """Writes the results and the errors as Parquet, in several files if there are many items."""

    kinds = None
    media_types = ("application/vnd.apache.parquet",)

    def check(self, job: Job) -> None:  # noqa: ARG002 - of the interface
        """Raise UsageError if the library that writes Parquet is not installed."""
        require_pyarrow(UsageError)

    @contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that adds a line to the results or to the errors.

        Raises:
            JobError: this process lacks the library, which the one that took the job had
        """
        opened = opener(context.job, context.workspace.store)
        columns = require_pyarrow(JobError)
        job, most = context.job, FILE_ITEMS[KINDS[context.job.kind].unit]
        tables: dict[Lines, Any] = {
            "results": columns.table_of(KINDS[job.kind]),
            "errors": columns.table_of_errors(),
        }
        with (
            _Files(self._uris("results", context), lambda uri: opened(uri, tables["results"])) as results,
            _Files(self._uris("errors", context), lambda uri: opened(uri, tables["errors"])) as errors,
        ):
            left = most

            def write(merged: MergedLine) -> None:
                nonlocal left
                if not left:
                    results.turn()
                    errors.turn()
                    left = most
                left -= 1
                (errors if merged.failure else results).add(merged.line)

            yield write

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:
        """Yield the URIs of the files."""
        yield from self.files(job, workspace, "results")
        yield from self.files(job, workspace, "errors")

    def files(self, job: Job, workspace: Workspace, lines: Lines) -> list[str]:
        """Return the URIs of the files of results or of errors, in source order."""
        most = FILE_ITEMS[KINDS[job.kind].unit]
        count = -(-job.plan.items // most) if job.plan else 1
        if count <= 1:
            return [workspace.path(f"{lines}.parquet")]
        return [workspace.path(f"{lines}-{number:05d}.parquet") for number in range(count)]

    def _uris(self, lines: Lines, context: SinkContext) -> Iterator[str]:
        return iter(self.files(context.job, context.workspace, lines))


SINK = Parquet()


def require_pyarrow(missing: type[TraceOcrError]) -> ModuleType:
    """Return the module of columns; raise `missing` if the library that it needs is not installed."""
    try:
        from producer.results import columns
    except ImportError as error:
        raise missing(
            "results as Parquet need pyarrow on this machine: pip install 'trace-ocr-batch[columns]', or ask "
            "for --results jsonl"
        ) from error
    return columns


Opener = Callable[[str, Any], "AbstractContextManager[ParquetLines]"]


def opener(job: Job, store: Store) -> Opener:
    """Return what opens a file of a job for lines, by its URI and its columns; raises JobError as `open`."""
    require_pyarrow(JobError)
    from producer.results.parquet_file import parquet_file

    metadata = {JOB: job.model_dump_json(exclude=PRIVATE, exclude_none=True)}
    return lambda uri, table: parquet_file(store, uri, table, metadata)


class _Files(AbstractContextManager["_Files"]):
    """Files that are written one after another; each ends complete or absent.

    Args:
        uris: of the files
        opened: opens one
    """

    def __init__(
        self, uris: Iterator[str], opened: "Callable[[str], AbstractContextManager[ParquetLines]]"
    ) -> None:
        self._uris, self._opened = uris, opened
        self._current = ExitStack()
        self.add: Callable[[bytes], None]

    def __enter__(self) -> "_Files":
        self.turn()
        return self

    def turn(self) -> None:
        """End the current file and begin the next."""
        self._current.close()
        self.add = self._current.enter_context(self._opened(next(self._uris))).add

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._current.__exit__(kind, error, traceback)
