"""The outcome of a cluster, and what was created and removed on the way, in a form that two executions share. Pure.

This is the oracle of the fault tests: everything here is equal with a fault and without one. It leaves out what may
differ: instants, UIDs, versions, the random ends of Pods' names, and which neighbors had ended when a step began.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.api.objects import Object

_KEPT_METADATA: Final = ("name", "labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp")
_KEPT: Final = ("spec", "status", "rules", "subjects", "roleRef", "type")
_VARYING: Final = (
    *("uid", "duration", "resourceVersion", "storyRevision"),
    *("podName", "podIP", "hostIP", "podIPs", "containerID"),
)
_UNCOMPARED: Final = (
    *("runs.bubustack.io/story-revision", "runs.bubustack.io/parent-story-revision"),
    *("attempt", "queuedAt"),
)
"""What may differ although both outcomes are correct.

The names follow from a Story's UID, and stand beside a run's timers only if these were stored before its start. The
attempt of a StepRun is written with the record of Running, and a step that ends at once gets no such record. A short
wait for a slot is not recorded.
"""
_RANDOM: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<instant>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uid>"),
)
_MOMENTARY: Final = "BUBU_TEMPLATE_CONTEXT"
"""A variable of a container: the results that existed when it was started."""
_POD_NAME: Final = re.compile(r"^(pods/.+)-[a-z0-9]{5}$")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Keys are those of ``tools.control_plane.history``. The Pods of one Job share one key."""

    objects: Mapping[str, Object]
    """The present state of the objects."""
    created: Mapping[str, int]
    deleted: Mapping[str, int]
    executed: Mapping[str, int]
    """How often the program of each step was started."""

    def differences_from(self, expected: Outcome) -> list[str]:
        """One line for each difference."""
        return [
            *_differences("created", expected.created, self.created),
            *_differences("deleted", expected.deleted, self.deleted),
            *_differences("executed", expected.executed, self.executed),
            *_differences("", expected.objects, self.objects),
        ]


def counts_by_object(keys: Mapping[str, int], of: Iterable[str]) -> dict[str, int]:
    """Counts for the kinds and namespaces with which keys begin."""
    counted: Counter[str] = Counter()
    prefixes = tuple(of)
    for key, count in keys.items():
        if key.startswith(prefixes):
            counted[_POD_NAME.sub(r"\1-*", key)] += count
    return dict(counted)


def masked(obj: Object) -> Object:
    """The object without what differs between two executions."""
    metadata = {key: value for key, value in obj["metadata"].items() if key in _KEPT_METADATA}
    content: Object = _masked({"metadata": metadata, **{key: obj[key] for key in _KEPT if key in obj}})
    return content


def _masked(value: Any) -> Any:
    match value:
        case {"name": name, "value": _} if name == _MOMENTARY:
            return {"name": name, "value": "<varies>"}
        case {"conditions": [*conditions], **rest}:
            by_type = {condition["type"]: _masked(condition) for condition in conditions}
            return {"conditions": by_type, **_masked(rest)}
        case dict():
            compared = {key: item for key, item in value.items() if key not in _UNCOMPARED}
            return {key: "<varies>" if key in _VARYING else _masked(item) for key, item in compared.items()}
        case list():
            return [_masked(item) for item in value]
        case str():
            for pattern, word in _RANDOM:
                value = pattern.sub(word, value)
            return value
        case _:
            return value


def _differences(path: str, expected: Any, found: Any) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}):
            yield from _differences(f"{path}.{key}" if path else key, expected.get(key), found.get(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _differences(f"{path}[{index}]", one, other)
    elif expected != found:
        yield f"{path}: {found!r} instead of {expected!r}"
