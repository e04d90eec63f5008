"""Settings of what people see of a running system."""

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class Monitoring(BaseModel):
    """The expected workers, Flower, ended jobs, and the log."""

    expected_workers: int = Field(
        0,
        ge=0,
        description="workers, one per device, that should be alive; 0 if their number varies",
    )
    flower_url: str | None = Field(
        None, pattern=r"^https?://", description="URL by which people reach Flower; the web UI links to it"
    )
    flower_address: str = Field("127.0.0.1", description="address that Flower listens on")
    flower_port: int = Field(5555, ge=0, le=65_535, description="port that Flower listens on")
    flower_basic_auth: SecretStr | None = Field(
        None, description="comma-separated user:password pairs that Flower accepts"
    )
    flower_database: str = Field("flower.db", description="file that Flower keeps its state in")
    retention_days: float = Field(
        7.0, gt=0, allow_inf_nan=False, description="days that Redis keeps an ended job"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level to log")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="'auto' is JSON, or console on a terminal"
    )
