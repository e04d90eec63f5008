"""Results and errors over HTTP in the format that a request asks for, of those that the job has written."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Query, Request
from starlette.responses import Response

from contract.counting import counted
from contract.job import Job
from contract.workspace import Workspace
from producer.api.lines import Selection, file_response
from producer.api.negotiation import preferred
from producer.results.sinks import JSONL, RESULTS, ResultsFormat, line_sink, results_of
from producer.results.sinks.base import Lines

MAX_FILE = 2**32
"""Maximum number of a file: more than any job has."""


def media_types() -> dict[str, str]:
    """Return the format of each media type, the usual ones first."""
    return {media_type: name for name in RESULTS for media_type in line_sink(name).media_types}


@dataclass(frozen=True)
class Choice:
    """The format that is asked for: `format`, or else the `Accept` header; and which of its files."""

    request: Request
    format: Annotated[ResultsFormat | None, Query(description="else the `Accept` header says it")] = None
    file: Annotated[
        int | None,
        Query(ge=0, le=MAX_FILE, description="number of the file, if a job has several of a format"),
    ] = None


def lines_response(workspace: Workspace, lines: Lines, choice: Choice, asked: Selection) -> Response:
    """Return a response that streams a job's results or errors.

    The answer names the next file of the same lines in its `Link` header, if there is one.

    Raises:
        HTTPException: 406 for a format that the job did not write, 400 for a file or lines that there are not
    """
    job = workspace.require_job()
    name, media_type = _chosen(job, choice)
    if name != JSONL and (asked.offset or asked.limit is not None):
        raise HTTPException(400, f"offset and limit count lines of JSONL, and this is {name}: leave them out")
    files = line_sink(name).files(job, workspace, lines)
    number = _number(choice.file, files, job, name)
    variant = "" if name == JSONL else f"{name}{number}-"
    response = file_response(workspace, files[number], asked, media_type, variant)
    response.headers["vary"] = "accept"
    if number + 1 < len(files):
        response.headers["link"] = f'<?format={name}&file={number + 1}>; rel="next"'
    return response


def _chosen(job: Job, choice: Choice) -> tuple[str, str]:
    """Return the format of an answer, and its media type."""
    formats, written = media_types(), results_of(job)
    if choice.format:
        if choice.format not in written:
            raise _not_written(job, choice.format)
        return choice.format, line_sink(choice.format).media_types[0]
    accept = choice.request.headers.getlist("accept")
    offered = [media_type for media_type, name in formats.items() if name in written]
    accepted = preferred(accept, offered)
    if accepted is not None:
        return formats[accepted], accepted
    wanted = preferred(accept, tuple(formats))
    if wanted is not None:
        raise _not_written(job, formats[wanted])
    # As always: a client that accepts something else altogether is sent JSONL (RFC 9110, 12.5.1).
    return JSONL, offered[0]


def _not_written(job: Job, name: str) -> HTTPException:
    return HTTPException(
        406,
        f"job {job.id} wrote its results as {' and '.join(results_of(job))}, not as {name}: name {name} in "
        "`results` when a job is submitted",
    )


def _number(asked: int | None, files: list[str], job: Job, name: str) -> int:
    if asked is None and len(files) > 1:
        raise HTTPException(
            400,
            f"job {job.id} has {counted(len(files), 'file')} of {name}: ask for file=0 to "
            f"file={len(files) - 1}",
        )
    number = asked or 0
    if number >= len(files):
        raise HTTPException(400, f"job {job.id} has {counted(len(files), 'file')} of {name}, counted from 0")
    return number
