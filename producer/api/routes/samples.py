"""The routes that show some of what a job has read, with pictures."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel

from contract.job import roots_of
from contract.region import Region
from producer.api.jobs import Jobs
from producer.api.routes.job_paths import ChunkNumber, ItemIndex, JobId, jobs_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.services import Services
from producer.results.samples import (
    IMAGE_TYPES,
    ReadRegion,
    Sample,
    image_of,
    item_of,
    regions_of_page,
    samples,
)

IMAGES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in IMAGE_TYPES.values()}},
    **problems(415),
}
"""Media types of pictures, for the API's documentation."""


class RegionOut(BaseModel):
    """A part of a page: its corners, each x and y, in pixels (`px`) or as shares of the page (`rel`).

    A region that has none is malformed.
    """

    corners: list[tuple[float, float]]
    unit: Literal["px", "rel"]


class SampleOut(BaseModel):
    """One item that was read; `image` is the path of its picture.

    Of a given `region`, the picture is the page, and `regions` the path of all regions of that page.
    """

    id: str
    value: str
    confidence: float | None
    image: str
    region: RegionOut | None = None
    regions: str | None = None


class ReadRegionOut(BaseModel):
    """A region of a page, with its text or its error; with neither if it is not read yet."""

    id: str
    region: RegionOut
    value: str | None
    confidence: float | None
    error: str | None


class RegionList(BaseModel):
    """The regions of one page."""

    data: list[ReadRegionOut]


class SampleList(BaseModel):
    """Some items of one job."""

    data: list[SampleOut]


def add_samples(router: APIRouter, services: Services) -> None:
    """Add the routes to those below `/jobs`."""
    _add_texts(router, services)
    _add_images(router, services)


def _add_texts(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")

    @router.get("/{job_id}/samples", dependencies=may_read)
    def get_samples(
        job_id: JobId, jobs: Annotated[Jobs, seen], count: Annotated[int, Query(ge=1, le=100)] = 12
    ) -> SampleList:
        """Show some items with their text."""
        found = samples(jobs.workspace(job_id), count)
        return SampleList(data=[_sample(job_id, one) for one in found])

    @router.get("/{job_id}/regions/{chunk}/{index}", dependencies=may_read)
    def get_regions(
        job_id: JobId, jobs: Annotated[Jobs, seen], chunk: ChunkNumber, index: ItemIndex
    ) -> RegionList:
        """Show the regions of the page that an item is a part of, as far as they are in its chunk."""
        found = regions_of_page(jobs.workspace(job_id), chunk, index)
        return RegionList(data=list(map(_read_region, found)))


def _add_images(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")

    @router.get(
        "/{job_id}/images/{chunk}/{index}",
        dependencies=may_read,
        responses=IMAGES,
        response_class=Response,
    )
    def get_image(
        job_id: JobId,
        jobs: Annotated[Jobs, seen],
        chunk: ChunkNumber,
        index: ItemIndex,
    ) -> Response:
        """Show one item's image, by chunk and index."""
        workspace = jobs.workspace(job_id)
        item = item_of(workspace.items(chunk), chunk, index)
        roots = roots_of(workspace.require_job(), jobs.readable)
        image = image_of(item, services.storage, roots, services.settings.max_bytes)
        if image is None:
            raise HTTPException(415, f"{item.id} is in a format that browsers do not show")
        data, media_type = image
        return Response(data, media_type=media_type, headers={"cache-control": "private, max-age=3600"})


def _sample(job_id: str, one: Sample) -> SampleOut:
    return SampleOut(
        id=one.id,
        value=one.value,
        confidence=one.confidence,
        image=f"/jobs/{job_id}/images/{one.chunk}/{one.image}",
        region=_region(one.region) if one.region else None,
        regions=f"/jobs/{job_id}/regions/{one.chunk}/{one.index}" if one.region else None,
    )


def _read_region(one: ReadRegion) -> ReadRegionOut:
    return ReadRegionOut(
        id=one.id,
        region=_region(one.region),
        value=one.value,
        confidence=one.confidence,
        error=f"{one.error.code}: {one.error.message}" if one.error else None,
    )


def _region(region: Region) -> RegionOut:
    return RegionOut(corners=list(region.corners) if region.points else [], unit=region.unit)
