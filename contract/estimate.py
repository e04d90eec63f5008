"""The estimate of a job, as a dry run answers it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """What a job would be. Nothing was written.

    `pages` is null for crops. What follows `rate_source` is null if no rate is known; `duration_seconds` is
    that of reading, without the start of workers, by `devices` devices. `devices_needed` are those that
    end in time for the deadline, null if there is none or it has passed. `complete` is false if the source
    was not listed to its end.
    """

    source: str
    kind: str
    files: int
    items: int
    pages: int | None
    bytes: int
    passed_over: dict[str, int]
    chunks: int
    gets: int
    reused: int
    complete: bool
    rate_source: str | None = None
    items_per_second_per_device: float | None = None
    devices: int | None = None
    duration_seconds: float | None = None
    device_hours: float | None = None
    deadline_seconds: float | None = None
    devices_needed: int | None = None
    price_per_device_hour: float | None = None
    cost: float | None = None
