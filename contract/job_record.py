"""Whether a file is a `job.json`, also one that this version cannot read."""

from typing import Annotated, Any

import msgspec

from contract.job_status import JOB_ID
from contract.lines import UNREADABLE


class _SourceRecord(msgspec.Struct):
    type: str
    uri: str


class _Record(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=JOB_ID)]
    source: _SourceRecord
    parameters: dict[str, Any]
    created_at: int


def is_job_record(data: bytes) -> bool:
    """Return whether the bytes are a `job.json` of any version, also of one that `parse_job` refuses."""
    try:
        msgspec.json.decode(data, type=_Record)
    except UNREADABLE:
        return False
    return True
