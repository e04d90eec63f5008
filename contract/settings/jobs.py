"""Settings of a new job."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from contract.job import MAX_CHUNK_SIZE, Export, Metadata, Tags
from contract.kinds.base import json_value
from contract.settings.lists import COMMAS, Listed
from contract.source import MAX_SAMPLE


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith("{"):
        return json_value(value)
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("each pair is KEY=VALUE; a value with a comma needs a JSON object")
    return {key.strip(): text.strip() for key, _, text in pairs}


class NewJobs(BaseModel):
    """How a new job is cut, what it writes, and how it is found again."""

    chunk_size: int | None = Field(
        None,
        ge=1,
        le=MAX_CHUNK_SIZE,
        description="items in a chunk, the unit of work; 1,024 crops or 32 pages if not set",
    )
    sample: int | None = Field(
        None, ge=1, le=MAX_SAMPLE, description="read only so many items of the source, chosen at random"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the random choice of a sample")
    exports: Listed[Export] = Field(
        (),
        description="comma-separated formats besides JSONL: txt, hocr, pdf, alto, page (ocr jobs only), "
        "write_back (jobs with --regions)",
    )
    results: Listed[Export] = Field(
        ("jsonl",),
        description="comma-separated formats of results and errors: jsonl, which is always written, parquet, "
        "csv (jobs of crops only)",
    )
    tags: Annotated[Tags, COMMAS] = Field((), description="comma-separated words that jobs are filtered by")
    metadata: Annotated[Metadata, BeforeValidator(_pairs)] = Field(
        {}, description="comma-separated KEY=VALUE, or a JSON object: what is stored and shown with the job"
    )
