"""The recognition endpoint: the Trace OCR API's parameters, answers and errors."""

import io
import json
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from contract.broker.uploads import Answer, Ticket, Upload
from contract.errors import ErrorCode
from contract.kinds.recognition import RecognitionParameters
from contract.lines import ErrorLine, Failure, encode_line
from contract.settings import Settings
from producer.api.services import Services
from tests.unit.producer.api.conftest import READ_KEY, FakeWorkers, process, reading

PNG = ("crop.png", b"2016", "image/png")
PDF = ("d.pdf", b"%PDF", "application/pdf")


def pdf_of(pages: int) -> bytes:
    page, buffer = Image.new("L", (10, 10)), io.BytesIO()
    page.save(buffer, "PDF", save_all=True, append_images=[page] * (pages - 1))
    return buffer.getvalue()


def files(*parts: tuple[Any, ...]) -> list[tuple[str, tuple[Any, ...]]]:
    return [("files", part) for part in parts]


@pytest.mark.usefixtures("a_worker_lives")
class TestAnswers:
    def test_one_element_per_file_in_order_rounded_to_two_decimals(self, client: TestClient) -> None:
        answer = client.post("/recognition/", files=files(PNG, ("b.jpg", b"Hello", "image/jpeg")))

        assert answer.status_code == 200
        assert answer.json() == [
            {"name": "crop.png", "value": "2016", "confidence": 0.99},
            {"name": "b.jpg", "value": "Hello", "confidence": 0.99},
        ]

    def test_a_pdf_has_one_element_per_page(self, client: TestClient, workers: FakeWorkers) -> None:
        pages = (reading("one", 1.0), reading("two", 0.5))
        workers.answer = lambda upload: Answer(upload.ticket.id, pages)

        answer = client.post("/recognition/", files=files(("d.pdf", b"%PDF", "application/pdf")))

        assert [(one["name"], one["value"]) for one in answer.json()] == [("d.pdf", "one"), ("d.pdf", "two")]

    def test_regions_are_sent_with_their_files_and_answered_in_order_by_name(
        self, client: TestClient, workers: FakeWorkers
    ) -> None:
        # given a worker that finds the second region outside its image
        def answered(upload: Upload) -> Answer:
            failure = Failure(ErrorCode.BAD_REGION, "it lies outside the page")
            failed = msgspec.Raw(encode_line(ErrorLine("0", "0/crop", failure, 1)))
            lines = [reading(str(region.points), 1.0) for region in upload.ticket.regions or ()]
            return Answer(upload.ticket.id, tuple(lines[:1] + [failed] * (len(lines) > 1)))

        workers.answer = answered
        polygon = {"region": [[0, 0], [9, 0], [9, 9]], "unit": "px", "name": "total"}
        regions = [[[1, 2, 3, 4], polygon], [{"region": [0, 0, 0.5, 1], "unit": "rel"}]]

        answer = client.post(
            "/recognition/",
            files=files(PNG, ("b.png", b"b", "image/png")),
            data={"regions": json.dumps(regions)},
        )

        assert answer.json() == [
            {"name": "crop.png", "region": "1", "value": "(1.0, 2.0, 3.0, 4.0)", "confidence": 1.0},
            {
                "name": "crop.png",
                "region": "total",
                "error": {"code": "bad_region", "message": "it lies outside the page"},
            },
            {"name": "b.png", "region": "1", "value": "(0.0, 0.0, 0.5, 1.0)", "confidence": 1.0},
        ]

    def test_regions_by_file_name_leave_other_files_whole(
        self, client: TestClient, workers: FakeWorkers
    ) -> None:
        regions = json.dumps({"b.png": [{"region": [1, float("nan"), 3, 4]}]})

        answer = client.post(
            "/recognition/", files=files(PNG, ("b.png", b"b", "image/png")), data={"regions": regions}
        )

        assert [one.get("region") for one in answer.json()] == [None, "1"]
        whole, parts = (upload.ticket.regions for upload in workers.uploads_read)
        assert whole is None
        assert [region.fault for region in parts or ()] == ["the coordinates of a region are finite numbers"]

    def test_an_image_without_a_region_has_no_element(self, client: TestClient, workers: FakeWorkers) -> None:
        workers.answer = lambda upload: Answer(upload.ticket.id)

        assert client.post("/recognition/", files=files(PNG), data={"regions": "[[]]"}).json() == []

    @pytest.mark.parametrize(
        "names", [("recognition_model", "recognition_batch_size"), ("reco_arch", "reco_bs")]
    )
    def test_parameters_have_the_trace_ocr_apis_names_and_doctrs(
        self, names: tuple[str, str], client: TestClient, workers: FakeWorkers
    ) -> None:
        client.post("/recognition/", params=dict(zip(names, ("parseq", 2), strict=True)), files=files(PNG))

        assert workers.nudges == [{"kind": "recognition", "batch_size": 2}]
        (upload,) = workers.uploads_read
        given = {"recognition_model": "parseq", "recognition_batch_size": 2}
        assert upload.ticket.parameters == RecognitionParameters(**given).model_dump()

    def test_defaults_are_the_deployments(
        self, client: TestClient, workers: FakeWorkers, api_settings: Settings
    ) -> None:
        client.post("/recognition/", files=files(PNG))

        (upload,) = workers.uploads_read
        assert upload.ticket.parameters == api_settings.parameters_of("recognition").model_dump()

    def test_as_many_nudges_as_batches(self, client: TestClient, workers: FakeWorkers) -> None:
        client.post("/recognition/", params={"recognition_batch_size": 2}, files=files(PNG, PNG, PNG))

        assert len(workers.nudges) == 2

    @pytest.mark.parametrize("media_type", [None, "application/octet-stream"])
    def test_a_file_without_a_type_is_known_by_its_first_bytes(
        self, media_type: str | None, client: TestClient
    ) -> None:
        part = ("crop", b"\x89PNG...", media_type) if media_type else ("crop", b"\x89PNG...")

        assert client.post("/recognition/", files=files(part)).status_code == 200


