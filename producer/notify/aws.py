"""Amazon SQS and SNS: sqs://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE and sns://arn:aws:sns:REGION:ACCOUNT:TOPIC."""

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contract.settings import Settings
from producer.notify.base import DeliveryError, Message, host_of

SECONDS = 10
"""Longest time to connect, and to wait for an answer."""


class AwsChannel:
    """Sends with the credentials of this process, as boto3 finds them."""

    def send(self, url: str, message: Message, settings: Settings) -> None:  # noqa: ARG002 - of the interface
        """Send a message; see `Channel.send`."""
        scheme, _, rest = url.partition("://")
        config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
        text = message.body.decode()
        try:
            if scheme == "sqs":
                region = rest.partition("/")[0].split(".")[1]
                queues = boto3.client("sqs", region_name=region, config=config)
                queues.send_message(QueueUrl=f"https://{rest}", MessageBody=text)
            else:
                region = rest.split(":")[3]
                topics = boto3.client("sns", region_name=region, config=config)
                topics.publish(TopicArn=rest, Message=text, Subject=message.title[:100])
        except IndexError as error:
            raise DeliveryError(f"{host_of(url)} has no region: see docs/nights.md for its form") from error
        except (BotoCoreError, ClientError) as error:
            raise DeliveryError(f"{host_of(url)} did not accept it: {error}") from error


CHANNEL = AwsChannel()
