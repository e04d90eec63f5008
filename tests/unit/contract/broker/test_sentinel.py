"""Redis behind Sentinels: what their URL says, to redis-py and to kombu."""

import pytest

from contract.broker.app import make_app, make_redis
from contract.broker.sentinel import SentinelAddress, sentinel_address
from contract.errors import BrokerError
from contract.redaction import redacted
from contract.settings import Settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://broker:6379/0", None),
        (
            "sentinel://a:26379;sentinel://b/3?master=mymaster",
            SentinelAddress((("a", 26379), ("b", 26379)), "mymaster", 3),
        ),
        ("sentinel://[::1]:5000?master=m", SentinelAddress((("::1", 5000),), "m")),
        (
            "sentinel://user:p%40ss@a;sentinel://b/0?master=m&sentinel_password=s%26t",
            SentinelAddress(
                (("a", 26379), ("b", 26379)),
                "m",
                login={"username": "user", "password": "p@ss"},
                sentinel_login={"password": "s&t"},
            ),
        ),
        (
            "sentinel://a/0?master=m&tls=true",
            SentinelAddress((("a", 26379),), "m", tls={"ssl_cert_reqs": "required"}),
        ),
        (
            "sentinel://a/0?master=m&ssl_ca_certs=/ca.pem&ssl_cert_reqs=none",
            SentinelAddress((("a", 26379),), "m", tls={"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem"}),
        ),
    ],
)
def test_a_url_names_the_sentinels_and_their_primary(url: str, expected: SentinelAddress | None) -> None:
    assert sentinel_address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://a:26379/0",
        "sentinel://a:hunter2/0?master=m",
        "sentinel://:hunter2@a/zero?master=m",
        "sentinel://:hunter2@a;redis://b/0?master=m",
        "sentinel:///0?master=m",
        "sentinel://a/0?master=m&tls=perhaps",
        "sentinel://a/0?master=m&socket_timeout=1",
        "sentinel://a/0?master=two words",
    ],
)
def test_a_malformed_url_is_an_error_that_shows_how_and_no_password(url: str) -> None:
    with pytest.raises(BrokerError, match=r"sentinel://a:26379;sentinel://b:26379/0\?master") as raised:
        sentinel_address(url)

    assert "hunter2" not in str(raised.value)


def test_kombu_gets_one_url_for_each_with_the_same_login_and_database(settings: Settings) -> None:
    url = "sentinel://:p%2Fw@a;sentinel://[::1]:5000/3?master=m&tls=true"

    app = make_app(settings.model_copy(update={"redis_url": Settings(redis_url=url).redis_url}))

    assert app.conf.broker_url == "sentinel://:p%2Fw@a:26379/3;sentinel://:p%2Fw@[::1]:5000/3"
    options = app.conf.broker_transport_options
    assert (options["master_name"], options["sentinel_kwargs"]["ssl"]) == ("m", True)
    assert app.conf.broker_use_ssl == {"ssl_cert_reqs": "required"}


def test_the_ledgers_client_reads_text_from_the_database_of_the_url(settings: Settings) -> None:
    url = "sentinel://a/3?master=m"

    client = make_redis(settings.model_copy(update={"redis_url": Settings(redis_url=url).redis_url}))

    options = client.connection_pool.connection_kwargs
    assert (options["db"], options["decode_responses"]) == (3, True)


def test_no_password_of_a_sentinels_url_is_shown() -> None:
    shown = redacted(
        "sentinel://:hunter1@a;sentinel://u:hunter2@b/0?master=m&sentinel_password=hunter3&tls=true"
    )

    assert shown == "sentinel://***@a;sentinel://***@b/0?master=m&sentinel_password=***&tls=true"
