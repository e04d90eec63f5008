"""Settings of delivery."""

from typing import Self

from pydantic import BaseModel, Field, model_validator


class Delivery(BaseModel):
    """How long the system waits for a chunk or a worker."""

    stall_seconds: float = Field(
        600.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds without progress after which a worker process is killed and restarted",
    )
    lease_seconds: int = Field(20, ge=1, description="seconds between renewals of a running chunk's lease")
    visibility_timeout: int = Field(
        120, ge=4, description="seconds without lease renewal after which another worker gets a chunk"
    )
    reconcile_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="seconds between comparisons of plan, parts and queue"
    )

    @model_validator(mode="after")
    def _lease_within_timeout(self) -> Self:
        if self.lease_seconds >= self.visibility_timeout:
            raise ValueError(
                f"lease_seconds ({self.lease_seconds:g}) must be less than visibility_timeout "
                f"({self.visibility_timeout:g}), or running chunks are sent twice: change one of them"
            )
        return self
