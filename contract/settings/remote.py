"""Settings of remote storage."""

from pydantic import BaseModel, Field

from contract.settings.lists import Networks


class RemoteStorage(BaseModel):
    """The endpoints of remote storage, and how they are addressed."""

    s3_endpoint_url: str | None = Field(
        None, description="S3 endpoint, for S3-compatible storage such as MinIO"
    )
    s3_region: str | None = Field(None, description="S3 region")
    s3_path_style: bool = Field(
        False, description="address buckets by path; most S3-compatible storage needs it"
    )
    gcs_endpoint_url: str | None = Field(None, description="endpoint of gs://, for emulators and proxies")
    azure_endpoint_url: str | None = Field(
        None, description="endpoint of az:// with its account, for emulators, proxies and national clouds"
    )
    https_networks: Networks = Field(
        (), description="comma-separated private networks that https:// items may be read from"
    )
