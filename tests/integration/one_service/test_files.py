"""The files of a job over HTTP: compressed, beside their images, and over a network that breaks off."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.integration.service import Service, lines
from trace_ocr import Client, JobHandle


def test_results_are_compressed_for_those_who_accept_it_and_never_in_ranges(
    night: JobHandle, run: Path, http_client: httpx.Client
) -> None:
    whole = (run / "results.jsonl").read_bytes()
    packed = {"Accept-Encoding": "gzip"}

    with http_client.stream("GET", "/jobs/night/results", headers=packed) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(b"".join(answer.iter_raw())) == whole
    part = http_client.get("/jobs/night/results", headers={**packed, "Range": "bytes=3-2000"})
    plain = http_client.get("/jobs/night/results", headers={"Accept-Encoding": "identity"})

    assert part.headers.get("Content-Encoding", "identity") == "identity"
    assert part.content == whole[3:2001]
    assert "Content-Encoding" not in plain.headers
    assert plain.content == whole


def test_samples_show_crops_beside_their_text(
    night: JobHandle, http_client: httpx.Client, source: Path
) -> None:
    data = http_client.get("/jobs/night/samples", params={"count": 3}).json()["data"]
    read = {line["id"]: line for line in night.results()}

    assert 0 < len(data) <= 3
    for sample in data:
        assert sample["value"] == read[sample["id"]]["value"]
        image = http_client.get(sample["image"])
        assert image.content == (source / sample["id"]).read_bytes()
        assert image.headers["Content-Type"] in ("image/png", "image/jpeg")
        assert image.headers["X-Content-Type-Options"] == "nosniff"


class CuttingTransport(httpx.HTTPTransport):
    """A network that breaks each answer off after some bytes, once in the middle and once at the end."""

    def __init__(self, *cuts: int) -> None:
        super().__init__()
        self.cuts = list(cuts)
        self.statuses: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        self.statuses.append(answer.status_code)
        if self.cuts:
            assert isinstance(answer.stream, httpx.SyncByteStream)
            answer.stream = CutStream(answer.stream, self.cuts.pop(0))
        return answer


class CutStream(httpx.SyncByteStream):
    """The beginning of another stream, then a broken connection."""

    def __init__(self, stream: httpx.SyncByteStream, cut: int) -> None:
        self.stream, self.cut = stream, cut

    def __iter__(self) -> Iterator[bytes]:
        left = self.cut
        for data in self.stream:
            yield data[:left]
            left -= len(data)
            if left <= 0:
                break
        raise httpx.ReadError("broken off")

    def close(self) -> None:
        self.stream.close()


def test_results_are_whole_over_a_network_that_breaks_off(
    service: Service, night: JobHandle, run: Path
) -> None:
    whole = (run / "results.jsonl").read_bytes()
    transport = CuttingTransport(400, 300, 0, len(whole))

    with Client(service.url, service.key, transport=transport, sleep=lambda seconds: None) as client:
        results = list(client.job("night").results())

    assert results == lines(whole)
    assert transport.statuses[0] == 200
    assert set(transport.statuses[1:-1]) == {206}
    assert transport.statuses[-1] in (206, 416)
