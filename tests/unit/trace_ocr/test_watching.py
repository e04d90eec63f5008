"""Watching over the client: the system, its workers, a job's chunks and failures, typed."""

from dataclasses import asdict

import httpx

from tests.unit.trace_ocr.server import URL, Serve
from trace_ocr import Alert, ChunkMap, ChunkRun, FailedItem, ProcessStatus, SystemStatus, WorkerList


def test_the_system_is_told_in_figures_and_words(serve: Serve) -> None:
    alert = Alert("TraceOcrNoWorker", "critical", "No worker is alive")
    known = SystemStatus(1.0, True, workers_alive=0, alert=alert, alerts=(alert,))
    server = serve(httpx.Response(200, json={**asdict(known), "of_a_newer_server": 1}))

    assert server.client().system() == known
    assert str(server.requests[0].url) == f"{URL}/system"


def test_workers_come_with_what_they_do(serve: Serve) -> None:
    worker = ProcessStatus("gpu0@a", "worker", 1, "a", "H100", 1.0, 2.0, 0.5, "reading", slow=True)
    known = WorkerList((worker,), 1, 2)
    server = serve(httpx.Response(200, json=asdict(known)))

    assert server.client().workers() == known
    assert str(server.requests[0].url) == f"{URL}/workers"


def test_the_chunks_of_a_job_come_in_runs(serve: Serve) -> None:
    runs = [["done", 3, None], ["running", 1, "gpu0@a"]]
    server = serve(httpx.Response(200, json={"total": 4, "cell": 1, "done": 3, "runs": runs}))

    found = server.client().job("night").chunks()

    assert found == ChunkMap(4, 1, 3, (ChunkRun("done", 3), ChunkRun("running", 1, "gpu0@a")))
    assert str(server.requests[0].url) == f"{URL}/jobs/night/chunks"


def test_failures_come_page_by_page_also_over_an_empty_one(serve: Serve) -> None:
    item = FailedItem("a.png", "/scans/a.png", "truncated", "cut")
    pages = [
        {"data": [asdict(item)], "has_more": True, "next": "p.3.1"},
        {"data": [], "has_more": True, "next": "p.40.0"},
        {"data": [asdict(item)], "has_more": False, "next": None},
    ]
    server = serve(*(httpx.Response(200, json=page) for page in pages))

    found = list(server.client().job("night").failures("truncated"))

    assert found == [item, item]
    asked = [request.url.params.get("after") for request in server.requests]
    assert asked == [None, "p.3.1", "p.40.0"]
    assert all(request.url.params["code"] == "truncated" for request in server.requests)


def test_jobs_are_searched_by_words_and_state(serve: Serve) -> None:
    server = serve(httpx.Response(200, json={"data": [], "has_more": False}))

    assert list(server.client().jobs(q="scans 2026", state="attention")) == []
    params = server.requests[0].url.params
    assert (params["q"], params["state"]) == ("scans 2026", "attention")
