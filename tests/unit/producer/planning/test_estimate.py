"""What a job would be, before it is started."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.job import Job, Plan
from contract.kinds.detection import DetectionParameters
from contract.lines import DetectionLine, RecognitionLine, encode_lines
from contract.records import ChunkStatistics, Item
from contract.region import region_of
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.planning.estimate import Extent, estimate, extent_of
from producer.results.index import JobIndex
from producer.results.merge import merge
from producer.results.rates import Rate, nearby, past_rate
from producer.sources.base import Listing
from tests.unit.producer.conftest import ITEMS

TEN_A_SECOND = Rate(10.0, 2, "a test")


def listing_of(*items: Item, **passed_over: int) -> Listing:
    return Listing(iter(items), Counter(passed_over))


def test_crops_are_counted_with_their_bytes_chunks_and_requests(job: Job) -> None:
    items = [Item(f"{n}.png", f"s3://scans/{n}.png", fingerprint=f"tag+{n}") for n in range(5)]

    extent = extent_of(job, listing_of(*items, hidden=2))

    assert (extent.files, extent.items, extent.bytes, extent.chunks, extent.gets) == (5, 5, 10, 3, 5)
    assert extent.passed_over == {"hidden": 2}
    assert extent.complete


@pytest.mark.parametrize(
    "parts",
    [[{"page": number} for number in (1, 2, 3)], [{"region": region_of([0, 0, 9, 9])}] * 3],
    ids=["pages", "regions"],
)
def test_a_file_of_several_items_is_one_that_is_fetched_for_each_of_its_chunks(
    parts: list[dict[str, Any]], job: Job
) -> None:
    items = [
        Item(f"a.pdf#{n}", "s3://scans/a.pdf", fingerprint="tag+7", **part) for n, part in enumerate(parts)
    ]

    extent = extent_of(job, listing_of(Item("0.png", "/scans/0.png", fingerprint="tag+1"), *items))

    assert (extent.files, extent.items, extent.bytes, extent.chunks) == (2, 4, 8, 2)
    # chunks of two: 0.png and the first part, then the other two
    assert extent.gets == 2


def test_of_a_listing_that_takes_too_long_a_part_is_told(job: Job) -> None:
    extent = extent_of(job, listing_of(*ITEMS), seconds=-1)

    assert (extent.items, extent.complete) == (0, False)


def test_items_for_a_probe_are_chosen_from_the_whole_source(job: Job) -> None:
    items = [Item(f"{n}", f"/{n}") for n in range(1_000)]

    some = extent_of(job, listing_of(*items), keep=50).some

    assert len(set(some)) == 50
    assert 300 < sum(int(item.id) for item in some) / 50 < 700


def test_time_devices_and_cost_follow_from_the_rate(job: Job) -> None:
    extent = Extent(files=72_000, items=72_000, chunks=100)

    found = estimate(job, extent, TEN_A_SECOND, deadline_seconds=1_800, price=3.0)

    assert (found.duration_seconds, found.devices) == (3_600, 2)
    assert found.devices_needed == 4
    assert (found.device_hours, found.cost) == (2.0, 6.0)
    assert found.pages is None
    assert estimate(job, extent, TEN_A_SECOND, devices=8).duration_seconds == 900


def test_devices_that_get_no_chunk_do_not_help(job: Job) -> None:
    found = estimate(job, Extent(items=200, chunks=2), TEN_A_SECOND, devices=50, deadline_seconds=1)

    assert (found.duration_seconds, found.devices_needed) == (10, 2)


@pytest.mark.parametrize("left", [None, 0, -5])
def test_without_time_left_no_number_of_devices_is_enough(left: float | None, job: Job) -> None:
    assert (
        estimate(job, Extent(items=1, chunks=1), TEN_A_SECOND, deadline_seconds=left).devices_needed is None
    )


def test_without_a_rate_there_is_no_time(job: Job) -> None:
    found = estimate(job, Extent(items=200, chunks=2), None, price=3.0)

    assert (found.items, found.duration_seconds, found.cost) == (200, None, None)


def test_an_empty_job_takes_no_time(job: Job) -> None:
    assert estimate(job, Extent(), TEN_A_SECOND, price=1.0, deadline_seconds=60).duration_seconds == 0


# rates


def finish(workspace: Workspace, job: Job, seconds: float, worker: str) -> None:
    """Merge a job of one chunk of two items, read in so many seconds."""
    job = job.model_copy(update={"plan": Plan(chunks=1, items=2)})
    workspace.save_job(job)
    made = (
        DetectionLine(name, name, 1, ()) if job.kind == "detection" else RecognitionLine(name, name, "", 0.5)
        for name in "ab"
    )
    workspace.store.replace(workspace.part(0), encode_lines(list(made)))
    statistics = ChunkStatistics(2, 0, seconds, {}, 1, 1.0, worker=worker, begun_at=0.0, ended_at=seconds)
    workspace.store.replace(workspace.statistics(0), msgspec.json.encode(statistics))
    merge(job, workspace)


def test_the_rate_is_that_of_similar_jobs_in_the_same_folder(
    job: Job, tmp_path: Path, storage: Storage
) -> None:
    other = job.model_copy(update={"parameters": job.parameters.model_copy(update={"characters": "digits"})})
    pages = Job(
        id="pages",
        kind="detection",
        parameters=DetectionParameters(),
        source=job.source,
        chunk_size=2,
        created_at=1_000,
    )
    for name, made, seconds in (
        ("one", job, 2.0),
        ("two", job, 6.0),
        ("digits", other, 0.1),
        ("pages", pages, 0.1),
    ):
        finish(open_workspace(str(tmp_path / name), storage), made, seconds, "cpu@here")
    (tmp_path / "not-a-job").mkdir()
    (tmp_path / "not-a-job/summary.json").write_text("[]")
    tuned = job.model_copy(
        update={"parameters": job.parameters.model_copy(update={"recognition_batch_size": 7})}
    )
    wanted = open_workspace(str(tmp_path / "new"), storage)

    rate = past_rate(tuned, nearby(wanted, JobIndex((), storage), storage))  # type: ignore[arg-type]

    assert rate is not None
    assert rate.items_per_second == pytest.approx(0.5, rel=0.01)  # a summary has two digits
    assert rate.devices == 1
    assert rate.source.startswith("4 items read by ")
    assert rate.source.endswith(" and 1 more")
    assert past_rate(tuned, iter(())) is None
