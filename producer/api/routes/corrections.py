"""The routes by which people correct what was read, and get their corrections for training."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from contract.job_status import JobStatus
from contract.records import MAX_CHUNKS, MAX_TEXT
from contract.review import ReviewItem
from producer.api.jobs import Jobs
from producer.api.routes.items import items_of
from producer.api.routes.job_paths import JobId, jobs_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.security.keys import ApiKey
from producer.api.services import Services
from producer.control.steer import merge_again
from producer.planning.submit import request_job
from producer.results.correcting import Wish, corrections_of
from producer.results.correction_formats import FORMATS, MEDIA_TYPES, CorrectionFormat
from producer.results.corrections import load, record

MAX_CORRECTIONS = 100
"""Maximum corrections of one request: they are checked against what was read, chunk by chunk."""

Named = Annotated[CorrectionFormat, Query(alias="format")]

ANYBODY = "anyone"
"""Who corrects if the API asks for no key."""


class CorrectionIn(BaseModel):
    """The correct text of an item, or of a word on its page; `chunk` and `index` are its place in the job.

    If `before` is given, the text must still be that one: else somebody else has corrected it since.
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1)
    chunk: int = Field(ge=0, lt=MAX_CHUNKS)
    index: int = Field(ge=0, lt=1_000_000)
    value: str = Field(max_length=MAX_TEXT)
    word: int | None = Field(None, ge=0, lt=1_000_000)
    before: str | None = None


class CorrectionsIn(BaseModel):
    """Some corrections, which are recorded all or none."""

    model_config = ConfigDict(extra="forbid")

    corrections: list[CorrectionIn] = Field(min_length=1, max_length=MAX_CORRECTIONS)


class Corrected(BaseModel):
    """The items after their correction."""

    data: list[ReviewItem]


def add_corrections(router: APIRouter, services: Services) -> None:
    """Add the routes to those below `/jobs`."""
    _add_making(router, services)
    _add_reading(router, services)


def _add_making(router: APIRouter, services: Services) -> None:
    may_submit = [Depends(Requires("submit", services.keyring))]
    steered = jobs_of(services, "submit")

    @router.post("/{job_id}/corrections", status_code=201, dependencies=may_submit, responses=problems(400))
    def correct(
        job_id: JobId,
        jobs: Annotated[Jobs, steered],
        caller: Annotated[ApiKey, Depends(Requires("submit", services.keyring))],
        request: CorrectionsIn,
    ) -> Corrected:
        """Correct what was read of a complete job; its results have it once it is merged again.

        A correction that changes nothing confirms a text, which is then exported too.
        """
        workspace = jobs.workspace(job_id)
        items = items_of(services, workspace, job_id)
        wishes = [Wish(**one.model_dump()) for one in request.corrections]
        record(workspace, corrections_of(wishes, items, caller.name or ANYBODY, time.time()))
        items = items_of(services, workspace, job_id)
        places = dict.fromkeys((one.chunk, one.index) for one in wishes)
        return Corrected(data=[items.at(*place) for place in places])

    @router.post("/{job_id}/corrections/apply", dependencies=may_submit)
    def apply_corrections(job_id: JobId, jobs: Annotated[Jobs, steered]) -> JobStatus:
        """Merge a complete job again, so that its results have the corrections."""
        workspace = jobs.workspace(job_id)
        job = merge_again(workspace.require_job(), workspace, jobs.ledger)
        request_job(job, workspace, jobs.ledger)
        return jobs.status(job_id)


def _add_reading(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")

    @router.get(
        "/{job_id}/corrections",
        dependencies=may_read,
        responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
        response_class=Response,
    )
    def get_corrections(job_id: JobId, jobs: Annotated[Jobs, seen], named: Named = "jsonl") -> Response:
        """Show what was corrected: all of it, or the last texts as docTR or Label Studio take them."""
        workspace = jobs.workspace(job_id)
        made = FORMATS[named](workspace.require_job(), workspace, load(workspace))
        return StreamingResponse(made, media_type=MEDIA_TYPES[named])
