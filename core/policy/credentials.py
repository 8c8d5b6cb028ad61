"""Decides which stores may get the credentials of the operator's own object store. Pure.

Any layer may describe a store and name any Secret. The operator's Secret is used with the operator's own store only:
the same bucket, the same endpoint and no other region. Otherwise requests with these credentials would be signed for a
foreign endpoint, and some protocols would even send the credentials to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from core.policy.settings import StorageProvider, StorageSettings

OPERATORS_BLOCKS: Final = ("gcs", "azure")
"""Blocks of a storage policy that only the operator's own settings write: the fields of definitions have only ``s3``
and ``file``, and nothing may point the operator's credentials elsewhere.
"""
EVERY_NAMESPACE: Final = "*"


def operators_secret(settings: StorageSettings) -> str:
    """Name of the Secret of the operator's own store; empty when there is none."""
    match settings.provider:
        case StorageProvider.S3:
            return settings.s3_auth_secret_name
        case StorageProvider.GCS:
            return settings.gcs_auth_secret_name
        case StorageProvider.AZURE:
            return settings.azure_auth_secret_name
        case StorageProvider.FILE | StorageProvider.NONE:
            return ""


def namespaces_key(settings: StorageSettings) -> str:
    """The key of the namespaces that may use the credentials of the operator's own store."""
    return f"controller.storage.{settings.provider}.credential-namespaces"


def may_have_credentials(namespace: str, settings: StorageSettings) -> bool:
    """Whether the operator's settings allow the steps of a namespace to use the credentials of the operator's store."""
    match settings.provider:
        case StorageProvider.S3:
            allowed = settings.s3_credential_namespaces
        case StorageProvider.GCS:
            allowed = settings.gcs_credential_namespaces
        case StorageProvider.AZURE:
            allowed = settings.azure_credential_namespaces
        case StorageProvider.FILE | StorageProvider.NONE:
            allowed = ()
    return EVERY_NAMESPACE in allowed or namespace in allowed


def is_operators_store(storage: Mapping[str, Any] | None, settings: StorageSettings) -> bool:
    """Whether a storage policy describes the store that the operator itself reads and writes."""
    match settings.provider:
        case StorageProvider.S3 | StorageProvider.GCS | StorageProvider.AZURE:
            block = (storage or {}).get(settings.provider.value)
            return isinstance(block, Mapping) and not foreign_fields(storage or {}, settings)
        case StorageProvider.FILE:
            file = (storage or {}).get("file") or {}
            own = (settings.file_path, settings.file_volume_claim_name)
            return (file.get("path"), file.get("volumeClaimName")) == own
        case StorageProvider.NONE:
            return False


def foreign_fields(storage: Mapping[str, Any], settings: StorageSettings) -> list[str]:
    """The fields in which the cloud store of a policy differs from the operator's own; none: it is that store.

    A block without a region uses the operator's. Another region means another host name, because SDKs derive it from
    the region.
    """
    provider = next((name for name in ("s3", *OPERATORS_BLOCKS) if storage.get(name)), "s3")
    block = storage.get(provider) or {}
    match provider:
        case "gcs":
            own: dict[str, str] = {"bucket": settings.gcs_bucket}
            endpoint = settings.gcs_endpoint
        case "azure":
            own = {"account": settings.azure_account, "container": settings.azure_container}
            endpoint = settings.azure_endpoint
        case _:
            own, endpoint = {"bucket": settings.s3_bucket}, settings.s3_endpoint
    found = [name for name, value in own.items() if block.get(name) != value or provider != settings.provider]
    if _endpoint(block.get("endpoint")) != _endpoint(endpoint):
        found.append("endpoint")
    if (block.get("region") or settings.s3_region) != settings.s3_region:
        found.append("region")
    return [f"storage.{provider}.{name}" for name in found]


def _endpoint(text: Any) -> tuple[str, ...]:
    """Equal for two forms of one endpoint; an endpoint that cannot be parsed equals only itself, character by
    character.
    """
    if not isinstance(text, str) or not text.strip():
        return ()
    url = text.strip()
    url = url if "://" in url else f"https://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (url,)
    standard = {"https": 443, "http": 80}.get(parts.scheme)
    place = f"{parts.hostname or ''}:{port or standard or ''}"
    return (parts.scheme, parts.username or "", place, parts.path.rstrip("/"), parts.query, parts.fragment)
