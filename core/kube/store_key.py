"""What tells objects of a kind, and versions of an object, apart. Pure."""

from __future__ import annotations

from sys import intern
from typing import NamedTuple

from kubewire.wire import Object


class StoreKey(NamedTuple):
    """``namespace`` is empty for an object that has none."""

    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Object) -> StoreKey:
        metadata = obj["metadata"]
        return cls(intern(metadata.get("namespace") or ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Identity(NamedTuple):
    """Of one version of one object; a field that the server has not set is empty."""

    key: StoreKey
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


key_of = StoreKey.of


def identity_in(obj: Object) -> Identity:
    metadata = obj["metadata"]
    return Identity(
        StoreKey.of(obj),
        str(metadata.get("uid") or ""),
        str(metadata.get("resourceVersion") or ""),
        str(metadata.get("deletionTimestamp") or ""),
    )
