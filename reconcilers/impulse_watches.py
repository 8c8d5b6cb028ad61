"""Which Impulses a change concerns, and which changes count. Pure. Source: Trigger contract 6.1."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from core.api.objects import Object, controller_of
from core.api.resource import IMPULSE
from core.kube.informer import Change
from core.workloads.impulse_workload import is_suspended
from reconcilers.adapters.impulse_kinds import INSTANCE, impulse_key, instance_of_pod
from reconcilers.adapters.world import STORY_KEY, TEMPLATE_NAME
from reconcilers.runtime.changes import phase_changed, spec_changed, versions
from reconcilers.runtime.controller import Key
from reconcilers.runtime.watch import Caches

POD_DELAY: Final = timedelta(seconds=1)
"""A Pod that starts changes several times within a moment."""

_OWN_FIELDS: Final = ("phase", "replicas", "readyReplicas", "triggersReceived", "storiesLaunched", "failedTriggers")


def is_news_of_impulse(change: Change) -> bool:
    """Its spec has changed, or it was suspended or resumed."""
    if spec_changed(change):
        return True
    return change.old is not None and change.new is not None and is_suspended(change.old) != is_suspended(change.new)


def is_status_touched(change: Change) -> bool:
    """A field of the status differs that only the operator may write: an SDK may have written it, too."""
    return _own_status(change.old) != _own_status(change.new)


def is_news_of_trigger(change: Change) -> bool:
    """It appeared or disappeared, or was decided."""
    return change.old is None or change.new is None or _decision(change.old) != _decision(change.new)


def is_news_of_run(change: Change) -> bool:
    """It appeared, or has another phase. Its removal changes no counter."""
    return change.new is not None and (change.old is None or phase_changed(change))


def of_template(change: Change, caches: Caches) -> Iterator[Key]:
    """The Impulses that refer to the template."""
    for template in versions(change):
        yield from map(Key.of, caches.informer(IMPULSE).by_index(TEMPLATE_NAME, template["metadata"]["name"]))


def of_story(change: Change, caches: Caches) -> Iterator[Key]:
    """The Impulses that start the Story."""
    for story in versions(change):
        yield from map(Key.of, caches.informer(IMPULSE).by_index(STORY_KEY, str(Key.of(story))))


def of_grant(change: Change, caches: Caches) -> Iterator[Key]:
    """The Impulses of other namespaces that start a Story in the namespace of the grant."""
    namespace = change.object["metadata"]["namespace"]
    for impulse in caches.informer(IMPULSE).each():
        reference = (impulse.get("spec") or {}).get("storyRef") or {}
        if reference.get("namespace") == namespace != impulse["metadata"]["namespace"]:
            yield Key.of(impulse)


def of_owned(change: Change, caches: Caches) -> Iterator[Key]:
    """The Impulse that controls the object."""
    del caches
    for obj in versions(change):
        owner = controller_of(obj) or {}
        if owner.get("kind") == IMPULSE.kind:
            yield Key(obj["metadata"]["namespace"], owner["name"])


def of_pod(change: Change, caches: Caches) -> Iterator[Key]:
    """The Impulse that the Pod's labels name."""
    for pod in versions(change):
        yield from map(Key.of, caches.informer(IMPULSE).by_index(INSTANCE, instance_of_pod(pod)))


def of_started(change: Change, caches: Caches) -> Iterator[Key]:
    """The Impulse that a StoryTrigger or StoryRun names."""
    del caches
    for obj in versions(change):
        for key in impulse_key(obj):
            namespace, _, name = key.partition("/")
            yield Key(namespace, name)


def _own_status(impulse: Object | None) -> list[Any]:
    status = (impulse or {}).get("status") or {}
    return [status.get(field) for field in _OWN_FIELDS]


def _decision(trigger: Object) -> str:
    decision: str = (trigger.get("status") or {}).get("decision") or ""
    return decision
