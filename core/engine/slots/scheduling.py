"""Queue and priority of a run, and how child runs inherit them. Pure.

What a child run inherits is stored on it when it is created, so it does not change: every later look gives the same
result.
Source: StoryRun contract 13.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from bubu_contract.identity import MAX_NAME_LENGTH, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject, controller_of
from core.api.resource import STORY_RUN
from core.policy.settings import DEFAULT_QUEUE, QueueSettings

NO_BOUNDS: Final[Mapping[str, int]] = MappingProxyType({})
"""No namespace limits the priority of its runs."""
PRIORITY_BOUNDED: Final = "PriorityBounded"
"""Reason of the Event of a run that gets a lower priority than it asks for."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The queue of the steps of a run, and their base priority."""

    queue: str
    """A label value."""
    priority: int
    asked: int | None = field(default=None, compare=False)
    """The priority that the Story or the parent asks for, if it is above the bound."""

    @property
    def note(self) -> str:
        """Why the priority is not the one that was asked for; empty if it is."""
        if self.asked is None:
            return ""
        text = f"priority {self.asked} is above the maximum of queue {self.queue} for this namespace"
        return f"{text}; {self.priority} is used"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the run and of its StepRuns."""
        return {keys.LABEL_QUEUE: self.queue, keys.LABEL_QUEUE_PRIORITY: str(self.priority)}


def scheduling_of(
    run: ReadOnlyObject,
    story: ReadOnlyObject,
    queues: Mapping[str, QueueSettings],
    namespaces: Mapping[str, int] = NO_BOUNDS,
) -> Scheduling:
    """Queue and priority of a run: those of the Story, else those of the parent run, else the defaults.

    If a Story sets a queue and no priority, it has the default of that queue. A child is never below its parent, except
    for the bound: no run is above the bounds of its queue and its namespace, whatever a Story or an annotation says.
    """
    most = bound_of(queue_of(story, _inherited(run)), run["metadata"].get("namespace", ""), queues, namespaces)
    return _scheduling(story, _inherited(run), queues, most)


def child_metadata(
    parent: Scheduling,
    story: Object,
    queues: Mapping[str, QueueSettings],
    namespaces: Mapping[str, int] = NO_BOUNDS,
    namespace: str = "",
) -> Object:
    """Labels and annotations that a run gives a child of ``story`` in ``namespace`` when it creates it."""
    child = _scheduling(story, parent, queues, bound_of(queue_of(story, parent), namespace, queues, namespaces))
    return {
        "labels": child.labels,
        "annotations": {keys.ANNOTATION_PARENT_SCHEDULING: f"{parent.queue}/{parent.priority}"},
    }


def story_key(namespace: str, name: str) -> str:
    """The key by which the slots of a Story's runs are counted; a name too long for a label counts as its label."""
    return f"{namespace}/{name if len(name) <= MAX_NAME_LENGTH else label_value(name)}"


def bound_of(queue: str, namespace: str, queues: Mapping[str, QueueSettings], namespaces: Mapping[str, int]) -> int:
    """The highest priority that a run of ``namespace`` may have in ``queue``.

    A queue that no key names has the bound of the default queue: an invented name must not lift the bound.
    """
    settings = queues.get(queue) or queues.get(DEFAULT_QUEUE) or QueueSettings()
    most = max(settings.max_priority, settings.default_priority)
    return min(most, namespaces.get(namespace, most))


def queue_of(story: Mapping[str, Any], parent: Scheduling | None = None) -> str:
    policy: Mapping[str, Any] = (story.get("spec") or {}).get("policy") or {}
    own = str(policy.get("queue") or "").strip().lower()
    return own or (parent.queue if parent is not None else DEFAULT_QUEUE)


def _scheduling(
    story: ReadOnlyObject, parent: Scheduling | None, queues: Mapping[str, QueueSettings], most: int
) -> Scheduling:
    policy: Mapping[str, Any] = (story.get("spec") or {}).get("policy") or {}
    own_queue = str(policy.get("queue") or "").strip().lower()
    queue = queue_of(story, parent)
    priority = policy.get("priority")
    if priority is None and parent is not None and not own_queue:
        priority = parent.priority
    if priority is None:
        priority = queues.get(queue, QueueSettings()).default_priority
    wanted = int(priority) if parent is None else max(int(priority), parent.priority)
    return Scheduling(label_value(queue), min(wanted, most), wanted if wanted > most else None)


def _inherited(run: ReadOnlyObject) -> Scheduling | None:
    """Scheduling of the run's parent; None if no other run controls this run, or if the annotation is malformed."""
    owner = controller_of(run)
    if owner is None or owner.get("kind") != STORY_RUN.kind:
        return None
    text = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_PARENT_SCHEDULING)
    queue, slash, priority = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not slash or queue != label_value(queue) or not _is_int32(priority):
        return None
    return Scheduling(queue, int(priority))


def _is_int32(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 10 and -(2**31) <= int(text) < 2**31
