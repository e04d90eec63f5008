"""Uploads over the client: what is sent of a file, and results in the shapes of the Trace OCR API."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from contract.kinds import KINDS
from tests.unit.trace_ocr.server import URL, Serve
from trace_ocr import (
    CompareResult,
    DetectionResult,
    KieResult,
    OcrResult,
    RecognitionResult,
    UnexpectedAnswerError,
)

RESULTS: dict[str, type[msgspec.Struct]] = {
    "recognition": RecognitionResult,
    "ocr": OcrResult,
    "detection": DetectionResult,
    "kie": KieResult,
    "compare": CompareResult,
}

NONE = {"value": None, "confidence": None}
BOX = [0.1, 0.2, 0.3, 0.4]
WORD = {
    "value": "INVOICE",
    "geometry": BOX,
    "detection_score": 0.9,
    "confidence": 0.8,
    "text_orientation": {"value": 0, "confidence": None},
}
PAGE = {"name": "a.pdf", "page": 2, "orientation": NONE, "language": NONE, "dimensions": [1024, 724]}
TEXT = {"geometry": BOX, "detection_score": 0.9, "words": [WORD]}
ANSWERS: dict[str, dict[str, Any]] = {
    "recognition": {"name": "a.png", "value": "2016", "confidence": 1.0},
    "ocr": {**PAGE, "pages": [{"blocks": [{"geometry": BOX, "detection_score": 0.9, "lines": [TEXT]}]}]},
    "detection": {"name": "a.pdf", "page": 1, "bounding_boxes": [BOX, [0.0] * 8], "note": "one frame of 2"},
    "kie": {**PAGE, "extracted_fields": [{"field_type": "words", "values": [WORD]}]},
    "compare": {"name": "a.png", "readings": [{"model": "parseq", "value": "2016", "confidence": 1.0}]},
}
"""One element of each answer, as the API gives it."""


def test_recognition_sends_files_with_names_and_media_types_and_returns_the_array(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "a.PNG").write_bytes(b"png bytes")
    server = serve(httpx.Response(200, json=[{"name": "a.PNG", "value": "2016", "confidence": 1.0}]))
    files = [tmp_path / "a.PNG", ("b.jpg", b"jpg bytes"), ("c", b"pdf bytes", "application/pdf")]

    found = server.client().recognition(files, recognition_model="parseq", recognition_batch_size=8)

    assert found == [RecognitionResult("a.PNG", "2016", 1.0)]
    request = server.requests[0]
    assert str(request.url) == f"{URL}/recognition/?recognition_model=parseq&recognition_batch_size=8"
    assert request.content.count(b'name="files"') == 3
    for name, kind, data in (
        (b"a.PNG", b"image/png", b"png bytes"),
        (b"b.jpg", b"image/jpeg", b"jpg bytes"),
        (b"c", b"application/pdf", b"pdf bytes"),
    ):
        part = b'filename="' + name + b'"\r\nContent-Type: ' + kind + b"\r\n\r\n" + data
        assert part in request.content


@pytest.mark.parametrize("kind", RESULTS)
def test_each_kind_has_a_method_whose_results_hold_what_the_api_answers(kind: str, serve: Serve) -> None:
    server = serve(httpx.Response(200, json=[{**ANSWERS[kind], "of_a_newer_server": 1}]))

    (found,) = getattr(server.client(), kind)([("a.pdf", b"%PDF")], detection_model="fast_tiny", exports=None)

    assert server.requests[0].url == f"{URL}/{kind}/?detection_model=fast_tiny"
    assert type(found) is RESULTS[kind]
    held = msgspec.to_builtins(found)
    assert {name: value for name, value in held.items() if value is not None} == _tuples(ANSWERS[kind])


def test_a_kind_that_the_client_has_no_method_for_is_uploaded_by_its_name(serve: Serve) -> None:
    server = serve(httpx.Response(200, json=[{"name": "a.png", "values": {"parseq": "2016"}}]))

    found = server.client().upload("compare", [("a.png", b"png")], dict, kind="x")

    assert found == [{"name": "a.png", "values": {"parseq": "2016"}}]
    assert server.requests[0].url == f"{URL}/compare/?kind=x"


def test_results_have_the_fields_of_the_kinds_lines_that_answers_do_not_leave_out() -> None:
    for kind, result in RESULTS.items():
        lines = {one.name: one.type for one in msgspec.structs.fields(KINDS[kind].line)}
        answered = {name: sort for name, sort in lines.items() if name not in KINDS[kind].unanswered}

        fields = {one.name: one.type for one in msgspec.structs.fields(result)}
        # Kinds of crops also have the error of a region that its image does not have.
        assert {name: sort for name, sort in fields.items() if name != "error"} == answered


@pytest.mark.parametrize("kind", ["recognition", "compare"])
def test_regions_are_sent_as_json_and_answered_by_name_or_with_their_error(kind: str, serve: Serve) -> None:
    error = {"code": "bad_region", "message": "it lies outside the page"}
    answers = [
        {**ANSWERS[kind], "region": "date", "angle": 90},
        {"name": "a.png", "region": "2", "error": error},
    ]
    server = serve(httpx.Response(200, json=answers))
    regions = [[{"region": np.array([1, 2, 3, 4]), "name": "date"}, [np.float32(0.5), 2, 3, 4]], None]

    read, failed = getattr(server.client(), kind)([("a.png", b"png"), ("b.png", b"png")], regions=regions)

    sent = b'name="regions"\r\n\r\n[[{"region":[1,2,3,4],"name":"date"},[0.5,2,3,4]],null]\r\n'
    assert sent in server.requests[0].content
    assert (read.region, read.angle, read.error) == ("date", 90, None)
    assert (failed.region, failed.error.code) == ("2", "bad_region")


def test_an_answer_of_another_shape_is_an_error_of_the_api(serve: Serve) -> None:
    with pytest.raises(UnexpectedAnswerError, match="unexpected answer"):
        serve(httpx.Response(200, json=[{"name": "a.png"}])).client().ocr([("a.png", b"png")])


def test_a_file_that_cannot_be_read_is_not_sent(serve: Serve, tmp_path: Path) -> None:
    server = serve(httpx.Response(200, json=[]))

    with pytest.raises(FileNotFoundError):
        server.client().recognition([tmp_path / "missing.png"])

    assert server.requests == []


def _tuples(value: Any) -> Any:
    """Return JSON as the structs hold it: without what is None at the top, and arrays as tuples."""
    if isinstance(value, dict):
        return {name: _tuples(one) for name, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
