"""The kinds around Impulses that the operator watches, and the indexes with which they find each other."""

from __future__ import annotations

from typing import Final

from core.api import keys
from core.api.objects import Object
from core.api.resource import (
    DEPLOYMENT,
    IMPULSE,
    IMPULSE_POD,
    IMPULSE_TEMPLATE,
    SERVICE,
    STATEFUL_SET,
    STORY_RUN,
    STORY_TRIGGER,
)
from core.workloads.impulse_workload import SELECTOR, instance_label
from reconcilers.adapters.triggers import without_answered_inputs
from reconcilers.adapters.watched_kind import WatchedKind, slim
from reconcilers.adapters.world import OWNER_UID, STORY_KEY, TEMPLATE_NAME, owner_uid, story_key, template_name

INSTANCE: Final = "instance"
"""Index of Impulses and of their Pods: ``namespace/label``, where the label names the Impulse."""
IMPULSE_KEY: Final = "impulse"
"""Index of StoryTriggers and StoryRuns: ``namespace/name`` of the Impulse that they name."""

_OWN: Final = "The operator only lists the objects that run Impulses, by label, and reacts to their changes."


def impulse_key(obj: Object) -> list[str]:
    """For the index ``IMPULSE_KEY``."""
    reference = (obj.get("spec") or {}).get("impulseRef") or {}
    if not reference.get("name"):
        return []
    return [f"{reference.get('namespace') or obj['metadata']['namespace']}/{reference['name']}"]


def instance_of_pod(pod: Object) -> str:
    """For the index ``INSTANCE``."""
    labels = pod["metadata"].get("labels") or {}
    return f"{pod['metadata']['namespace']}/{labels.get(keys.LABEL_APP_INSTANCE, '')}"


def _instance_of_impulse(impulse: Object) -> list[str]:
    return [f"{impulse['metadata']['namespace']}/{instance_label(impulse['metadata']['name'])}"]


def _instances_of_pod(pod: Object) -> list[str]:
    return [instance_of_pod(pod)]


def _without_template(workload: Object) -> Object:
    """What the Pods are like is known from a hash in an annotation."""
    spec = {key: value for key, value in workload.get("spec", {}).items() if key != "template"}
    return {**slim(workload), "spec": spec}


def _without_containers(pod: Object) -> Object:
    return {**slim(pod), "spec": {}}


IMPULSE_KINDS: Final = (
    WatchedKind(IMPULSE, {TEMPLATE_NAME: template_name, STORY_KEY: story_key, INSTANCE: _instance_of_impulse}),
    WatchedKind(IMPULSE_TEMPLATE),
    WatchedKind(STORY_TRIGGER, {IMPULSE_KEY: impulse_key}, trim=without_answered_inputs),
    WatchedKind(STORY_RUN, {IMPULSE_KEY: impulse_key}),
    *(
        WatchedKind(resource, {OWNER_UID: owner_uid}, label_selector=SELECTOR, trim=_without_template, why=_OWN)
        for resource in (DEPLOYMENT, STATEFUL_SET)
    ),
    WatchedKind(SERVICE, {OWNER_UID: owner_uid}, label_selector=SELECTOR, why=_OWN),
    WatchedKind(
        IMPULSE_POD,
        {INSTANCE: _instances_of_pod},
        label_selector=SELECTOR,
        trim=_without_containers,
        why="An Impulse that is not ready says why; the operator only lists the Pods of Impulses, by label.",
    ),
)
