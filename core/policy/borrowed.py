"""What a definition of another namespace may not choose: Secrets and volumes of where its step runs. Pure.

An Engram, or a Story, that other namespaces use was written by somebody who may have no rights there. Names of Secrets
in it are ignored, with a note; where the template cannot do without one, or the store would be reached without
its credentials, the step fails and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.api.objects import ReadOnlyObject
from core.policy.credentials import foreign_fields, operators_secret
from core.policy.settings import StorageSettings

WHY: Final = "a definition of another namespace chooses no Secrets and volumes of this one"
_REMEDY: Final = "remove it, or describe the store here"


def namespace_of(definition: ReadOnlyObject) -> str:
    return (definition.get("metadata") or {}).get("namespace") or ""


def is_foreign(definition: ReadOnlyObject, namespace: str) -> bool:
    """Whether ``definition`` is of another namespace than the containers; unknown namespaces are no other."""
    own = namespace_of(definition)
    return bool(own and namespace and own != namespace)


def lacking(secrets: ReadOnlyObject, ignored: Mapping[str, str], template: ReadOnlyObject) -> Iterator[str]:
    """Problems of secrets that the template requires, and that were only named by a definition of elsewhere.

    Args:
        secrets: those that count.
        ignored: logical name → the layer that named it in vain.
    """
    schema = (template.get("spec") or {}).get("secretSchema") or {}
    for name, layer in sorted(ignored.items()):
        if name not in secrets and (schema.get(name) or {}).get("required") is True:
            yield (
                f"{layer}: secrets.{name} is ignored, and the template requires it: {WHY}; "
                f"name it in the step of a Story of this namespace (secrets.{name}), or use an Engram of this namespace"
            )


def storage_problems(storage: ReadOnlyObject, operators: StorageSettings) -> Iterator[str]:
    """Why a store that a definition of elsewhere describes cannot be used here."""
    s3, file = storage.get("s3") or {}, storage.get("file") or {}
    name = ((s3.get("authentication") or {}).get("secretRef") or {}).get("name")
    if name and (name != operators_secret(operators) or foreign_fields(s3, operators)):
        yield f"storage.s3.authentication.secretRef: names Secret {name!r}, but {WHY}; {_REMEDY}"
    if claim := file.get("volumeClaimName"):
        yield f"storage.file.volumeClaimName: names claim {claim!r}, but {WHY}; {_REMEDY}"
