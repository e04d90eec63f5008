"""Settings that all processes of a deployment share."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from contract.errors import UnsupportedUriError
from contract.settings.lists import Listed
from contract.storage import absolute


def _absolute(uri: str) -> str:
    try:
        return absolute(uri)
    except UnsupportedUriError as error:
        raise ValueError(str(error)) from error


class Deployment(BaseModel):
    """The broker, and what workers may read and write."""

    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss://, unix:// or sentinel:// URL of the broker"
    )
    namespace: str = Field(
        "trace-ocr",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="prefix of all queue and key names; deployments that share a Redis need one each",
    )
    allowed_roots: Listed[str] = Field(
        (),
        description="comma-separated folders and s3://, gs:// and az:// prefixes that workers may read and "
        "write below, and https:// prefixes that they may read below",
    )
    umask: str | None = Field(
        None,
        pattern=r"^[0-7]{3,4}$",
        description="permissions, as in the shell's umask, that new local files and folders do not have: "
        "077, 007; the process's own if not set",
    )
    model_store: Annotated[str, AfterValidator(_absolute)] | None = Field(
        None,
        description="folder or remote prefix with <architecture>.pt and .json; used before docTR's weights",
    )
