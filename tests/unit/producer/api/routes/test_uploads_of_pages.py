"""The endpoints of pages: the Trace OCR API's parameters, answers and errors."""

from typing import Any

import jsonschema
import msgspec
import pytest
from fastapi.testclient import TestClient

from contract.broker.uploads import Answer, Ticket, Upload
from contract.lines import (
    Block,
    DetectionLine,
    Estimate,
    Field,
    KieLine,
    OcrLine,
    PageText,
    ResultLine,
    TextLine,
    Word,
    encode_line,
)
from contract.settings import Settings
from producer.api.app import make_app
from producer.api.services import Services
from tests.unit.producer.api.conftest import KEY, READ_KEY, FakeWorkers

ROUTES = ("/ocr/", "/detection/", "/kie/")

PNG = ("page.png", b"\x89PNG", "image/png")
JPEG = ("page.jpg", b"\xff\xd8\xff", "image/jpeg")
PDF = ("scan.pdf", b"%PDF", "application/pdf")

BOX = (0.123456789, 0.25, 0.5, 0.987654321)
WORD = Word("Hello", BOX, 0.97531, 0.98765, Estimate(0, None))
NOTHING = Estimate()

WORD_OUT = {
    "value": "Hello",
    "geometry": list(BOX),
    "detection_score": 0.98,
    "confidence": 0.99,
    "text_orientation": {"value": 0, "confidence": None},
}
"""The word in HTTP answers: scores with two decimals, geometry with all of them."""

NOTHING_OUT = {"value": None, "confidence": None}


def ocr_page(page: int = 1) -> OcrLine:
    """A page of one word, turned and in English."""
    blocks = (Block(BOX, 0.97531, (TextLine(BOX, 0.97531, (WORD,)),)),)
    turned, language = Estimate(-2.504, 0.99123), Estimate("en", 0.87654)
    return OcrLine("0", "upload", page, turned, language, (297, 210), (PageText(blocks),))


def kie_page(page: int = 1) -> KieLine:
    """A page of one word in one class, without optional fields."""
    return KieLine("0", "upload", page, NOTHING, NOTHING, (297, 210), (Field("words", (WORD,)),))


def detection_page(page: int = 1) -> DetectionLine:
    """A page with one box."""
    return DetectionLine("0", "upload", page, (BOX,))


PAGES = {"/ocr/": ocr_page, "/detection/": detection_page, "/kie/": kie_page}


def answer_with(*pages: ResultLine) -> Any:
    """Return what makes the fake workers answer every upload with these pages."""
    lines = tuple(msgspec.Raw(encode_line(page)) for page in pages)
    return lambda upload: Answer(upload.ticket.id, lines)


def files(*parts: tuple[Any, ...]) -> list[tuple[str, tuple[Any, ...]]]:
    return [("files", part) for part in parts]


@pytest.fixture
def tickets(workers: FakeWorkers) -> list[Ticket]:
    """Given workers that answer every upload with a box; return the requests they got."""
    seen: list[Ticket] = []

    def answer(upload: Upload) -> Answer:
        seen.append(upload.ticket)
        return Answer(upload.ticket.id, (msgspec.Raw(encode_line(detection_page())),))

    workers.answer = answer
    return seen


