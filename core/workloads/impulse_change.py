"""What has to change in a stored Deployment or StatefulSet of a listener. Pure. Source: Trigger contract 6.3.

The number of replicas belongs to users and autoscalers, except for a suspension: it sets zero, records the number
before, and the end of the suspension brings that number back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api import keys
from core.api.objects import Object, ReadOnlyObject

_ORDERED: Final = "OrderedReady"
"""The ``podManagementPolicy`` of a StatefulSet that names none."""
_MOST_REPLICAS: Final = 1000
_TEMPLATE: Final = "/spec/template"
_REPLICAS: Final = "/spec/replicas"


def must_be_recreated(stored: ReadOnlyObject, wanted: ReadOnlyObject) -> bool:
    """Whether a field differs that no API server lets change; two of them are those of a StatefulSet."""
    have, want = stored["spec"], wanted["spec"]
    if have.get("selector") != want["selector"] or have.get("serviceName") != want.get("serviceName"):
        return True
    return bool(have.get("podManagementPolicy", _ORDERED) != want.get("podManagementPolicy", _ORDERED))


def listener_correction(stored: ReadOnlyObject, wanted: ReadOnlyObject, *, suspended: bool) -> list[Object]:
    """The JSON patch that gives the stored object what is wanted; empty when it has it already.

    It replaces the Pod template as a whole, so that nothing of an earlier one stays. It is bound to the stored version.
    """
    metadata = stored["metadata"]
    labels = {**(metadata.get("labels") or {}), **wanted["metadata"]["labels"]}
    annotations = dict(metadata.get("annotations") or {})
    changes: list[Object] = []
    if annotations.get(keys.ANNOTATION_TEMPLATE_HASH) != _hash_of(wanted):
        annotations[keys.ANNOTATION_TEMPLATE_HASH] = _hash_of(wanted)
        changes.append(_set(_TEMPLATE, wanted["spec"]["template"]))
        changes += _strategy(stored, wanted)
    replicas = _replicas(stored, annotations, suspended=suspended)
    if replicas is not None:
        changes.append(_set(_REPLICAS, replicas))
    for name, now in (("labels", labels), ("annotations", annotations)):
        if now != (metadata.get(name) or {}):
            changes.append(_set(f"/metadata/{name}", now))
    return _bound_to(stored, changes)


def suspension(stored: ReadOnlyObject) -> list[Object]:
    """The JSON patch that only suspends, whatever else is wanted; empty when nothing runs."""
    annotations = dict(stored["metadata"].get("annotations") or {})
    if _replicas(stored, annotations, suspended=True) is None:
        return []
    return _bound_to(stored, [_set(_REPLICAS, 0), _set("/metadata/annotations", annotations)])


def notes_of(changes: list[Object]) -> list[tuple[str, str]]:
    """What a patch does, for people: a word, and a sentence whose subject is the workload."""
    values = {change["path"]: change.get("value") for change in changes}
    notes = []
    if _TEMPLATE in values:
        notes.append(("Updated", "gets another Pod template; its Pods are replaced"))
    if _REPLICAS in values:
        count = values[_REPLICAS]
        resumed = f"has {count} {'replica' if count == 1 else 'replicas'} again: the Impulse is not suspended any more"
        notes.append(("Resumed", resumed) if count else ("Suspended", "has no replicas: the Impulse is suspended"))
    return notes


def _bound_to(stored: ReadOnlyObject, changes: list[Object]) -> list[Object]:
    if not changes:
        return []
    precondition = ("uid", "resourceVersion")
    tests = [{"op": "test", "path": f"/metadata/{key}", "value": stored["metadata"][key]} for key in precondition]
    return [*tests, *changes]


def _replicas(stored: ReadOnlyObject, annotations: dict[str, Any], *, suspended: bool) -> int | None:
    """The number to set, or None; keeps the record in ``annotations``.

    A workload that another client has scaled to zero has no record: the end of a suspension leaves it there.
    """
    have = stored["spec"].get("replicas", 1)
    if suspended:
        if not have:
            return None
        annotations[keys.ANNOTATION_SUSPENDED_REPLICAS] = str(have)
        return 0
    before = annotations.pop(keys.ANNOTATION_SUSPENDED_REPLICAS, None)
    if before is None or have:
        return None
    return max(1, min(int(before), _MOST_REPLICAS)) if str(before).isdecimal() else 1


def _strategy(stored: ReadOnlyObject, wanted: ReadOnlyObject) -> list[Object]:
    if "strategy" in wanted["spec"]:
        return [_set("/spec/strategy", wanted["spec"]["strategy"])]
    return [{"op": "remove", "path": "/spec/strategy"}] if "strategy" in stored["spec"] else []


def _hash_of(wanted: Mapping[str, Any]) -> Any:
    return wanted["metadata"]["annotations"][keys.ANNOTATION_TEMPLATE_HASH]


def _set(path: str, value: Any) -> Object:
    """``add`` replaces a value that is there."""
    return {"op": "add", "path": path, "value": value}
