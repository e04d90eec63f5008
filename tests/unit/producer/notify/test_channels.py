"""The other channels: queues and topics of AWS, and apprise."""

import json
from typing import Any

import boto3
import pytest
from moto import mock_aws

from contract.settings import Settings
from producer.notify import CHANNELS, channel_of
from producer.notify.base import DeliveryError, Message
from tests.unit.producer.notify.conftest import Receiver

MESSAGE = Message("msg_1", 0.0, b'{"type":"job.completed"}', "night: completed", "5 of 5 items read")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield


@pytest.mark.usefixtures("aws")
def test_a_queue_gets_the_body() -> None:
    queues = boto3.client("sqs", region_name="eu-central-1")
    url = queues.create_queue(QueueName="night")["QueueUrl"]

    channel_of("sqs://").send(url.replace("https://", "sqs://"), MESSAGE, Settings())

    (found,) = queues.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(found["Body"]) == {"type": "job.completed"}


@pytest.mark.usefixtures("aws")
def test_a_topic_gets_the_body_and_a_subject() -> None:
    topics = boto3.client("sns", region_name="eu-central-1")
    topic = topics.create_topic(Name="night")["TopicArn"]

    channel_of("sns://").send(f"sns://{topic}", MESSAGE, Settings())


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    "url",
    [
        "sqs://sqs.eu-central-1.amazonaws.com/123456789012/none",
        "sqs://x",
        "sns://arn",
        "sns://a:b:c:eu-west-1:1:x",
    ],
)
def test_what_aws_refuses_is_tried_again(url: str) -> None:
    with pytest.raises(DeliveryError):
        channel_of(url).send(url, MESSAGE, Settings())


def test_apprise_gets_title_and_text(receiver: Receiver) -> None:
    url = receiver.url.partition("?")[0].replace("http://", "json://")

    channel_of(url).send(url, MESSAGE, Settings())

    ((_, body),) = receiver.requests
    told = json.loads(body)
    assert (told["title"], told["message"]) == ("night: completed", "5 of 5 items read")


@pytest.mark.parametrize("url", ["nosuch://x", "mailto://"])
def test_a_url_that_apprise_does_not_know_is_refused(url: str) -> None:
    with pytest.raises(DeliveryError, match="no URL that apprise knows"):
        channel_of(url).send(url, MESSAGE, Settings())


def test_every_channel_is_in_the_registry() -> None:
    assert [channel_of(url) for url in ("https://x", "sqs://x", "slack://x")] == list(CHANNELS.values())
