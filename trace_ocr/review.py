"""Single results of a job for people who check them, as flows: listed, shown, corrected."""

from collections.abc import Mapping
from typing import Any

import msgspec

from contract.job_status import JobStatus
from contract.review import ReviewItem, ReviewPage
from trace_ocr.exchange import Api, Flow, Request

PAGE = 200
"""Items asked for at once."""


class ItemListing:
    """Items of a job, page by page; `more` says whether there may be a further one.

    Args:
        wanted: the query of `GET /jobs/{id}/items`
    """

    def __init__(self, api: Api, job_id: str, wanted: Mapping[str, object]) -> None:
        self.more = True
        self._api, self._path = api, f"jobs/{job_id}/items"
        asked = {name: str(value) for name, value in wanted.items() if value is not None}
        self._asked = {"limit": str(PAGE), **asked}

    def page(self) -> Flow[tuple[ReviewItem, ...]]:
        """Return the next page. It may be empty and not the last: a search looks at so much at once."""
        page = yield from self._api.call(Request("GET", self._path, {"params": self._asked}), ReviewPage)
        self.more = page.cursor is not None
        if page.cursor is not None:
            self._asked["cursor"] = page.cursor
        return page.data


class _Corrected(msgspec.Struct):
    data: list[ReviewItem]


def item(api: Api, job_id: str, found: ReviewItem) -> Flow[ReviewItem]:
    """Return an item as it is now, with the words of its page."""
    return api.call(Request("GET", f"jobs/{job_id}/items/{found.chunk}/{found.index}"), ReviewItem)


def correct(api: Api, job_id: str, found: ReviewItem, value: str, word: int | None) -> Flow[ReviewItem]:
    """Correct an item's text, or that of a word of its page; return the item after it."""
    correction: dict[str, Any] = {"id": found.id, "chunk": found.chunk, "index": found.index, "value": value}
    if word is None:
        correction["before"] = found.value
    else:
        seen = next((one.value for one in found.words if one.index == word), None)
        correction |= {"word": word, "before": seen}
    content = {"json": {"corrections": [correction]}}
    answer = yield from api.call(Request("POST", f"jobs/{job_id}/corrections", content), _Corrected)
    return answer.data[0]


def applied(api: Api, job_id: str) -> Flow[JobStatus]:
    """Have a job merged again with its corrections; return its status."""
    return api.call(Request("POST", f"jobs/{job_id}/corrections/apply"), JobStatus)
