"""Opens the object store of the operator's configuration, with its credentials."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from core.api.store_credentials import keys_of, lacking
from core.engine.errors import NoStoreError, StorageUnavailableError
from core.payloads.store import (
    TIMEOUT_SECONDS,
    AzureLocation,
    GcsLocation,
    S3Location,
    Store,
    open_azure_store,
    open_file_store,
    open_gcs_store,
    open_s3_store,
)
from core.policy.credentials import operators_secret
from core.policy.settings import StorageProvider, StorageSettings

_VENDORS: Final = {StorageProvider.S3: "AWS", StorageProvider.GCS: "Google", StorageProvider.AZURE: "Azure"}


def secret_of(wanted: StorageSettings) -> str:
    """Name of the Secret with its credentials, in the operator's namespace; empty: those of the environment."""
    return operators_secret(wanted)


def vendor_of(wanted: StorageSettings) -> str:
    """Whose credentials the store needs, in words; empty if it needs none."""
    return _VENDORS.get(wanted.provider, "")


def credentials_in(secret: Mapping[str, Any], wanted: StorageSettings, place: str) -> dict[str, str]:
    """The credentials in the Secret; ``place`` is its name in errors.

    Raises:
        StorageUnavailableError: a value is not text, or there are not enough to sign in. So a Secret that was named
            never means the credentials of the environment.
    """
    data = secret.get("data") or {}
    try:
        found = {
            key: base64.b64decode(data[key], validate=True).decode() for key in keys_of(wanted.provider) if key in data
        }
    except (binascii.Error, UnicodeDecodeError, TypeError):
        raise StorageUnavailableError(f"storage Secret {place} has a value that is not UTF-8 text") from None
    if needed := lacking(wanted.provider, [key for key, value in found.items() if value]):
        raise StorageUnavailableError(f"storage Secret {place} needs {needed}")
    return found


def open_store(
    wanted: StorageSettings, credentials: Mapping[str, str], timeout_seconds: float = TIMEOUT_SECONDS
) -> Store:
    """
    Args:
        credentials: empty for those of the process's environment.
    Raises:
        NoStoreError: the configuration has no store.
        StoreUnavailableError: its values for the store cannot be used.
    """
    match wanted.provider:
        case StorageProvider.NONE:
            raise NoStoreError("the operator has no object store; name one with controller.storage.provider")
        case StorageProvider.FILE:
            return open_file_store(wanted.file_path, timeout_seconds=timeout_seconds)
        case StorageProvider.GCS:
            bucket = GcsLocation(wanted.gcs_bucket, wanted.gcs_endpoint, credentials)
            return open_gcs_store(bucket, timeout_seconds=timeout_seconds)
        case StorageProvider.AZURE:
            account, container = wanted.azure_account, wanted.azure_container
            place = AzureLocation(account, container, wanted.azure_endpoint, credentials)
            return open_azure_store(place, timeout_seconds=timeout_seconds)
        case StorageProvider.S3:
            location = S3Location(
                bucket=wanted.s3_bucket,
                region=wanted.s3_region,
                endpoint=wanted.s3_endpoint,
                path_style=wanted.s3_use_path_style,
                credentials=credentials,
            )
            return open_s3_store(location, timeout_seconds=timeout_seconds)


def is_volume(wanted: StorageSettings) -> bool:
    """Whether it is a folder on the volume of a claim."""
    return wanted.provider is StorageProvider.FILE


def open_volume(
    wanted: StorageSettings, claims: Path, namespace: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> Store:
    """The volume of ``namespace``, on a machine that has all volumes as ``claims``/NAMESPACE/CLAIM.

    The node creates the folder of a claim for the first Pod that mounts it. The operator may write before that.
    """
    root = str(claims / namespace / wanted.file_volume_claim_name)
    return open_file_store(root, makes_root=True, timeout_seconds=timeout_seconds)
