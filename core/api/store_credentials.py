"""The keys of a Secret with the credentials of a store; a container gets them as variables of the same names. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

AWS_ACCESS_KEY_ID: Final = "AWS_ACCESS_KEY_ID"
AWS_SECRET_ACCESS_KEY: Final = "AWS_SECRET_ACCESS_KEY"
AWS_SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"
GOOGLE_SERVICE_ACCOUNT_KEY: Final = "GOOGLE_SERVICE_ACCOUNT_KEY"
"""The JSON of a service account's key."""
AZURE_STORAGE_ACCOUNT_KEY: Final = "AZURE_STORAGE_ACCOUNT_KEY"
AZURE_STORAGE_SAS_TOKEN: Final = "AZURE_STORAGE_SAS_TOKEN"
AZURE_CLIENT_ID: Final = "AZURE_CLIENT_ID"
AZURE_CLIENT_SECRET: Final = "AZURE_CLIENT_SECRET"
AZURE_TENANT_ID: Final = "AZURE_TENANT_ID"
AZURE_AUTHORITY_HOST: Final = "AZURE_AUTHORITY_HOST"

_WAYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "s3": ((AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY),),
    "gcs": ((GOOGLE_SERVICE_ACCOUNT_KEY,),),
    "azure": (
        (AZURE_STORAGE_ACCOUNT_KEY,),
        (AZURE_STORAGE_SAS_TOKEN,),
        (AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID),
    ),
}
_MORE: Final[Mapping[str, tuple[str, ...]]] = {"s3": (AWS_SESSION_TOKEN,), "azure": (AZURE_AUTHORITY_HOST,)}


def keys_of(provider: str) -> tuple[str, ...]:
    """Every key that a store of the provider may use: ``s3``, ``gcs`` or ``azure``; none for other providers."""
    return (*(key for way in _WAYS.get(provider, ()) for key in way), *_MORE.get(provider, ()))


def complete_way(provider: str, present: Collection[str]) -> tuple[str, ...] | None:
    """The keys to sign in with: the first complete way among those that are ``present``."""
    return next((way for way in _WAYS.get(provider, ()) if all(key in present for key in way)), None)


def lacking(provider: str, present: Collection[str]) -> str:
    """The keys that a Secret needs, as text; empty if it has those of one way."""
    if complete_way(provider, present) is not None:
        return ""
    return ", or ".join(" and ".join(_listed(way)) for way in _WAYS.get(provider, ()))


def _listed(way: tuple[str, ...]) -> tuple[str, ...]:
    return way if len(way) < 3 else (", ".join(way[:-1]), way[-1])