@pytest.mark.usefixtures("a_worker_lives")
class TestShapes:
    def test_ocr_gives_blocks_of_lines_of_words_rounded_to_two_decimals_but_for_geometry(
        self, client: TestClient, workers: FakeWorkers
    ) -> None:
        workers.answer = answer_with(ocr_page())

        answer = client.post("/ocr/", files=files(PNG))

        assert answer.status_code == 200
        line = {"geometry": list(BOX), "detection_score": 0.98, "words": [WORD_OUT]}
        block = {"geometry": list(BOX), "detection_score": 0.98, "lines": [line]}
        assert answer.json() == [
            {
                "name": "page.png",
                "page": 1,
                "orientation": {"value": -2.504, "confidence": 0.99},
                "language": {"value": "en", "confidence": 0.88},
                "dimensions": [297, 210],
                "pages": [{"blocks": [block]}],
            }
        ]

    def test_detection_gives_boxes(self, client: TestClient, workers: FakeWorkers) -> None:
        workers.answer = answer_with(detection_page())

        answer = client.post("/detection/", files=files(PNG))

        assert answer.json() == [{"name": "page.png", "page": 1, "bounding_boxes": [list(BOX)]}]

    def test_kie_gives_fields_and_null_for_what_was_not_requested(
        self, client: TestClient, workers: FakeWorkers
    ) -> None:
        workers.answer = answer_with(kie_page())

        answer = client.post("/kie/", files=files(PNG))

        assert answer.json() == [
            {
                "name": "page.png",
                "page": 1,
                "orientation": NOTHING_OUT,
                "language": NOTHING_OUT,
                "dimensions": [297, 210],
                "extracted_fields": [{"field_type": "words", "values": [WORD_OUT]}],
            }
        ]

    @pytest.mark.parametrize("route", ROUTES)
    def test_a_page_without_words_is_still_an_element(
        self, route: str, client: TestClient, workers: FakeWorkers
    ) -> None:
        empty = {
            "/ocr/": OcrLine("0", "upload", 1, NOTHING, NOTHING, (9, 9), (PageText(()),)),
            "/detection/": DetectionLine("0", "upload", 1, ()),
            "/kie/": KieLine("0", "upload", 1, NOTHING, NOTHING, (9, 9), ()),
        }
        workers.answer = answer_with(empty[route])

        answer = client.post(route, files=files(PNG))

        assert (answer.status_code, len(answer.json())) == (200, 1)


@pytest.mark.usefixtures("a_worker_lives")
@pytest.mark.parametrize("route", ROUTES)
class TestAnswers:
    def test_one_element_per_page_in_the_order_of_the_files(
        self, route: str, client: TestClient, workers: FakeWorkers
    ) -> None:
        page = PAGES[route]
        one, three = answer_with(page()), answer_with(page(1), page(2), page(3))
        workers.answer = lambda upload: (three if upload.ticket.name == "scan.pdf" else one)(upload)

        answer = client.post(route, files=files(PNG, PDF, JPEG))

        assert [(one["name"], one["page"]) for one in answer.json()] == [
            ("page.png", 1),
            ("scan.pdf", 1),
            ("scan.pdf", 2),
            ("scan.pdf", 3),
            ("page.jpg", 1),
        ]

    def test_uploads_wait_for_the_kind_in_batches_of_pages(
        self, route: str, client: TestClient, workers: FakeWorkers, tickets: list[Ticket]
    ) -> None:
        client.post(route, params={"detection_batch_size": 2}, files=files(PNG, JPEG, PNG))

        assert workers.nudges == [{"kind": route.strip("/"), "batch_size": 2}] * 2
        assert [ticket.name for ticket in tickets] == ["page.png", "page.jpg", "page.png"]

    def test_workers_get_all_parameters_with_the_deployments_defaults(
        self, route: str, client: TestClient, api_settings: Settings, tickets: list[Ticket]
    ) -> None:
        asked = {"detection_model": "fast_tiny", "assume_straight_pages": False, "binary_threshold": 0.3}

        client.post(route, params=asked, files=files(PNG))

        kind: Any = route.strip("/")
        assert tickets[0].parameters == {**api_settings.parameters_of(kind).model_dump(), **asked}

    def test_pages_of_a_pdf_are_bounded_by_the_settings(
        self, route: str, client: TestClient, api_settings: Settings, tickets: list[Ticket]
    ) -> None:
        client.post(route, files=files(PDF))

        assert tickets[0].max_pages == api_settings.api_max_pages

    def test_a_file_without_a_type_is_known_by_its_first_bytes(
        self, route: str, client: TestClient, tickets: list[Ticket]
    ) -> None:
        untyped = "application/octet-stream"

        client.post(route, files=files(("page", b"\xff\xd8\xff"), ("page", b"%PDF-1.7", untyped)))

        assert [ticket.media_type for ticket in tickets] == ["image/jpeg", "application/pdf"]


