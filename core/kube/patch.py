"""Patches that the operator makes: the smallest possible, and bound to the version of the object. Pure.

Such a patch never touches fields that its caller does not own: status patches contain only ``status``, metadata patches
only labels, annotations, owner references and finalizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubewire import Object, merge_patch_between

_OUR_METADATA: Final = ("labels", "annotations", "finalizers", "ownerReferences")


def status_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object | None:
    """The merge patch that turns the status of ``old`` into that of ``new``; None when they are equal.

    Bound to ``old``: if the object has changed since, or is another one of the same name, the server answers 409.
    """
    changes = merge_patch_between(old.get("status") or {}, new.get("status") or {})
    return bound_to(old, {"status": changes}) if changes else None


def metadata_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object | None:
    """Like ``status_patch``, for labels, annotations, finalizers and owner references."""
    before, after = (
        {key: metadata[key] for key in _OUR_METADATA if metadata.get(key)}
        for metadata in (old.get("metadata") or {}, new.get("metadata") or {})
    )
    changes = merge_patch_between(before, after)
    return bound_to(old, {"metadata": changes}) if changes else None


def bound_to(obj: Mapping[str, Any], patch: Mapping[str, Any]) -> Object:
    """``patch``; the server refuses it unless ``obj`` is still the stored version.

    The version alone would be enough; the UID shows a reader of an audit log which object of that name was meant.

    Raises:
        ValueError: ``obj`` was never stored.
    """
    metadata = obj.get("metadata") or {}
    if not metadata.get("uid") or not metadata.get("resourceVersion"):
        raise ValueError(f"{obj.get('kind')} {metadata.get('name')!r} has no uid and resourceVersion: read it first")
    precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    return {**patch, "metadata": {**(patch.get("metadata") or {}), **precondition}}


def finalizer_addition(obj: Mapping[str, Any], finalizer: str) -> list[Object] | None:
    """A JSON patch that adds ``finalizer``; None when it is present, or when the object is being deleted already.

    The patch tests the state that it builds on, so a finalizer that another client adds at the same moment is never
    lost.
    """
    metadata = obj.get("metadata") or {}
    finalizers = metadata.get("finalizers") or []
    if finalizer in finalizers or metadata.get("deletionTimestamp"):
        return None
    if not finalizers:
        return [*_tests(metadata), {"op": "add", "path": "/metadata/finalizers", "value": [finalizer]}]
    present = {"op": "test", "path": "/metadata/finalizers", "value": list(finalizers)}
    return [*_tests(metadata), present, {"op": "add", "path": "/metadata/finalizers/-", "value": finalizer}]


def finalizer_removal(obj: Mapping[str, Any], finalizer: str) -> list[Object] | None:
    """A JSON patch that removes ``finalizer`` and nothing else; None when it is not present."""
    metadata = obj.get("metadata") or {}
    finalizers = metadata.get("finalizers") or []
    if finalizer not in finalizers:
        return None
    path = f"/metadata/finalizers/{finalizers.index(finalizer)}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata.get("uid")},
        {"op": "test", "path": path, "value": finalizer},
        {"op": "remove", "path": path},
    ]


def _tests(metadata: Mapping[str, Any]) -> list[Object]:
    """A JSON patch cannot test for an absent field, so an addition is also bound to the version."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata.get("uid")},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion")},
    ]
