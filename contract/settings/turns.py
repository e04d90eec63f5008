"""Settings of who reads when."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, Field

from contract.job import MAX_PRIORITY, AtDeadline
from contract.settings.lists import Listed
from contract.tenants import DEFAULT_TENANT, TENANT, parse_tenants


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("it must be the name of a time zone, such as Europe/Berlin") from error
    return name


def _check_tenants(entries: tuple[str, ...]) -> tuple[str, ...]:
    parse_tenants(entries)
    return entries


class Turns(BaseModel):
    """Whose chunks a worker reads when, and how it divides its time."""

    tenants: Annotated[Listed[str], AfterValidator(_check_tenants)] = Field(
        (),
        description="comma-separated tenants as name:weight:chunks:items: their share of the workers, and "
        "how many chunks may run and items may wait at once; the limits may be left out",
    )
    tenant: str = Field(DEFAULT_TENANT, pattern=TENANT, description="tenant of a new job")
    priority: int = Field(
        0,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="of a new job among the jobs of its tenant; a higher one goes first",
    )
    deadline: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="when a new job should end: 06:00 for the next such time, or 2026-11-26T06:00+01:00",
    )
    at_deadline: AtDeadline = Field(
        "continue",
        description="what happens then: the job continues, or ends with what was read (partial)",
    )
    timezone: Annotated[str, AfterValidator(_check_zone)] | None = Field(
        None,
        description="zone of a deadline such as 06:00, and of a night's date, as Europe/Berlin; the "
        "machine's own if not set",
    )
    chunk_share: float = Field(
        0.25,
        ge=0,
        le=0.5,
        description="share of a worker's time that is kept for chunks while uploads keep coming",
    )
    shutdown_grace_seconds: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds that a stopping worker has to finish its chunks before it hands them back",
    )
