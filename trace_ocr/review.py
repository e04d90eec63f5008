"""Single results of a job for people who check them, as flows: listed, shown, corrected."""

from collections.abc import Mapping
from typing import Any

import msgspec

from contract.job_status import JobStatus
from contract.review import ReviewItem, ReviewPage
from trace_ocr.exchange import Api, Flow, Request
from trace_ocr.listing import Listing

PAGE = 200
"""Items asked for at once."""


def items(api: Api, job_id: str, wanted: Mapping[str, object]) -> Listing[ReviewItem]:
    """Return items of a job.

    Args:
        wanted: the query of `GET /jobs/{id}/items`; what is None is left out
    """
    asked = {name: str(value) for name, value in wanted.items() if value is not None}

    def following(page: ReviewPage) -> dict[str, str]:
        return {} if page.cursor is None else {"cursor": page.cursor}

    return Listing(api, f"jobs/{job_id}/items", {"limit": str(PAGE), **asked}, ReviewPage, following)


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
