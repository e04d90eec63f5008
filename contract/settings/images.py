"""Settings of images."""

from pydantic import BaseModel, Field

from contract.cores import available_cores


class Images(BaseModel):
    """How images are fetched and decoded, and how large they may be."""

    decode_threads: int = Field(
        max(1, min(8, available_cores() // 2)),
        ge=1,
        le=256,
        description="threads that decode images ahead of the device; threads that wait for an image help",
    )
    feeders: int = Field(
        max(1, min(8, available_cores() // 2)),
        ge=0,
        le=64,
        description="processes per device that fetch, decode and prepare crops; 0 does that in threads",
    )
    fetch_threads: int = Field(
        32, ge=1, le=1024, description="objects that one process fetches from S3 at once"
    )
    list_threads: int = Field(
        32,
        ge=1,
        le=256,
        description="pages of one listing that a process asks S3 or Google Cloud Storage for at once",
    )
    max_bytes: int = Field(64 * 2**20, ge=1, description="maximum bytes of one image file")
    max_document_bytes: int = Field(
        2 << 30, ge=1, description="maximum bytes of one document, a PDF or multi-page TIFF"
    )
    max_pixels: int = Field(100_000_000, ge=1, description="maximum pixels of one image")
    decode_seconds: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds of processor time for decoding one image in a child process; five times as "
        "many may pass, on a busy machine",
    )
    decode_memory: int = Field(
        2 * 2**30, ge=2**26, description="memory limit in bytes for decoding one image in a child process"
    )
