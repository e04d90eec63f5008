"""Webhooks against receivers that behave and receivers that do not."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from contract.errors import SettingsError
from contract.settings import Settings
from producer.notify import webhook
from producer.notify.base import DeliveryError, Message, ReceiverGoneError
from producer.notify.webhook import CHANNEL
from tests.unit.producer.notify.conftest import SECRET, Receiver, status


@pytest.fixture
def message() -> Message:
    return Message("msg_1", time.time(), b'{"type":"job.completed"}', "title", "text")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "SECONDS", 0.5)


def test_a_receiver_can_verify_what_it_gets_with_the_library(
    receiver: Receiver, sending: Settings, message: Message
) -> None:
    CHANNEL.send(receiver.url, message, sending)

    ((headers, body),) = receiver.requests
    assert Webhook(SECRET).verify(body, headers) == {"type": "job.completed"}
    assert headers["webhook-id"] == "msg_1"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)


def test_while_secrets_are_exchanged_either_verifies(
    receiver: Receiver, sending: Settings, message: Message
) -> None:
    other = "whsec_" + "QUJD" * 8
    both = sending.model_copy(update={"notify_secret": type(sending.notify_secret)(f"{other}, {SECRET}")})  # type: ignore[misc]

    CHANNEL.send(receiver.url, message, both)

    ((headers, body),) = receiver.requests
    for secret in (SECRET, other):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("secret", ["whsec_%%%", "not base64 !"])
def test_a_secret_that_cannot_be_one_is_not_repeated(
    secret: str, message: Message, receiver: Receiver
) -> None:
    with pytest.raises(SettingsError) as raised:
        CHANNEL.send(receiver.url, message, Settings(notify_secret=secret, notify_networks=("127.0.0.0/8",)))

    assert secret not in str(raised.value)


def test_nothing_is_sent_unsigned(message: Message, receiver: Receiver) -> None:
    with pytest.raises(DeliveryError, match="NOTIFY_SECRET"):
        CHANNEL.send(receiver.url, message, Settings(notify_networks=("127.0.0.0/8",)))

    assert receiver.requests == []


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/", "http://localhost:{port}/inside", "/elsewhere"]
)
def test_a_redirect_is_not_followed(
    location: str, receiver: Receiver, sending: Settings, message: Message
) -> None:
    target = location.format(port=receiver.server.getsockname()[1])
    receiver.answer = lambda connection: connection.sendall(status(302, f"Location: {target}\r\n"))

    with pytest.raises(DeliveryError, match="302, a redirect, which is not followed"):
        CHANNEL.send(receiver.url, message, sending)

    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [400, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again(
    code: int, receiver: Receiver, sending: Settings, message: Message
) -> None:
    receiver.answer = lambda connection: connection.sendall(status(code, "Retry-After: 7\r\n"))

    with pytest.raises(DeliveryError, match=f"answered {code}") as raised:
        CHANNEL.send(receiver.url, message, sending)

    assert raised.value.after == 7.0
    assert "token" not in str(raised.value)


def test_410_ends_it(receiver: Receiver, sending: Settings, message: Message) -> None:
    receiver.answer = lambda connection: connection.sendall(status(410))

    with pytest.raises(ReceiverGoneError):
        CHANNEL.send(receiver.url, message, sending)


def hang(connection: socket.socket) -> None:
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def endless_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: " + b"x" * 65_536)


def nonsense(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff" * 100 + b"\r\n\r\n")


@pytest.mark.parametrize("misbehave", [hang, drip, endless_headers, nonsense, socket.socket.close])
@pytest.mark.usefixtures("quick")
def test_a_receiver_that_misbehaves_takes_bounded_time(
    misbehave: Callable[[Any], None], receiver: Receiver, sending: Settings, message: Message
) -> None:
    receiver.answer = misbehave

    with pytest.raises(DeliveryError, match=r"did not answer|cannot be reached"):
        CHANNEL.send(receiver.url, message, sending)


def test_a_huge_body_is_not_read(receiver: Receiver, sending: Settings, message: Message) -> None:
    sent: list[int] = []

    def huge(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65_536))

    receiver.answer = huge

    CHANNEL.send(receiver.url, message, sending)

    assert sum(sent) < 64 << 20


def test_a_host_outside_the_allow_list_is_not_asked(
    receiver: Receiver, sending: Settings, message: Message
) -> None:
    elsewhere = sending.model_copy(update={"notify_hosts": ("hooks.example.org",)})

    with pytest.raises(DeliveryError, match="NOTIFY_HOSTS"):
        CHANNEL.send(receiver.url, message, elsewhere)

    assert receiver.requests == []


def test_no_proxy_of_the_environment_stands_between(
    receiver: Receiver, sending: Settings, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")

    CHANNEL.send(receiver.url, message, sending)

    assert len(receiver.requests) == 1
