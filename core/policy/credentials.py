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

NAMESPACES_KEY: Final = "controller.storage.s3.credential-namespaces"
EVERY_NAMESPACE: Final = "*"


def operators_secret(settings: StorageSettings) -> str:
    """Name of the Secret of the operator's own S3 store; empty when there is none."""
    return settings.s3_auth_secret_name if settings.provider is StorageProvider.S3 else ""


def may_have_credentials(namespace: str, settings: StorageSettings) -> bool:
    """Whether the operator's settings allow the steps of a namespace to use the credentials of the operator's store."""
    allowed = settings.s3_credential_namespaces
    return EVERY_NAMESPACE in allowed or namespace in allowed


def is_operators_store(storage: Mapping[str, Any] | None, settings: StorageSettings) -> bool:
    """Whether a storage policy describes the store that the operator itself reads and writes."""
    match settings.provider:
        case StorageProvider.S3:
            s3 = (storage or {}).get("s3")
            return isinstance(s3, Mapping) and not foreign_fields(s3, settings)
        case StorageProvider.FILE:
            file = (storage or {}).get("file") or {}
            own = (settings.file_path, settings.file_volume_claim_name)
            return (file.get("path"), file.get("volumeClaimName")) == own
        case StorageProvider.NONE:
            return False


def foreign_fields(s3: Mapping[str, Any], settings: StorageSettings) -> list[str]:
    """The fields in which a ``storage.s3`` block differs from the operator's own store; none means that it is that
    store.

    A block without a region uses the operator's. Another region means another host name, because SDKs derive it from
    the region.
    """
    found = []
    if s3.get("bucket") != settings.s3_bucket:
        found.append("bucket")
    if _endpoint(s3.get("endpoint")) != _endpoint(settings.s3_endpoint):
        found.append("endpoint")
    if (s3.get("region") or settings.s3_region) != settings.s3_region:
        found.append("region")
    return found


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
