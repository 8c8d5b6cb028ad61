"""Events: one stored object in two forms, ``v1`` and ``events.k8s.io/v1``, which name some fields differently.

Pure. Source: Kubernetes' conversions between the two.
"""

from __future__ import annotations

from typing import Final

from localcluster.server.types import Object, ResourceType

STORED_VERSION: Final = "v1"
SELECTABLE: Final = (
    ".regarding.kind",
    ".regarding.namespace",
    ".regarding.name",
    ".regarding.uid",
    ".regarding.apiVersion",
    ".regarding.resourceVersion",
    ".regarding.fieldPath",
    ".reason",
    ".reportingController",
    ".type",
)
"""Fields that a selector on ``events.k8s.io`` may name."""

_NEW_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLD_NAMES: Final = {new: old for old, new in _NEW_NAMES.items()}


def is_event(resource: ResourceType) -> bool:
    """Whether a resource is one of the two forms."""
    return resource.plural == "events" and resource.group in ("", "events.k8s.io")


def converted(event: Object, api_version: str) -> Object:
    """The event in the other group's form, or unchanged if it already has it; shares all inner values."""
    if event.get("apiVersion") == api_version:
        return event
    names = _OLD_NAMES if api_version == STORED_VERSION else _NEW_NAMES
    return {**{names.get(name, name): value for name, value in event.items()}, "apiVersion": api_version}
