"""Settings of notifications."""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from contract.job import Receivers
from contract.settings.lists import COMMAS, Listed, Networks


class Notifications(BaseModel):
    """Who is notified of a job's end, and how."""

    notify: Annotated[Receivers, COMMAS] = Field(
        (),
        description="comma-separated URLs that are notified when a job ends, is late or is of low quality: "
        "http(s):// (Standard Webhooks), sqs://, sns://, and those of apprise",
    )
    notify_secret: SecretStr | None = Field(
        None, description="whsec_ and 24 to 64 bytes in base64, which webhooks are signed by; several: commas"
    )
    notify_hosts: Listed[str] = Field(
        (), description="comma-separated hosts that webhooks may go to, such as *.example.org; all if none"
    )
    notify_networks: Networks = Field(
        (), description="comma-separated private networks that webhooks may reach, such as 10.1.0.0/16"
    )
    api_url: str | None = Field(
        None, description="URL by which people reach the HTTP API; notifications link to it"
    )