@pytest.mark.usefixtures("a_worker_lives")
class TestRefusals:
    def test_an_unsupported_type_gets_the_trace_ocr_apis_message(self, client: TestClient) -> None:
        answer = client.post("/recognition/", files=files(("a.gif", b"GIF8", "image/gif")))

        assert answer.status_code == 400
        assert answer.json() == {"detail": "Unsupported file format: image/gif for file a.gif"}

    @pytest.mark.parametrize(
        "params",
        [
            {"recognition_model": "tesseract"},
            {"recognition_batch_size": 0},
            {"language": "en"},
            {"reco_bs": "x"},
        ],
    )
    def test_an_invalid_parameter(self, params: dict[str, Any], client: TestClient) -> None:
        assert client.post("/recognition/", params=params, files=files(PNG)).status_code == 422

    @pytest.mark.parametrize(
        ("regions", "status", "said"),
        [
            ("[[1, 2", 400, "regions: it is not JSON"),
            ("[" * 9_000, 400, "regions: it is not JSON"),
            ("7", 400, "regions: give a list with a list of regions for each file, or an object"),
            ("[]", 400, "the list has 0 entries for 1 file"),
            ("[7]", 400, "what is given for crop.png is no list of regions"),
            ("[[1, 2, 3, 4]]", 400, "region 1 of crop.png is '1', no list and no object"),
            ('{"other.png": []}', 400, "no file is named 'other.png'"),
            ('[[{"box": [1, 2, 3, 4]}]]', 400, "region 1 of crop.png has an unknown field 'box'"),
            ('[[{"region": [1, 2, 3, 4], "name": ""}]]', 400, "the name of region 1 of crop.png"),
            (f'[[{{"region": [1, 2, 3, 4], "name": "{"x" * 257}"}}]]', 400, "no text of 1 to 256 characters"),
            (f"[[{', '.join(['[1, 2, 3, 4]'] * 9)}]]", 413, "there are 9, the limit is 8"),
        ],
    )
    def test_regions_that_cannot_be_used(
        self, regions: str, status: int, said: str, client: TestClient, api_settings: Settings
    ) -> None:
        api_settings.__dict__["api_max_regions"] = 8

        answer = client.post("/recognition/", files=files(PNG), data={"regions": regions})

        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text

    def test_regions_of_files_with_one_name_and_of_pdfs(self, client: TestClient) -> None:
        for parts, said in (((PNG, PNG), "several files are named 'crop.png'"), ((PDF,), "is a PDF")):
            answer = client.post(
                "/recognition/", files=files(*parts), data={"regions": f'{{"{parts[0][0]}": []}}'}
            )

            assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.text

    def test_regions_that_an_older_worker_did_not_see(self, client: TestClient) -> None:
        answer = client.post(
            "/recognition/", files=files(PNG), data={"regions": "[[[1, 2, 3, 4], [1, 2, 3, 4]]]"}
        )

        assert answer.status_code == 503
        assert "answered 1 of 2 regions of crop.png" in answer.json()["detail"]

    def test_no_file(self, client: TestClient) -> None:
        assert client.post("/recognition/").status_code == 422

    def test_too_many_files(self, client: TestClient, api_settings: Settings) -> None:
        many = files(*[PNG] * (api_settings.api_max_files + 1))

        assert client.post("/recognition/", files=many).status_code == 413

    def test_a_body_that_is_too_large_is_refused_by_its_length(self, client: TestClient) -> None:
        answer = client.post("/recognition/", files=files(("a.png", b"x" * 20_000, "image/png")))

        assert answer.status_code == 413

    def test_a_body_without_a_length_is_counted(self, client: TestClient) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        header = {"Content-Type": "multipart/form-data; boundary=b"}

        answer = client.post("/recognition/", content=iter([head, *[b"x" * 1_000] * 20]), headers=header)

        assert answer.status_code == 413

    @pytest.mark.parametrize(("fault", "status"), [("upload", 400), ("server", 503)])
    def test_the_cause_of_a_failure_decides_the_status(
        self, fault: Any, status: int, client: TestClient, workers: FakeWorkers
    ) -> None:
        workers.answer = lambda upload: Answer(upload.ticket.id, error="crop.png: cut off", fault=fault)

        answer = client.post("/recognition/", files=files(PNG))

        assert (answer.status_code, answer.json()["detail"]) == (status, "crop.png: cut off")

    def test_a_full_queue(self, client: TestClient, services: Services, api_settings: Settings) -> None:
        waiting = [
            Upload(Ticket(f"{n:032x}", "a" * 32, "x", "image/png", 2e9, 1), b"x")
            for n in range(api_settings.api_queue_limit)
        ]
        services.uploads.send("ocr", waiting)

        answer = client.post("/recognition/", files=files(PNG))

        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")

    def test_more_pixels_than_one_request_may_have(
        self, client: TestClient, services: Services, workers: FakeWorkers
    ) -> None:
        services.settings.__dict__["api_max_pixels"] = 300
        image = io.BytesIO()
        Image.new("L", (16, 10)).save(image, "PNG")
        one = ("a.png", image.getvalue(), "image/png")

        answer = client.post("/recognition/", files=files(one, one))

        assert answer.status_code == 413
        assert "320 pixels, the limit is 300" in answer.json()["detail"]
        assert client.post("/recognition/", files=files(one)).status_code == 200
        assert len(workers.uploads_read) == 1

    def test_more_pages_than_one_request_may_have(
        self, client: TestClient, services: Services, workers: FakeWorkers
    ) -> None:
        services.settings.__dict__["api_max_pages"] = 3
        two = ("two.pdf", pdf_of(2), "application/pdf")
        damaged = ("cut.pdf", b"%PDF-1.7 cut", "application/pdf")

        answer = client.post("/recognition/", files=files(two, two))

        assert answer.status_code == 413
        assert "4 pages, the limit is 3" in answer.json()["detail"]
        # what cannot be counted is for the worker to refuse, with its reason
        assert client.post("/recognition/", files=files(two, damaged)).status_code == 200
        services.page_counter.close()

    @pytest.mark.parametrize(
        "line", [b"1", b"{}", b'{"id": "0", "name": "x", "value": 1, "confidence": "x"}']
    )
    def test_a_damaged_answer_is_the_services_fault(
        self, line: bytes, client: TestClient, workers: FakeWorkers
    ) -> None:
        workers.answer = lambda upload: Answer(upload.ticket.id, (msgspec.Raw(line),))

        answer = client.post("/recognition/", files=files(PNG))

        assert answer.status_code == 503
        assert "crop.png is damaged" in answer.json()["detail"]

    def test_no_answer_in_time(self, client: TestClient, services: Services, workers: FakeWorkers) -> None:
        services.desk.settings = services.settings.model_copy(update={"api_request_seconds": 0.05})
        workers.answer = lambda _: None

        assert client.post("/recognition/", files=files(PNG)).status_code == 504

    @pytest.mark.parametrize(("idle", "said"), [(False, "every worker is still loading master"), (True, "")])
    def test_no_answer_in_time_because_all_workers_load_their_models(
        self, idle: bool, said: str, client: TestClient, services: Services, workers: FakeWorkers
    ) -> None:
        # given workers that load, and perhaps one that could have read the upload
        services.desk.settings = services.settings.model_copy(update={"api_request_seconds": 0.05})
        workers.answer = lambda _: None
        names = ("gpu0@here", "gpu1@here")
        for report in services.reports.live("worker"):
            services.reports.forget(report)
        for name, activity in zip(names, ("loading master", "" if idle else "loading master"), strict=True):
            services.reports.write(msgspec.structs.replace(process("worker", name), activity=activity))

        answer = client.post("/recognition/", files=files(PNG))

        assert answer.status_code == 504
        assert answer.json()["detail"].endswith(said or "submit the files as a job")

    def test_a_key_that_may_only_read(self, anyone: TestClient) -> None:
        header = {"Authorization": f"Bearer {READ_KEY}"}

        assert anyone.post("/recognition/", files=files(PNG), headers=header).status_code == 403


def test_no_worker(client: TestClient) -> None:
    answer = client.post("/recognition/", files=files(PNG))

    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_other_origins_are_not_allowed_by_default(client: TestClient) -> None:
    answer = client.get("/version", headers={"Origin": "https://elsewhere.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]
