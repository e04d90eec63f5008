"""What a job would be: its items, pages, bytes and chunks, how long it takes, and what it costs."""

import math
import random
import time
from dataclasses import dataclass, field, replace

from contract.estimate import Estimate
from contract.job import Job
from contract.kinds import KINDS
from contract.records import Item
from contract.shards.spans import GROUP_BYTES
from contract.storage import is_remote
from producer.results.rates import Rate
from producer.sources.base import Listing
from producer.sources.fingerprints import size_in

SECONDS_PER_HOUR = 3_600


@dataclass(frozen=True)
class Extent:
    """What a job reads.

    Args:
        files: files or objects
        items: what becomes a line each: crops or pages
        bytes: of the files
        gets: requests for objects of remote storage; a file of several items is one for each of its
            chunks, a shard one for each 8 MiB of these
        reused: items whose lines are taken over, and which are not read
        passed_over: entries of the source that are not read, by reason
        complete: the source was listed to its end
        some: items chosen at random
    """

    files: int = 0
    items: int = 0
    bytes: int = 0
    chunks: int = 0
    gets: int = 0
    reused: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    some: tuple[Item, ...] = ()


def extent_of(job: Job, listing: Listing, keep: int = 0, seconds: float | None = None) -> Extent:
    """Return what a job reads, from its listing, in constant memory.

    Args:
        listing: the items, with fingerprints; those of one file follow each other
        keep: the number of items to choose at random
        seconds: time after which the listing is left, in seconds; None for as long as it takes
    """
    files = items = size = gets = reused = 0
    together = _Together()
    last, until, complete = ("", -1), time.monotonic() + (seconds or math.inf), True
    some, choice = list[Item](), random.Random(0)  # noqa: S311 - a reproducible choice, not a secret
    for item in listing:
        if time.monotonic() > until:
            complete = False
            break
        here = item.uri, items // job.chunk_size
        whole = item.page is None and item.region is None
        files += here[0] != last[0] or (whole and item.member is None)
        size += size_in(item.fingerprint) if here[0] != last[0] or whole else 0
        if item.reused is None:
            gets += is_remote(item.uri) and (here != last or (whole and not together.hold(item)))
            _choose(some, item, items - reused, keep, choice)
        reused += item.reused is not None
        last, items = here, items + 1
    chunks = math.ceil(items / job.chunk_size)
    return Extent(files, items, size, chunks, gets, reused, dict(listing.passed_over), complete, tuple(some))


class _Together:
    """Members of one shard that a worker reads by one request."""

    def __init__(self) -> None:
        self._bytes = 0

    def hold(self, item: Item) -> bool:
        """Return whether an item is read along with the one before, of the same file and chunk."""
        self._bytes += size_in(item.fingerprint)
        if item.member is None or self._bytes > GROUP_BYTES:
            self._bytes = 0
            return False
        return True


def _choose(some: list[Item], item: Item, place: int, keep: int, choice: random.Random) -> None:
    """Keep an item with the same chance as all others so far (Vitter's algorithm R)."""
    if len(some) < keep:
        some.append(item)
    elif keep:
        slot = choice.randrange(place + 1)
        if slot < keep:
            some[slot] = item


def estimate(
    job: Job,
    extent: Extent,
    rate: Rate | None,
    devices: int | None = None,
    deadline_seconds: float | None = None,
    price: float | None = None,
) -> Estimate:
    """Return the estimate of a job.

    Args:
        devices: devices that will read it; as many as read when the rate was measured if None
        deadline_seconds: seconds until it must end; None if it has no deadline
        price: of one device for an hour, in any currency
    """
    known = Estimate(
        source=job.source.uri,
        kind=job.kind,
        files=extent.files,
        items=extent.items,
        pages=extent.items if KINDS[job.kind].unit == "page" else None,
        bytes=extent.bytes,
        passed_over=extent.passed_over,
        chunks=extent.chunks,
        gets=extent.gets,
        reused=extent.reused,
        complete=extent.complete,
        deadline_seconds=deadline_seconds,
        price_per_device_hour=price,
    )
    return _timed(known, rate, devices or rate.devices) if rate else known


def _timed(known: Estimate, rate: Rate, devices: int) -> Estimate:
    seconds = (known.items - known.reused) / rate.items_per_second
    hours, left = seconds / SECONDS_PER_HOUR, known.deadline_seconds
    # Chunks are not divided, so more devices than chunks do not help.
    needed = min(max(1, math.ceil(seconds / left)), max(1, known.chunks)) if left and left > 0 else None
    return replace(
        known,
        rate_source=rate.source,
        items_per_second_per_device=round(rate.items_per_second, 3),
        devices=devices,
        duration_seconds=round(seconds / min(devices, max(1, known.chunks)), 1),
        device_hours=round(hours, 4),
        devices_needed=needed,
        cost=None if known.price_per_device_hour is None else round(hours * known.price_per_device_hour, 2),
    )
