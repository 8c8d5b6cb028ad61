"""Choices that a definition of another namespace may not make: Secrets and volumes in the step's namespace. Pure.

The author of an Engram or a Story that other namespaces use may have no permissions in those namespaces. Names of
Secrets in such a definition are ignored, with a note. If the template requires a Secret, or the store needs its
credentials, the step fails with a remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.api.objects import ReadOnlyObject
from core.policy.credentials import foreign_fields, operators_secret
from core.policy.settings import StorageSettings

WHY: Final = "a definition of another namespace may not choose Secrets and volumes of this namespace"
_REMEDY: Final = "remove it, or describe the store here"


def namespace_of(definition: ReadOnlyObject) -> str:
    return (definition.get("metadata") or {}).get("namespace") or ""


def is_foreign(definition: ReadOnlyObject, namespace: str) -> bool:
    """Whether ``definition`` is in another namespace than the containers; an unknown namespace counts as the same."""
    own = namespace_of(definition)
    return bool(own and namespace and own != namespace)


def lacking(secrets: ReadOnlyObject, ignored: Mapping[str, str], template: ReadOnlyObject) -> Iterator[str]:
    """Problems of secrets that the template requires and that only a definition of another namespace names.

    Args:
        secrets: the secrets that are used.
        ignored: logical name → the layer whose name for it is ignored.
    """
    schema = (template.get("spec") or {}).get("secretSchema") or {}
    for name, layer in sorted(ignored.items()):
        if name not in secrets and (schema.get(name) or {}).get("required") is True:
            yield (
                f"{layer}: secrets.{name} is ignored, and the template requires it: {WHY}; "
                f"name it in the step of a Story of this namespace (secrets.{name}), or use an Engram of this namespace"
            )


def storage_problems(storage: ReadOnlyObject, operators: StorageSettings) -> Iterator[str]:
    """Why a store that a definition of another namespace describes cannot be used here."""
    s3, file = storage.get("s3") or {}, storage.get("file") or {}
    name = ((s3.get("authentication") or {}).get("secretRef") or {}).get("name")
    if name and (name != operators_secret(operators) or foreign_fields(storage, operators)):
        yield f"storage.s3.authentication.secretRef: names Secret {name!r}, but {WHY}; {_REMEDY}"
    if claim := file.get("volumeClaimName"):
        yield f"storage.file.volumeClaimName: names claim {claim!r}, but {WHY}; {_REMEDY}"
