"""A bucket of S3 or of a server that speaks its protocol. Source: SDK contract 6.2, 7.1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from core.payloads.cloud_answers import CloudProvider
from core.payloads.cloud_store import CloudStore, retry_config
from core.payloads.errors import StoreUnavailableError

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config, S3Credential

_S3: Final = CloudProvider("S3", "AWS", "bucket", metadata_path="/latest/api/token")


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and its address.

    Attributes:
        region: empty: the region in the process's environment, otherwise ``us-east-1``.
        endpoint: URL of the service; ``https`` when it has no scheme. Empty: AWS.
        path_style: the bucket is in the path, not in the host name; always so with an endpoint, as in the SDK.
        credentials: with the keys of the Secret: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, perhaps AWS_SESSION_TOKEN.
            Empty: the result of the process's AWS chain. Those are the operator's own permissions, so never leave it
            empty for a bucket that a user has chosen.
    """

    bucket: str
    region: str = ""
    endpoint: str = ""
    path_style: bool = False
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


def s3_store(location: S3Location, timeout_seconds: float) -> CloudStore:
    """
    Raises:
        StoreUnavailableError: the location cannot be used.
    """
    endpoint = _url(location.endpoint)
    name = _name(location.bucket, endpoint)
    credential = _credential(name, location.credentials)
    return CloudStore(name, timeout_seconds, _S3, lambda: _connected(location, endpoint, credential, timeout_seconds))


def _connected(
    location: S3Location, endpoint: str, credential: S3Credential | None, timeout_seconds: float
) -> ObjectStore:
    from obstore.store import S3Store as Bucket

    config: S3Config = {
        "region": location.region or _region(),
        "virtual_hosted_style_request": not (location.path_style or endpoint),
        "checksum_algorithm": "SHA256",
        # Each object has a request of its own: some servers know no DeleteObjects, and obstore 0.12 panics if an answer
        # to it names another key.
        "disable_bulk_delete": True,
    }
    if endpoint:
        config["endpoint"] = endpoint
    return Bucket(
        location.bucket,
        config=config,
        client_options={
            "timeout": timedelta(seconds=timeout_seconds),
            "allow_http": endpoint.startswith("http://"),
        },
        retry_config=retry_config(timeout_seconds),
        # A provider, because obstore would add the process's own AWS_SESSION_TOKEN to a plain key.
        credential_provider=None if credential is None else lambda: credential,
    )


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _url(endpoint: str) -> str:
    endpoint = endpoint.strip()
    return f"https://{endpoint}" if endpoint and "://" not in endpoint else endpoint


def _name(bucket: str, endpoint: str) -> str:
    """
    Raises:
        StoreUnavailableError: the bucket is missing, or the endpoint is not a URL.
    """
    if not bucket:
        raise StoreUnavailableError("the object store cannot be read: it has no bucket; name one")
    if not endpoint:
        return f"bucket {bucket!r}"
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise StoreUnavailableError(
            f"bucket {bucket!r} cannot be read: its endpoint must be a URL such as 'https://minio.example:9000', "
            "without a user name"
        )
    return f"bucket {bucket!r} at {parts.scheme}://{host}{f':{port}' if port else ''}"


def _credential(store: str, given: Mapping[str, str]) -> S3Credential | None:
    """
    Raises:
        StoreUnavailableError: one of the two keys is missing.
    """
    identity, secret = given.get("AWS_ACCESS_KEY_ID", ""), given.get("AWS_SECRET_ACCESS_KEY", "")
    token = given.get("AWS_SESSION_TOKEN", "")
    if not given:
        return None
    if not (identity and secret):
        raise StoreUnavailableError(
            f"{store} cannot be read: its Secret needs both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return {"access_key_id": identity, "secret_access_key": secret, "token": token or None, "expires_at": None}
