"""Uploads through real workers: docTR's own client example, and pages as a job reads them."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
from redis import Redis

from tests.integration.one_service.answers import pdf_of, refusal
from tests.integration.one_service.conftest import CropsOnAPage
from tests.integration.service import Service, lines, until
from trace_ocr import AsyncClient, Client, JobHandle, RecognitionLine

TYPES = {"letter.jpg": "image/jpeg", "ledger.pdf": "application/pdf", "receipt.png": "image/png"}
"""Sample pages of each type that is taken, and theirs."""

DEMO_DETECTION = {"detection_model": "linknet_resnet18"}


SCORE, GEOMETRY = 0.0051, 1e-6
"""What scores, rounded to two decimals, and geometries may differ by."""

SCORES = {"confidence", "detection_score"}


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each value of a line that holds no others, with the way to it."""
    if isinstance(value, dict | list):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, (*path, name))
    else:
        yield path, value


def test_doctrs_own_client_example_works_and_gives_the_strings_of_run(
    service: Service, source: Path, run: Path
) -> None:
    read = {str(line["id"]): line for line in lines((run / "results.jsonl").read_bytes())}
    names = sorted(read)[:6]
    files = [("files", (name, (source / name).read_bytes(), f"image/{_subtype(name)}")) for name in names]

    answer = requests.post(
        f"{service.url}/recognition",
        params={"reco_arch": "crnn_mobilenet_v3_small", "reco_bs": "4"},
        files=files,
        headers={"Authorization": f"Bearer {service.key}"},
        timeout=90,
    )

    assert answer.status_code == 200, answer.text
    assert answer.history == []
    assert answer.json() == [
        {
            "name": name,
            "value": read[name]["value"],
            "confidence": round(float(str(read[name]["confidence"])), 2),
        }
        for name in names
    ]


def _subtype(name: str) -> str:
    return "png" if name.endswith(".png") else "jpeg"


def test_regions_of_an_image_are_read_as_the_crops_that_they_are(
    client: Client, pasted: CropsOnAPage
) -> None:
    model = {"recognition_model": "crnn_mobilenet_v3_small"}
    boxes = [{"region": box, "name": name} for name, box in pasted.boxes.items()]
    outside = {"region": [[900, 0], [990, 0], [990, 9]], "name": "outside"}

    crops = client.recognition(pasted.crops, **model)
    regions = client.recognition([pasted.page], regions=[[*boxes, outside]], **model)
    padded = client.recognition([pasted.page], regions={"page.png": boxes}, padding=0.1, **model)

    *read, failed = regions
    assert [(one.region, one.value) for one in read] == [(one.name, one.value) for one in crops]
    assert {one.name for one in regions} == {"page.png"}
    assert (failed.region, failed.error and failed.error.code) == ("outside", "bad_region")
    assert [one.region for one in padded] == list(pasted.boxes)


def test_the_products_client_reads_files_under_the_contracts_names(
    client: Client, source: Path, run: Path
) -> None:
    read = {str(line["id"]): line["value"] for line in lines((run / "results.jsonl").read_bytes())}
    paths = sorted(source.iterdir())[:5]

    found = client.recognition(paths, recognition_model="crnn_mobilenet_v3_small", recognition_batch_size=2)

    assert [(one.name, one.value) for one in found] == [(path.name, read[path.name]) for path in paths]


def test_the_async_client_reads_files_and_jobs_as_the_blocking_one_does(
    service: Service, client: Client, night: JobHandle, source: Path
) -> None:
    crops = sorted(source.iterdir())[:3]

    async def asked() -> tuple[object, ...]:
        async with AsyncClient(service.url, service.key) as same:
            job = await same.submit(source, service.folder("night"), job_id="night", chunk_size=7)
            return (
                await same.recognition(crops),
                (await job.wait(timeout=60)).request_counts,
                [line async for line in job.results(RecognitionLine)],
                [line async for line in job.errors()],
                "night" in [found.id async for found in same.jobs(kind="recognition")],
            )

    assert asyncio.run(asked()) == (
        client.recognition(crops),
        night.status().request_counts,
        list(night.results(RecognitionLine)),
        list(night.errors()),
        True,
    )


def test_a_pdf_gives_one_element_per_page(client: Client) -> None:
    found = client.recognition([("two.pdf", pdf_of(2))])

    assert [one.name for one in found] == ["two.pdf", "two.pdf"]


def test_one_bad_file_is_named_and_no_other_is_answered(http_client: httpx.Client, samples: Path) -> None:
    crop = (samples / "crops/0000.png").read_bytes()
    good = ("files", ("good.png", crop, "image/png"))
    bad = ("files", ("bad.png", crop[:60], "image/png"))

    status, detail = refusal(http_client.post("/recognition/", files=[good, bad]))

    assert status == 400
    assert "bad.png" in detail


