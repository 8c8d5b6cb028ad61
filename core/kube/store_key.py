"""What tells objects of a kind, and versions of an object, apart. Pure."""

from __future__ import annotations

from typing import NamedTuple

from core.api.objects import NamespacedName
from kubewire import Object


class Identity(NamedTuple):
    """Of one version of one object; a field that the server has not set is empty."""

    key: NamespacedName
    uid: str
    version: str
    deleted_at: str
    """Since when it is being deleted."""

    @property
    def head(self) -> Object:
        """The same as an object."""
        namespace, name = self.key
        fields = {
            "namespace": namespace,
            "name": name,
            "uid": self.uid,
            "resourceVersion": self.version,
            "deletionTimestamp": self.deleted_at,
        }
        return {"metadata": {name: value for name, value in fields.items() if value}}


key_of = NamespacedName.of


def identity_in(obj: Object) -> Identity:
    metadata = obj["metadata"]
    return Identity(
        NamespacedName.of(obj),
        str(metadata.get("uid") or ""),
        str(metadata.get("resourceVersion") or ""),
        str(metadata.get("deletionTimestamp") or ""),
    )
