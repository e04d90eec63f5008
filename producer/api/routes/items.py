"""The routes that list single results of a complete job, for people who check them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Response

from contract.errors import ErrorCode
from contract.job import roots_of
from contract.review import Order, ReviewItem, ReviewPage
from contract.workspace import Workspace
from producer.api.jobs import Jobs
from producer.api.routes.job_paths import ChunkNumber, ItemIndex, JobId, jobs_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.services import Services
from producer.results.choice import Choice
from producer.results.items import MAX_ITEMS, Items
from producer.results.pictures import LEAST_SIDE, MOST_SIDE
from producer.results.samples import item_of

JPEG = "image/jpeg"

PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {JPEG: {}}}}
"""Media types of pictures, for the API's documentation."""

Side = Annotated[int, Query(ge=LEAST_SIDE, le=MOST_SIDE)]

MAX_SEARCHED = 500
"""Maximum characters of a text or an id that is searched for."""


def add_items(router: APIRouter, services: Services) -> None:
    """Add the routes to those below `/jobs`."""
    may_read = [Depends(Requires("read", services.keyring))]

    def items(job_id: JobId, jobs: Annotated[Jobs, jobs_of(services, "read")]) -> Items:
        return items_of(services, jobs.workspace(job_id), job_id)

    found = Depends(items)

    @router.get("/{job_id}/items", dependencies=may_read, responses=problems(400))
    def list_items(
        items: Annotated[Items, found],
        choice: Annotated[Choice, Depends(_choice)],
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 50,
    ) -> ReviewPage:
        """List a complete job's results, the least certain first; or those that a search finds.

        A search, and the order of the source, look at a bounded part of the lines at once: continue with
        `cursor` until there is none.
        """
        return items.page(choice, limit, cursor)

    @router.get("/{job_id}/items/{chunk}/{index}", dependencies=may_read)
    def get_item(items: Annotated[Items, found], chunk: ChunkNumber, index: ItemIndex) -> ReviewItem:
        """Show one item of a complete job, with the words of its page."""
        return items.at(chunk, index)

    _add_pictures(router, services)


def _add_pictures(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")
    picture: dict[str, Any] = {"dependencies": may_read, "responses": PICTURE, "response_class": Response}

    def jpeg(jobs: Jobs, job_id: str, chunk: int, index: int, side: int, *, cut: bool) -> Response:
        workspace = jobs.workspace(job_id)
        job, item = workspace.require_job(), item_of(workspace.items(chunk), chunk, index)
        data = services.pictures.jpeg(item, job, roots_of(job, jobs.readable), side, cut=cut)
        return Response(data, media_type=JPEG, headers={"cache-control": "private, max-age=3600"})

    @router.get("/{job_id}/pages/{chunk}/{index}.jpg", **picture)
    def get_page(
        job_id: JobId, jobs: Annotated[Jobs, seen], chunk: ChunkNumber, index: ItemIndex, side: Side = 1600
    ) -> Response:
        """Show an item's image, or its page of a PDF or TIFF, as a JPEG; `side` is its longest in pixels."""
        return jpeg(jobs, job_id, chunk, index, side, cut=False)

    @router.get("/{job_id}/crops/{chunk}/{index}.jpg", **picture)
    def get_crop(
        job_id: JobId, jobs: Annotated[Jobs, seen], chunk: ChunkNumber, index: ItemIndex, side: Side = 800
    ) -> Response:
        """Show what was read of an item: its region, cut out of its page; without a region all of it."""
        return jpeg(jobs, job_id, chunk, index, side, cut=True)


def items_of(services: Services, workspace: Workspace, job_id: str) -> Items:
    """Return the items of a complete job; answers 409 if it is not complete."""
    if not workspace.is_complete(job_id):
        raise HTTPException(409, f"job {job_id} is not complete: its lines are merged on completion")
    return services.open_jobs.items(workspace, workspace.require_job())


Share = Annotated[float | None, Query(ge=0, allow_inf_nan=False)]
Searched = Annotated[str | None, Query(min_length=1, max_length=MAX_SEARCHED)]


def _choice(
    order: Order | None = None,
    below: Share = None,
    at_least: Share = None,
    q: Annotated[Searched, Query(description="what the text contains; or a failure's message")] = None,
    item_id: Annotated[Searched, Query(alias="id", description="what the id begins with")] = None,
    code: Annotated[ErrorCode | Literal["any"] | None, Query(description="of failed items")] = None,
) -> Choice:
    choice = Choice(below, at_least, q, item_id, code, order == "source")
    if order == "confidence" and choice.searches:
        raise HTTPException(400, "q, id and code find items in the order of the source: leave order out")
    return choice
