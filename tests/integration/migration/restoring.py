"""Puts the objects of a recording into a cluster, best where no controller runs yet: these would begin finished Jobs.

The server gives them new UIDs, which replace the old ones wherever these occur: in owner references, labels of Pods and
annotations. Statuses go through the status subresource. What was being deleted is deleted again. Pods that ran are left
out: the Job controller starts one for each Job that was active, as after the loss of a node.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from core.api.objects import Object
from core.api.resource import (
    DEPLOYMENT,
    EFFECT_CLAIM,
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    JOB,
    LEASE,
    NAMESPACE,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT,
    TRANSPORT_BINDING,
    Resource,
)
from core.kube.client import KubeClient
from core.kube.errors import ConflictError
from tests.integration.migration.recording import Recording

_ORDER: Final = (
    ENGRAM_TEMPLATE,
    IMPULSE_TEMPLATE,
    TRANSPORT,
    ENGRAM,
    STORY,
    IMPULSE,
    STORY_TRIGGER,
    STORY_RUN,
    STEP_RUN,
    TRANSPORT_BINDING,
    EFFECT_CLAIM,
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    DEPLOYMENT,
    JOB,
    POD,
    LEASE,
)
_BY_KIND: Final = {resource.kind: (number, resource) for number, resource in enumerate(_ORDER)}
_GIVEN_BY_THE_SERVER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_LABELS_OF_JOBS: Final = ("controller-uid", "batch.kubernetes.io/controller-uid")


async def restore(client: KubeClient, recording: Recording) -> None:
    await client.create(NAMESPACE, {"metadata": {"name": recording.name}})
    uids: dict[str, str] = {}
    leaving: list[tuple[Resource, Object]] = []
    for obj in sorted(filter(_is_restored, recording.objects), key=_place):
        _, resource = _BY_KIND[obj["kind"]]
        stored = await _restored(client, resource, _with_new_uids(obj, uids))
        if stored is None:  # of the whole cluster, and there already
            continue
        uids[obj["metadata"]["uid"]] = stored["metadata"]["uid"]
        if obj["metadata"].get("deletionTimestamp"):
            leaving.append((resource, stored))
    for resource, stored in leaving:
        await client.delete(resource, stored["metadata"]["name"], stored["metadata"].get("namespace"))


async def _restored(client: KubeClient, resource: Resource, obj: Object) -> Object | None:
    name, status = obj["metadata"]["name"], obj.pop("status", None)
    if not resource.namespaced or resource is LEASE:
        found = await client.list(resource, obj["metadata"].get("namespace"))
        if any(each["metadata"]["name"] == name for each in found.items):
            return None
    asks_to_cancel = resource is STORY_RUN and bool(obj["spec"].pop("cancelRequested", False))
    stored = await client.create(resource, obj)
    if asks_to_cancel:  # the request is the second generation of a run
        patch = {"spec": {"cancelRequested": True}}
        stored = await client.patch(resource, name, patch, namespace=stored["metadata"]["namespace"])
    if status:
        try:
            stored = await client.replace(resource, {**stored, "status": status}, subresource="status")
        except ConflictError:  # where controllers run, they are at work on Jobs already
            if resource is not JOB:
                raise
    return stored


def _is_restored(obj: Object) -> bool:
    if obj["kind"] == POD.kind:
        return obj["status"].get("phase") in ("Succeeded", "Failed")
    return obj["kind"] in _BY_KIND


def _place(obj: Object) -> tuple[int, str]:
    """Owners come first: a StoryRun before the one that it has started, which has the longer name."""
    return _BY_KIND[obj["kind"]][0], obj["metadata"]["name"]


def _with_new_uids(obj: Object, uids: dict[str, str]) -> Object:
    text = json.dumps(obj)
    for old, new in uids.items():
        text = text.replace(old, new)
    new_obj: Object = json.loads(text)
    metadata = new_obj["metadata"]
    for field in _GIVEN_BY_THE_SERVER:
        metadata.pop(field, None)
    if new_obj["kind"] == JOB.kind:
        new_obj["spec"].pop("selector", None)
        _drop(new_obj["spec"]["template"]["metadata"]["labels"], _LABELS_OF_JOBS)
    if new_obj["kind"] == POD.kind:
        metadata.pop("finalizers", None)  # of the Job controller, which has counted Pods that have ended
    if new_obj["kind"] == SERVICE.kind:
        _drop(new_obj["spec"], ("clusterIP", "clusterIPs"))
    return new_obj


def _drop(mapping: Object, names: Iterable[str]) -> None:
    for name in names:
        mapping.pop(name, None)
