"""Storage of payloads that are too large to stay inline."""

from __future__ import annotations

from pydantic import Field

from core.api.meta import SecretReference
from core.api.schema import Integer, Quantity, WireModel


class EmptyDir(WireModel):
    """Scratch space of a Pod."""

    medium: str | None = Field(None, description="Empty for disk, `Memory` for RAM.")
    size_limit: Quantity | None = Field(None, description="Largest size, for example `1Gi`.")


class FileStorage(WireModel):
    """A volume mounted into every container of the run."""

    empty_dir: EmptyDir | None = Field(None, description="Use scratch space that lives as long as the Pod.")
    path: str | None = Field(None, description="Mount path in the container; default `/var/run/bubu/storage`.")
    volume_claim_name: str | None = Field(
        None, description="PersistentVolumeClaim to mount, in the namespace of the run."
    )


class S3Authentication(WireModel):
    """Credentials for a bucket."""

    secret_ref: SecretReference | None = Field(
        None,
        description="Secret with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if needed, AWS_SESSION_TOKEN.",
    )
    service_account_annotations: dict[str, str] | None = Field(
        None, description="Annotations for the ServiceAccount of the containers, for example an IAM role."
    )


class S3Storage(WireModel):
    """An S3-compatible bucket."""

    authentication: S3Authentication = Field(description="How containers sign in; give one of the fields.")
    bucket: str = Field(description="Bucket name.")
    endpoint: str | None = Field(None, description="URL of the service; absent: AWS.")
    region: str | None = Field(None, description="Region of the bucket.")
    use_path_style: bool | None = Field(
        None, description="Put the bucket in the path instead of the host name; most servers other than AWS need it."
    )


class StoragePolicy(WireModel):
    """Where payloads too large to stay inline are kept; set `s3` or `file`."""

    file: FileStorage | None = Field(None, description="Keep payloads on a volume.")
    s3: S3Storage | None = Field(None, description="Keep payloads in an S3-compatible bucket.")
    timeout_seconds: Integer | None = Field(
        None,
        description="Seconds one storage operation may take; default: operator key "
        "`engram.default-storage-timeout-seconds` (300).",
    )