@pytest.mark.usefixtures("a_worker_lives")
@pytest.mark.parametrize("route", ROUTES)
class TestRefusals:
    def test_an_unsupported_type_gets_the_trace_ocr_apis_message(
        self, route: str, client: TestClient
    ) -> None:
        answer = client.post(route, files=files(("a.tiff", b"II*\0", "image/tiff")))

        assert answer.status_code == 400
        assert answer.json() == {"detail": "Unsupported file format: image/tiff for file a.tiff"}

    @pytest.mark.parametrize(
        ("params", "allowed"),
        [
            ({"detection_model": "yolo"}, "db_resnet50"),
            ({"detection_batch_size": 0}, "greater than or equal to 1"),
            ({"detection_batch_size": 257}, "less than or equal to 256"),
            ({"binary_threshold": 1.5}, "less than or equal to 1"),
            ({"box_threshold": -0.1}, "greater than or equal to 0"),
            ({"binary_threshold": "nan"}, "finite number"),
            ({"assume_straight_pages": "perhaps"}, "valid boolean"),
            ({"pdf_resolution": 1201}, "less than or equal to 1200"),
        ],
    )
    def test_an_invalid_value_is_named_with_what_is_allowed(
        self, params: dict[str, Any], allowed: str, route: str, client: TestClient
    ) -> None:
        answer = client.post(route, params=params, files=files(PNG))

        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["query", *params]
        assert allowed in problem["msg"]

    def test_a_parameter_of_no_kind(self, route: str, client: TestClient) -> None:
        answer = client.post(route, params={"colour": "red"}, files=files(PNG))

        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "colour"])

    def test_no_file(self, route: str, client: TestClient) -> None:
        assert client.post(route).status_code == 422

    def test_too_many_files(self, route: str, client: TestClient, api_settings: Settings) -> None:
        answer = client.post(route, files=files(*[PNG] * (api_settings.api_max_files + 1)))

        assert answer.status_code == 413
        assert "more than 3 files" in answer.json()["detail"]

    def test_a_body_that_is_too_large(self, route: str, client: TestClient) -> None:
        answer = client.post(route, files=files(("a.png", b"x" * 20_000, "image/png")))

        assert answer.status_code == 413

    def test_a_file_that_is_too_large(self, route: str, services: Services, api_settings: Settings) -> None:
        strict = Services(api_settings.model_copy(update={"max_bytes": 1_000}), services.keyring)
        header = {"Authorization": f"Bearer {KEY}"}

        with TestClient(make_app(strict), headers=header) as client:
            answer = client.post(route, files=files(("a.png", b"x" * 1_001, "image/png")))

        assert (answer.status_code, answer.json()["detail"]) == (413, "a.png is larger than 1,000 bytes")

    @pytest.mark.parametrize(
        ("error", "fault", "status"),
        [
            ("page.png: 200,000,000 pixels are more than 100,000,000", "upload", 400),
            ("the detection model cannot be loaded", "server", 503),
        ],
    )
    def test_a_workers_error_is_shown_and_its_cause_decides_the_status(
        self, error: str, fault: Any, status: int, route: str, client: TestClient, workers: FakeWorkers
    ) -> None:
        workers.answer = lambda upload: Answer(upload.ticket.id, error=error, fault=fault)

        answer = client.post(route, files=files(PNG))

        assert (answer.status_code, answer.json()["detail"]) == (status, error)

    def test_one_bad_file_refuses_the_request(
        self, route: str, client: TestClient, workers: FakeWorkers
    ) -> None:
        good = answer_with(PAGES[route]())
        workers.answer = lambda upload: (
            Answer(upload.ticket.id, error="page.jpg: cut off", fault="upload")
            if upload.ticket.name == "page.jpg"
            else good(upload)
        )

        answer = client.post(route, files=files(PNG, JPEG))

        assert (answer.status_code, answer.json()) == (400, {"detail": "page.jpg: cut off"})

    def test_a_full_queue_of_any_kind(
        self, route: str, client: TestClient, services: Services, api_settings: Settings
    ) -> None:
        waiting = [
            Upload(Ticket(f"{n:032x}", "a" * 32, "x", "image/png", 2e9, 1), b"x")
            for n in range(api_settings.api_queue_limit)
        ]
        services.uploads.send("recognition", waiting[:2])
        services.uploads.send("kie", waiting[2:])

        answer = client.post(route, files=files(PNG))

        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")

    def test_no_answer_in_time(
        self, route: str, client: TestClient, services: Services, workers: FakeWorkers
    ) -> None:
        services.desk.settings = services.settings.model_copy(update={"api_request_seconds": 0.05})
        workers.answer = lambda _: None

        assert client.post(route, files=files(PNG)).status_code == 504

    def test_without_a_key(self, route: str, anyone: TestClient, workers: FakeWorkers) -> None:
        answer = anyone.post(route, files=files(PNG))

        assert answer.status_code == 401
        assert workers.nudges == []

    def test_a_key_that_may_only_read(self, route: str, anyone: TestClient, workers: FakeWorkers) -> None:
        header = {"Authorization": f"Bearer {READ_KEY}"}

        assert anyone.post(route, files=files(PNG), headers=header).status_code == 403
        assert workers.nudges == []


