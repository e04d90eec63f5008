"""What is asked to watch the system, its workers, and the chunks and failures of a job, as flows."""

import msgspec

from contract.chunk_map import ChunkMap
from contract.job_status import FailedItem
from contract.system_status import SystemStatus, WorkerList
from trace_ocr.exchange import Api, Flow, Request
from trace_ocr.listing import Listing

PAGE = 200
"""Failed items asked for at once."""


def system(api: Api) -> Flow[SystemStatus]:
    """Return the state of the system."""
    return api.call(Request("GET", "system"), SystemStatus)


def workers(api: Api) -> Flow[WorkerList]:
    """Return the live processes."""
    return api.call(Request("GET", "workers"), WorkerList)


def chunks(api: Api, job_id: str) -> Flow[ChunkMap]:
    """Return the map of a job's chunks."""
    return api.call(Request("GET", f"jobs/{job_id}/chunks"), ChunkMap)


class _Failures(msgspec.Struct):
    data: list[FailedItem]
    next: str | None = None


def failures(api: Api, job_id: str, code: str | None) -> Listing[FailedItem]:
    """Return failed items of a job; those of one code, if given."""
    asked = {"limit": str(PAGE), **({} if code is None else {"code": code})}

    def following(page: _Failures) -> dict[str, str]:
        return {} if page.next is None else {"after": page.next}

    return Listing(api, f"jobs/{job_id}/failures", asked, _Failures, following)