@pytest.mark.parametrize(
    ("kind", "key", "names"),
    [
        ("ocr", "pages", ["letter.jpg", "ledger.pdf", "receipt.png"]),
        ("detection", "bounding_boxes", ["receipt.png"]),
        ("kie", "extracted_fields", ["receipt.png"]),
    ],
    ids=["ocr", "detection", "kie"],
)
def test_pages_over_http_are_those_of_a_job_with_their_scores_rounded(
    kind: str,
    key: str,
    names: list[str],
    service: Service,
    client: Client,
    http_client: httpx.Client,
    samples: Path,
) -> None:
    # given a job over sample pages
    folder = service.folder()
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((samples / "pages" / name).read_bytes())
    job = client.submit(folder, service.folder(), kind=kind, **DEMO_DETECTION)
    job.wait(timeout=200)
    in_job: dict[tuple[str, int], Any] = {}
    for line in job.results():
        in_job[line["name"], line["page"]] = {name: one for name, one in line.items() if name != "id"}

    # when the same files are uploaded
    files = [("files", (name, (folder / name).read_bytes(), TYPES[name])) for name in names]
    answer = http_client.post(f"/{kind}/", params=DEMO_DETECTION, files=files)

    # then there is an element for each page, in the order of the files, and each is the job's line
    assert answer.status_code == 200, answer.text
    pages = {"ledger.pdf": 3}
    assert [page["name"] for page in answer.json()] == [
        name for name in names for _ in range(pages.get(name, 1))
    ]
    for page in answer.json():
        ours, theirs = dict(leaves(page)), dict(leaves(in_job[page["name"], page["page"]]))
        assert page[key]
        assert ours.keys() == theirs.keys()
        for path, value in ours.items():
            if path[-1] in SCORES and value is not None:
                assert (value, round(value, 2)) == (pytest.approx(theirs[path], abs=SCORE), value), path
            elif isinstance(value, float):
                assert value == pytest.approx(theirs[path], abs=GEOMETRY), path
            else:
                assert value == theirs[path], path
    # and the client gives them with types
    (page,) = getattr(client, kind)([folder / "receipt.png"], **DEMO_DETECTION)
    assert (page.name, page.page, len(getattr(page, key)) > 0) == ("receipt.png", 1, True)


def test_a_job_is_read_while_uploads_keep_coming_and_every_upload_is_answered(
    service: Service, client: Client, samples: Path
) -> None:
    crop, stop, answers = (samples / "crops/0000.png").read_bytes(), threading.Event(), list[int]()

    def keep_uploading() -> None:
        files = [("files", (f"{n}.png", crop, "image/png")) for n in range(32)]
        with service.http(service.key) as plain:
            while not stop.is_set():
                answers.append(plain.post("/recognition/", files=files).status_code)

    with ThreadPoolExecutor(6) as senders:
        for _ in range(6):
            senders.submit(keep_uploading)
        try:
            until(lambda: len(answers) > 12)
            done = client.submit(service.crops(29), service.folder(), chunk_size=3).wait(timeout=90)
        finally:
            stop.set()

    assert done.request_counts.completed == 29
    assert set(answers) == {200}


def test_an_upload_is_read_no_further_once_its_sender_is_gone(
    service: Service, http_client: httpx.Client
) -> None:
    broker, worker, parts = Redis.from_url(service.redis_url), service.processes[0], urlsplit(service.url)
    before = sum("uploads_abandoned" in line for line in worker.lines)
    request = http_client.build_request(
        "POST", "/ocr/", params=DEMO_DETECTION, files=[("files", ("long.pdf", pdf_of(60), "application/pdf"))]
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())

    # when its sender leaves after a worker has taken it: its key is empty then
    with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as connection:
        start = f"POST {request.url.raw_path.decode()} HTTP/1.1\r\n"
        connection.sendall(f"{start}{head}\r\n".encode() + request.read())
        until(lambda: [key for key in broker.scan_iter("trace-ocr:upload:*") if broker.get(key) == b""])

    worker.wait_for("uploads_abandoned", count=before + 1)
    assert list(broker.scan_iter("trace-ocr:upload:*")) == []


@pytest.mark.parametrize("kind", ["ocr", "detection", "kie"])
def test_pages_that_cannot_be_read_are_refused_by_name(
    kind: str, service: Service, strict: str, http_client: httpx.Client, samples: Path
) -> None:
    plain = service.http(service.key, strict)
    good = (samples / "pages/receipt.png").read_bytes()

    def refused(client: httpx.Client, name: str, data: bytes, media_type: str) -> tuple[int, Any]:
        files = [("files", (name, data, media_type))]
        return refusal(client.post(f"/{kind}/", params=DEMO_DETECTION, files=files))

    cut = refused(http_client, "cut.png", good[:1000], "image/png")
    long = refused(plain, "three.pdf", pdf_of(3), "application/pdf")
    garbage = refused(http_client, "garbage.pdf", b"%PDF-1.7 garbage", "application/pdf")
    text = refused(http_client, "notes.txt", b"text", "text/plain")

    assert (cut[0], "cut.png" in cut[1]) == (400, True)
    assert long[0] in (400, 413)
    assert "the limit is 2" in long[1]
    assert (garbage[0], "garbage.pdf" in garbage[1]) == (400, True)
    assert text == (400, "Unsupported file format: text/plain for file notes.txt")
