"""`latest.parquet` and `latest-errors.parquet`: the newest lines of all nights as columns."""

from collections.abc import Callable

from contract.errors import JobError
from contract.job import Job
from contract.kinds import KINDS
from producer.nightly.files import Nights, read_lines
from producer.results.sinks.parquet import PARQUET, opener, require_pyarrow


def write_columns(job: Job, nights: Nights, check: Callable[[], None]) -> None:
    """Write the latest lines as Parquet if the night's job has it; else remove older files: they are stale.

    Args:
        check: called before files are replaced; raises if they must not be

    Raises:
        JobError: a line is damaged, or the library is missing
    """
    pairs = (nights.latest, nights.latest_columns), (nights.latest_errors, nights.latest_errors_columns)
    if PARQUET not in job.exports:
        for _, uri in pairs:
            nights.store.delete(uri)
        return
    opened, columns = opener(job, nights.store), require_pyarrow(JobError)
    tables = columns.table_of_latest(KINDS[job.kind]), columns.table_of_errors()
    for (lines, uri), table in zip(pairs, tables, strict=True):
        with opened(uri, table) as rows:
            for line in read_lines(nights.store, lines):
                rows.add(line)
            check()
