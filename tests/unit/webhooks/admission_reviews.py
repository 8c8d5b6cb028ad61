"""Reviews for the admission server, and test servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import trio

from core.api.objects import NamespacedName, Object, ReadOnlyObject
from core.api.resource import SECRET, Resource
from core.policy.settings import OperatorSettings
from webhooks.cluster_view import ClusterView, InMemoryView, Unseen
from webhooks.registration import HOOKS, Hook
from webhooks.setup import AdmissionSetup, none_is_known

OPERATOR = "system:serviceaccount:bobrapet-system:bobrapet-controller-manager"
BY_PATH = {hook.path: hook for hook in HOOKS}
VALIDATE_STORY = BY_PATH["/validate-bubustack-io-v1alpha1-story"]
MUTATE_STORY = BY_PATH["/mutate-bubustack-io-v1alpha1-story"]
VALIDATE_ENGRAM = BY_PATH["/validate-bubustack-io-v1alpha1-engram"]
STEP_RUN_STATUS = BY_PATH["/validate-runs-bubustack-io-v1alpha1-steprun-status"]


def story(*steps: Object, name: str = "s", metadata: Object | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": name, "namespace": "team", **(metadata or {})},
        "spec": {"steps": list(steps) or [{"name": "a", "type": "stop"}], **spec},
    }


def engram(template: str = "worker") -> Object:
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Engram",
        "metadata": {"name": "e", "namespace": "team"},
        "spec": {"version": "1.0.0", "templateRef": {"name": template}},
    }


def template(name: str = "worker", **spec: Any) -> Object:
    return {
        "apiVersion": "catalog.bubustack.io/v1alpha1",
        "kind": "EngramTemplate",
        "metadata": {"name": name},
        "spec": {"version": "1.0.0", "image": "worker:1", "supportedModes": ["job"], **spec},
    }


def review(hook: Hook, new: Any, old: Any = None, **fields: Any) -> Object:
    """A review as the API server sends it. With an old object it is an update."""
    resource = hook.resource
    request: Object = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
        "name": "s",
        "namespace": "team",
        "operation": "UPDATE" if old is not None else "CREATE",
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": new,
        "oldObject": old,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        **fields,
    }
    if hook.subresource:
        request["subResource"] = hook.subresource
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


class ChangingWorld:
    """The objects of a cluster. A test adds some while a review waits."""

    def __init__(self, *objects: Object) -> None:
        self.objects = list(objects)
        self._changed = trio.Event()
        self.looks = 0

    def now(self) -> ClusterView:
        self.looks += 1
        return InMemoryView(self.objects, settings=OperatorSettings())

    def add(self, *objects: Object) -> None:
        self.objects += objects
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        await self._changed.wait()


class _NoSecrets(InMemoryView):
    """Knows nothing of Secrets, like a view of caches."""

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        return Unseen.UNKNOWN if resource is SECRET else super().find(resource, namespace, name)


class WorldWithoutSecrets(ChangingWorld):
    def now(self) -> ClusterView:
        self.looks += 1
        return _NoSecrets(self.objects, settings=OperatorSettings())


def gate(
    objects: Iterable[Object] = (),
    *,
    trouble: Callable[[], str] = lambda: "",
    world: ChangingWorld | None = None,
    convert: Callable[[Object], Object] = lambda body: body,
    changed: Callable[[], Awaitable[None]] | None = None,
    missing_secrets: Callable[[Collection[NamespacedName]], Awaitable[Collection[NamespacedName]]] = none_is_known,
) -> AdmissionSetup:
    seen = world or ChangingWorld(*objects)
    return AdmissionSetup(
        world=seen.now,
        operator=OPERATOR,
        trouble=trouble,
        changed=changed or seen.changed,
        convert=convert,
        missing_secrets=missing_secrets,
    )
