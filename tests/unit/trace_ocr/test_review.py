"""Single results over the client: listed page by page, and corrected."""

import json
from typing import Any

import httpx
import pytest

from tests.unit.trace_ocr.server import Serve, job_answer
from trace_ocr import ConflictError, ReviewItem, ReviewWord

WORDS = (ReviewWord(0, (0, 0, 1, 1), "to", 0.9), ReviewWord(1, (0, 0, 1, 1), "bo", 0.4))
ITEM = ReviewItem("p.png", "to bo", 0.4, 3, 7, words=WORDS)


def item_json(**given: Any) -> dict[str, Any]:
    return {"id": "p.png", "value": "to bo", "confidence": 0.4, "chunk": 3, "index": 7, **given}


def page(*ids: str, cursor: str | None = None) -> httpx.Response:
    data = [item_json(id=identity) for identity in ids]
    return httpx.Response(200, json={"data": data, "order": "source", "cursor": cursor, "searched": 0.5})


def test_items_are_asked_for_page_after_page_also_past_an_empty_one(serve: Serve) -> None:
    server = serve(page("a", cursor="@1"), page(cursor="@2"), page("b"))

    found = [one.id for one in server.client().job("night").items(q="to", below=0.5)]

    assert found == ["a", "b"]
    assert [request.url.params.get("cursor") for request in server.requests] == [None, "@1", "@2"]
    assert {(one.url.path, one.url.params["q"], one.url.params["below"]) for one in server.requests} == {
        ("/jobs/night/items", "to", "0.5")
    }
    assert "order" not in server.requests[0].url.params


@pytest.mark.parametrize(
    ("word", "sent"),
    [(None, {"value": "right", "before": "to bo"}), (1, {"value": "right", "word": 1, "before": "bo"})],
)
def test_a_correction_names_the_place_and_what_was_seen(
    word: int | None, sent: dict[str, Any], serve: Serve
) -> None:
    server = serve(httpx.Response(201, json={"data": [item_json(corrected_by="mia")]}))

    after = server.client().job("night").correct(ITEM, "right", word)

    assert after.corrected_by == "mia"
    (request,) = server.requests
    assert (request.method, request.url.path) == ("POST", "/jobs/night/corrections")
    assert json.loads(request.content) == {"corrections": [{"id": "p.png", "chunk": 3, "index": 7, **sent}]}


def test_a_text_that_somebody_else_has_corrected_is_a_conflict(serve: Serve) -> None:
    server = serve(httpx.Response(409, json={"detail": "'p.png' is 'two' by now"}))

    with pytest.raises(ConflictError, match="by now"):
        server.client().job("night").correct(ITEM, "right")


def test_corrections_are_applied(serve: Serve) -> None:
    server = serve(httpx.Response(200, json=item_json()), job_answer("in_progress"))
    job = server.client().job("night")

    assert job.item(ITEM).value == "to bo"
    assert job.apply_corrections().status == "in_progress"
    assert [request.url.path for request in server.requests] == [
        "/jobs/night/items/3/7",
        "/jobs/night/corrections/apply",
    ]
