"""Settings of the HTTP API."""

from typing import Literal

from pydantic import BaseModel, Field

from contract.settings.lists import Listed


class HttpApi(BaseModel):
    """Where it listens, who may call it, and what one request may take."""

    api_address: str = Field("127.0.0.1", description="address that the HTTP API listens on")
    api_port: int = Field(8080, ge=0, le=65_535, description="port that the HTTP API listens on")
    api_auth: Literal["on", "off"] = Field(
        "on", description="'off' lets every client that reaches the HTTP API do everything"
    )
    api_keys: Listed[str] = Field(
        (),
        description="comma-separated API keys as name:scopes:sha256 or name:scopes:sha256:roots; made by "
        "`trace-ocr api-key`",
    )
    api_keys_file: str | None = Field(None, description="file with one API key per line, in the same form")
    api_cors_origins: Listed[str] = Field(
        (), description="comma-separated origins whose web pages may call the HTTP API"
    )
    api_allowed_hosts: Listed[str] = Field(
        (),
        description="comma-separated names that requests may call the HTTP API by, such as *.example.org, "
        "besides local names and addresses; if none, all names, or none where api_auth is off",
    )
    api_max_connections: int = Field(
        1000,
        ge=1,
        description="maximum open connections of one API process; fewer if it may open fewer files",
    )
    api_receive_seconds: float = Field(
        20.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds for a request to arrive, and one more for each KiB of its body",
    )
    api_send_seconds: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="seconds that a client may take nothing of its answer"
    )
    api_max_bytes: int = Field(
        64 * 2**20, ge=1, description="maximum bytes of a request with files; others may have 64 KiB"
    )
    api_max_files: int = Field(256, ge=1, description="maximum files uploaded in one request")
    api_max_pages: int = Field(64, ge=1, description="maximum pages of all PDFs uploaded in one request")
    api_max_regions: int = Field(4096, ge=1, description="maximum given regions of all images in one request")
    api_max_pixels: int = Field(
        1_000_000_000,
        ge=1,
        description="maximum pixels of all images in one request, and of one PDF",
    )
    api_queue_limit: int = Field(
        2048, ge=1, description="maximum uploads that wait for workers; more are answered 429"
    )
    api_queue_bytes: int = Field(
        256 * 2**20,
        ge=1,
        description="maximum bytes of waiting uploads per API process; more are answered 429",
    )
    api_key_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of api_queue_limit and api_queue_bytes that one API key may take, per API process",
    )
    api_request_seconds: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="seconds that an uploaded file may wait for its result"
    )
