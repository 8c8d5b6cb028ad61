"""An Event in its two faces: core/v1 and events.k8s.io/v1 are one stored object with fields named differently.

Pure. Source: the conversion of events.k8s.io/v1 in Kubernetes 1.37.
"""

from __future__ import annotations

from localcluster.server.types import Object

CORE = "v1"
EVENTS = "events.k8s.io/v1"

_CORE_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_EVENTS_NAMES = {core: name for name, core in _CORE_NAMES.items()}


def converted(event: Object, api_version: str) -> Object:
    """``event`` with the field names of ``api_version`` (CORE or EVENTS); itself when it has them already."""
    if event.get("apiVersion") == api_version:
        return event
    names = _CORE_NAMES if api_version == CORE else _EVENTS_NAMES
    return {**{names.get(name, name): value for name, value in event.items()}, "apiVersion": api_version}
