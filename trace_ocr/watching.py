"""What is asked to watch the system, its workers, and the chunks and failures of a job, as flows."""

import msgspec

from contract.chunk_map import ChunkMap
from contract.job_status import FailedItem
from contract.system_status import SystemStatus, WorkerList
from trace_ocr.exchange import Api, Flow, Request

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


class FailureListing:
    """Failed items of a job, page by page; `more` says whether there may be a further one.

    Args:
        code: of the items; None for all
    """

    def __init__(self, api: Api, job_id: str, code: str | None) -> None:
        self.more = True
        self._api, self._path = api, f"jobs/{job_id}/failures"
        self._asked = {"limit": str(PAGE), **({} if code is None else {"code": code})}

    def page(self) -> Flow[list[FailedItem]]:
        """Return the next page. It may be empty and not the last: the server looks at so much at once."""
        page = yield from self._api.call(Request("GET", self._path, {"params": self._asked}), _Failures)
        self.more = page.next is not None
        if page.next is not None:
            self._asked["after"] = page.next
        return page.data
