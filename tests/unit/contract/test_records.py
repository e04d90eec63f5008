"""Lines and messages: one record to a line, and nothing malformed gets through."""

from typing import Any

import msgspec
import pytest

from contract.errors import ErrorCode, MessageError
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.records import ChunkMessage, Item, decode_item, failure_of, parse_message

MESSAGE = {"job": "crops-1", "workspace": "/data/out", "chunk": 17}


@pytest.mark.parametrize(
    "name", ["a.png", "-a b.png", "zwei\nZeilen.png", "50%.png", "画像.png", '"quoted".png']
)
def test_an_item_is_one_line_for_any_name(name: str) -> None:
    item = Item(id=name, uri=f"/crops/{name}", label="x")

    line = encode_line(item)

    assert line.count(b"\n") == 1
    assert decode_item(line) == item


def test_a_result_has_the_shape_of_the_contract() -> None:
    line = encode_line(RecognitionLine(id="a/b.png", name="b.png", value="2016", confidence=1.0))

    assert line == b'{"id":"a/b.png","name":"b.png","value":"2016","confidence":1.0}\n'


def test_an_error_line_has_the_shape_of_the_design() -> None:
    failure = Failure(ErrorCode.EMPTY_FILE, "a.png holds no bytes")

    line = encode_line(ErrorLine(id="a.png", uri="/crops/a.png", error=failure, attempts=1))

    assert line == (
        b'{"id":"a.png","uri":"/crops/a.png",'
        b'"error":{"code":"empty_file","message":"a.png holds no bytes"},"attempts":1}\n'
    )


@pytest.mark.parametrize(
    "line",
    [b'{"id":"a.png"}', b'{"id":"","uri":"/a"}', b'{"id":"%s","uri":"/a"}' % (b"x" * 4372), b"[]", b""],
)
def test_a_line_that_is_no_item_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_item(line)


def test_a_result_is_no_failure() -> None:
    assert failure_of(encode_line(RecognitionLine("a", "a", "2016", 0.5))) is None


def test_the_failure_of_an_error_line_is_found() -> None:
    failure = Failure(ErrorCode.TRUNCATED, "cut short")

    assert failure_of(encode_line(ErrorLine("a", "/a", failure, 2))) == failure


def test_codes_are_a_closed_list() -> None:
    with pytest.raises(msgspec.ValidationError):
        failure_of(b'{"id":"a","error":{"code":"bad_luck","message":""}}')


def test_a_message_names_its_chunk() -> None:
    assert parse_message(MESSAGE, ChunkMessage) == ChunkMessage("crops-1", "/data/out", 17)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        None,
        "crops-1",
        {**MESSAGE, "chunk": -1},
        {**MESSAGE, "chunk": 100_000_000},
        {**MESSAGE, "chunk": "17"},
        {**MESSAGE, "job": "../../etc"},
        {**MESSAGE, "workspace": ""},
        {**MESSAGE, "workspace": "x" * 4097},
        {**MESSAGE, "command": "rm"},
    ],
)
def test_a_message_that_is_no_chunk_message_is_dropped(payload: Any) -> None:
    with pytest.raises(MessageError, match="dropped"):
        parse_message(payload, ChunkMessage)


def test_metadata_is_written_and_read_byte_by_byte() -> None:
    item = Item("a", "/a.png", metadata=msgspec.Raw(b'{"page": 1}'))

    assert decode_item(msgspec.json.encode(item)).metadata == msgspec.Raw(b'{"page": 1}')
