"""Where notifications may go: nowhere inside, whatever the address looks like and whoever resolves it."""

import ipaddress
import socket
from typing import Any

import pytest

from contract.addresses import CheckedBackend, may_connect
from contract.errors import AddressRefusedError, UsageError
from contract.settings import Settings
from producer.notify import check_urls, notified
from producer.notify.base import DeliveryError, Message, host_of
from producer.notify.webhook import CHANNEL
from tests.unit.producer.notify.conftest import SECRET

MESSAGE = Message("msg_1", 1_700_000_000.0, b"{}", "title", "text")

INSIDE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str) -> None:
    assert not may_connect(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_not(address: str) -> None:
    assert may_connect(address)


def test_a_private_network_may_be_allowed_and_only_that_one() -> None:
    networks = [ipaddress.ip_network("10.1.0.0/16")]

    assert may_connect("10.1.2.3", networks)
    assert may_connect("::ffff:10.1.2.3", networks)
    assert not may_connect("10.2.0.1", networks)
    assert not may_connect("::1", networks)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://localhost:6379/",
        "http://[::1]/",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
def test_no_spelling_of_an_address_inside_is_connected_to(url: str, settings: Settings) -> None:
    with pytest.raises(DeliveryError, match=r"not public|no address|cannot be reached"):
        CHANNEL.send(url, MESSAGE, Settings(notify_secret=SECRET))


def test_a_name_is_resolved_once_so_a_second_answer_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first answer is public, the next is this machine."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    connected: list[str] = []

    def look_up(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 80))]

    class Sockets:
        def connect_tcp(self, host: str, *_: Any) -> Any:
            connected.append(host)
            raise AddressRefusedError("no network here")

    backend = CheckedBackend((), "TRACE_OCR_NOTIFY_NETWORKS", 5)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(backend, "_sockets", Sockets())

    with pytest.raises(AddressRefusedError, match="no network here"):
        backend.connect_tcp("rebinding.example.org", 80)

    assert connected == ["93.184.215.14"]


def test_a_name_with_one_address_inside_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1, which is not public"):
        CheckedBackend((), "TRACE_OCR_NOTIFY_NETWORKS", 5).connect_tcp("mixed.example.org", 80)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example.org/x", True),
        ("https://HOOKS.example.org./x", True),
        ("https://a.b.corp.example/x", True),
        ("https://corp.example/x", False),
        ("https://example.org/x", False),
        ("https://hooks.example.org.evil.example/x", False),
        ("https://hooks.example.org@evil.example/x", False),
    ],
)
def test_hosts_are_those_of_the_allow_list(url: str, allowed: bool) -> None:
    hosts = ("hooks.example.org", "*.corp.example")

    if allowed:
        check_urls([url], hosts)
    else:
        with pytest.raises(UsageError, match="notify"):
            check_urls([url], hosts)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://x/",
        "slack://a/b/c",
        "sqs://sqs.eu.amazonaws.com/1/q",
        "hooks",
        "http://",
        "https://user:word@example.org/",
        "https://exa mple.org/",
        "https://example.org:99999/",
    ],
)
def test_a_job_may_name_nothing_but_webhooks(url: str) -> None:
    with pytest.raises(UsageError, match="notify"):
        check_urls([url], ())


def test_of_the_submitters_settings_a_job_holds_only_webhooks(settings: Settings) -> None:
    assert notified(["slack://token/x/y", "https://example.org/h"], settings) == ("https://example.org/h",)


def test_what_is_shown_of_a_url_holds_no_token() -> None:
    assert host_of("https://hooks.slack.com/services/T0/B0/secret") == "https://hooks.slack.com"
    assert host_of("https://user:secret@example.org:8443?token=secret") == "https://example.org:8443"
    assert "secret" not in host_of("slack://secret/secret/secret") + host_of("mailto://me:secret@gmail.com")
