"""A job's results as an Arrow table: from the Parquet that it wrote, or else from its lines."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from contract.job_status import JobStatus
from contract.states import State
from trace_ocr.errors import PyarrowMissingError, RefusedError
from trace_ocr.exchange import Api, Flow, Request
from trace_ocr.jobs import RESULT_COLUMNS

PARQUET = "application/vnd.apache.parquet"

NOT_WRITTEN = 406

JOB = b"trace_ocr.job"
"""The key of the job in a file's metadata."""

METADATA = "metadata"
"""The field that is JSON in Parquet, since its columns differ from item to item."""


class _Named(msgspec.Struct):
    id: str


def parquet_files(api: Api, job_id: str) -> Flow[list[bytes] | None]:
    """Return a complete job's files of results, None if it wrote no Parquet."""
    # As it is: Parquet is compressed already.
    headers = {"Accept": PARQUET, "Accept-Encoding": "identity"}
    files: list[bytes] = []
    while True:
        params = {"file": str(len(files))}
        request = Request("GET", f"jobs/{job_id}/results", {"headers": headers, "params": params})
        try:
            response = yield from api.answer(request)
        except RefusedError as error:
            if error.status == NOT_WRITTEN:
                return None
            raise
        # A server of an older version sends JSONL, whatever is asked for.
        if not response.headers.get("Content-Type", "").startswith(PARQUET):
            return None
        files.append(response.content)
        if "next" not in response.links:
            return files


class Arrow:
    """What needs pyarrow, which is imported here and not before.

    Raises:
        PyarrowMissingError: it is not installed
    """

    def __init__(self) -> None:
        try:
            self._arrow = importlib.import_module("pyarrow")
            self._parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise PyarrowMissingError("to_arrow needs pyarrow: pip install pyarrow") from error

    def on_disk(self, status: JobStatus) -> Any:
        """Return the results of a job whose workspace is a folder that this machine has too, else None."""
        folder = Path(status.workspace)
        if status.status is not State.COMPLETED or not folder.is_absolute():
            return None
        try:
            whole = folder / "results.parquet"
            paths = [whole] if whole.is_file() else sorted(folder.glob("results-?????.parquet"))
            files = [self._parquet.ParquetFile(path) for path in paths]
            # The folder of that name may be another one here.
            if not files or any(self._job_of(file) != status.id for file in files):
                return None
            return self._arrow.concat_tables([file.read() for file in files])
        except (OSError, self._arrow.ArrowException):
            return None

    def of_files(self, files: Iterable[bytes]) -> Any:
        """Return the rows of files as one table."""
        buffers = map(self._arrow.BufferReader, files)
        return self._arrow.concat_tables([self._parquet.read_table(buffer) for buffer in buffers])

    def of_lines(self, lines: list[dict[str, Any]]) -> Any:
        """Return lines as a table with a column for each field that one of them has."""
        names = dict.fromkeys(name for line in lines for name in line) or RESULT_COLUMNS
        columns = {name: [_plain(name, line.get(name)) for line in lines] for name in names}
        return self._arrow.table(columns)

    def _job_of(self, file: Any) -> str | None:
        try:
            return msgspec.json.decode((file.metadata.metadata or {}).get(JOB, b""), type=_Named).id
        except msgspec.DecodeError:
            return None


def _plain(name: str, value: Any) -> Any:
    return msgspec.json.encode(value).decode() if name == METADATA and isinstance(value, dict) else value
