"""A bucket of Google Cloud Storage.

obstore speaks the XML API. It signs a token with the key of a service account by itself, so the key is never sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from core.api import store_address
from core.api.store_credentials import GOOGLE_SERVICE_ACCOUNT_KEY
from core.payloads.cloud_answers import CloudProvider
from core.payloads.cloud_store import CloudStore, retry_config
from core.payloads.errors import StoreUnavailableError

if TYPE_CHECKING:
    from obstore.store import GCSConfig, ObjectStore

_GCS: Final = CloudProvider("Google Cloud Storage", "Google", "bucket", metadata_path="/computeMetadata/")
_FIELDS: Final = ("private_key", "private_key_id", "client_email")
"""The rest is not used: ``gcs_base_url`` would send the token elsewhere, ``disable_oauth`` would send none."""
_OTHER_CREDENTIALS: Final = (
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "SERVICE_ACCOUNT",
)
"""Variables that obstore reads and would prefer to, or confuse with, the key in a Secret."""


@dataclass(frozen=True, slots=True)
class GcsLocation:
    """A bucket and its address.

    Attributes:
        endpoint: URL of the service, with ``https``. Empty: Google's.
        credentials: with the key GOOGLE_SERVICE_ACCOUNT_KEY of the Secret. Empty: what obstore finds in the process's
            environment, else those of the machine or Pod, from the metadata service.
    """

    bucket: str
    endpoint: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


def gcs_store(location: GcsLocation, timeout_seconds: float) -> CloudStore:
    """
    Raises:
        StoreUnavailableError: the location cannot be used.
    """
    name, endpoint = f"bucket {location.bucket!r}", location.endpoint.strip().rstrip("/")
    if not location.bucket:
        raise StoreUnavailableError("the object store cannot be read: it has no bucket; name one")
    if problem := store_address.google_bucket_problem(location.bucket):
        raise StoreUnavailableError(f"{name} cannot be read: {problem}")
    if problem := store_address.google_endpoint_problem(endpoint, has_secret=bool(location.credentials)):
        raise StoreUnavailableError(f"{name} cannot be read: its endpoint {problem}")
    if endpoint:
        name += f" at {store_address.shown(endpoint)}"
    key = _account_key(name, location.credentials)
    return CloudStore(name, timeout_seconds, _GCS, lambda: _connected(location.bucket, endpoint, key, timeout_seconds))


def _connected(bucket: str, endpoint: str, key: str, timeout_seconds: float) -> ObjectStore:
    from obstore.store import GCSStore

    # Whatever is not given here, obstore takes from the process's environment.
    config: GCSConfig = {"base_url": endpoint or store_address.GOOGLE_ENDPOINT, "skip_signature": False}
    if key:
        config["service_account_key"] = key
    return GCSStore(
        bucket,
        config=config,
        client_options={"timeout": timedelta(seconds=timeout_seconds), "allow_http": False},
        retry_config=retry_config(timeout_seconds),
    )


def _account_key(store: str, given: Mapping[str, str]) -> str:
    """The part of the service account's key that signs; empty without a Secret.

    Raises:
        StoreUnavailableError: the Secret has no such key, or the environment has credentials that obstore would prefer.
    """
    if not given:
        return ""
    if unwanted := [name for name in _OTHER_CREDENTIALS if os.environ.get(name)]:
        raise StoreUnavailableError(
            f"{store} cannot be read: the environment sets {', '.join(unwanted)}, which would replace the credentials "
            "of the Secret; unset it, or name no Secret"
        )
    try:
        found = json.loads(given.get(GOOGLE_SERVICE_ACCOUNT_KEY, ""))
        key = {name: found[name] for name in _FIELDS}
    except (ValueError, KeyError, TypeError, RecursionError):
        key = {}
    if not key or not all(isinstance(value, str) and value for value in key.values()):
        raise StoreUnavailableError(
            f"{store} cannot be read: {GOOGLE_SERVICE_ACCOUNT_KEY} in its Secret must be the JSON key of a service "
            f"account, with {', '.join(_FIELDS)}"
        )
    return json.dumps(key)