@pytest.mark.usefixtures("a_worker_lives")
class TestKinds:
    @pytest.mark.parametrize(
        ("route", "strange"),
        [
            ("/kie/", "group_lines"),
            ("/kie/", "paragraph_break"),
            ("/detection/", "recognition_model"),
            ("/detection/", "detect_language"),
            ("/detection/", "group_blocks"),
        ],
    )
    def test_a_parameter_of_another_kind_is_refused(
        self, route: str, strange: str, client: TestClient
    ) -> None:
        answer = client.post(route, params={strange: "1"}, files=files(PNG))

        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", strange])

    @pytest.mark.parametrize("route", ["/ocr/", "/kie/"])
    def test_both_models_are_checked(self, route: str, client: TestClient) -> None:
        answer = client.post(route, params={"recognition_model": "tesseract"}, files=files(PNG))

        assert answer.status_code == 422
        assert "crnn_vgg16_bn" in answer.json()["detail"][0]["msg"]

    @pytest.mark.parametrize("route", ROUTES)
    def test_the_description_names_each_parameter_of_its_kind_and_requires_none(
        self, route: str, anyone: TestClient, api_settings: Settings
    ) -> None:
        described = anyone.get("/openapi.json").json()["paths"][route]["post"]["parameters"]

        kind: Any = route.strip("/")
        assert {one["name"] for one in described} == set(api_settings.parameters_of(kind).model_dump())
        assert not any(one["required"] for one in described)
        assert all(one["description"] for one in described)


@pytest.mark.usefixtures("a_worker_lives")
@pytest.mark.parametrize("route", ROUTES)
def test_the_description_gives_an_answers_shape(route: str, client: TestClient, workers: FakeWorkers) -> None:
    workers.answer = answer_with(PAGES[route]())

    (page,) = client.post(route, files=files(PNG)).json()
    answers = client.get("/openapi.json").json()["paths"][route]["post"]["responses"]["200"]

    shape = answers["content"]["application/json"]["schema"]["items"]
    jsonschema.validate(page, shape)
    assert set(shape["required"]) == set(page)


@pytest.mark.parametrize("route", ROUTES)
def test_no_worker(route: str, client: TestClient) -> None:
    answer = client.post(route, files=files(PNG))

    assert answer.status_code == 503
    assert "retry-after" in answer.headers
