"""An empty place in a cluster that many tests share: the same namespaces for each, with nothing left in them.

Whatever the cluster serves is looked for, so nothing of one test is seen by the next, whoever made it. Namespaces that
somebody else made are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import trio

from core.api.objects import Object
from core.api.resource import EVENT, NAMESPACE, SERVICE_ACCOUNT, STORY, Resource, Scope
from core.kube.client import KubeClient
from core.kube.errors import ApiError, NotFoundError

MARK = "tests.bubustack.io/clean-slate"
"""Label of namespaces that tests made, and may empty."""
DEADLINE_SECONDS = 60.0
_AT_A_TIME = 8
_GIVEN = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
"""What controllers put into every namespace."""
_EVENTS = "events"
"""Served twice, and deleted by the namespace: nobody reacts to them."""


class ForeignNamespaceError(Exception):
    """A namespace that tests need is somebody else's; the text says what to do."""


async def make_clean(client: KubeClient, namespaces: Sequence[str]) -> None:
    """Have ``namespaces``, and in every namespace of tests nothing but what a new one has.

    Our cluster-scoped kinds are emptied too.

    Raises:
        ForeignNamespaceError: one of them exists and was not made by tests.
        trio.TooSlowError: something cannot be deleted.
    """
    for name in namespaces:
        await ensure_namespace(client, name)
    ours = {obj["metadata"]["name"] for obj in (await client.list(NAMESPACE, label_selector=MARK)).items}
    kinds = await _kinds(client)
    with trio.fail_after(DEADLINE_SECONDS):
        while await _delete_all(client, kinds, ours):  # noqa: ASYNC110 - what deletes them tells nobody here
            await trio.sleep(0.05)
    for name in ours:
        await client.delete_collection(EVENT, name)


async def ensure_namespace(client: KubeClient, name: str) -> None:
    """Have a namespace of tests, in which Pods may be created."""
    try:
        found = await client.get(NAMESPACE, name)
    except NotFoundError:
        await client.create(NAMESPACE, {"metadata": {"name": name, "labels": {MARK: "true"}}})
        await _until_populated(client, name)
        return
    if (found["metadata"].get("labels") or {}).get(MARK) != "true":
        raise ForeignNamespaceError(
            f"namespace {name} exists in this cluster and was not made by tests; they would empty it. "
            "Use a cluster made for tests, or delete the namespace"
        )


async def _kinds(client: KubeClient) -> list[Resource]:
    """Everything that can be stored: namespaced kinds, and ours beside."""
    served = [kind for kind in await client.discover() if {"list", "delete"} <= set(kind.verbs)]
    return [
        Resource(
            kind.group, kind.version, kind.plural, kind.kind, Scope.NAMESPACED if kind.namespaced else Scope.CLUSTER
        )
        for kind in served
        if kind.plural != _EVENTS and (kind.namespaced or kind.group.endswith(STORY.group))
    ]


async def _delete_all(client: KubeClient, kinds: Sequence[Resource], namespaces: Collection[str]) -> int:
    """How many objects there were; all of them have been asked to go."""
    found = 0
    limiter = trio.CapacityLimiter(_AT_A_TIME)

    async def empty(kind: Resource) -> None:
        nonlocal found
        async with limiter:
            for obj in (await client.list(kind)).items:
                metadata = obj["metadata"]
                here = not kind.namespaced or metadata["namespace"] in namespaces
                if here and (kind.kind, metadata["name"]) not in _GIVEN:
                    found += 1
                    await _delete(client, kind, metadata)

    async with trio.open_nursery() as nursery:
        for kind in kinds:
            nursery.start_soon(empty, kind)
    return found


async def _delete(client: KubeClient, kind: Resource, metadata: Object) -> None:
    """Ask for its end, and let nothing hold it back."""
    name, namespace = metadata["name"], metadata.get("namespace")
    try:
        if metadata.get("finalizers"):
            await client.patch(kind, name, {"metadata": {"finalizers": None}}, namespace=namespace)
        await client.delete(kind, name, namespace, grace_period_seconds=0)
    except NotFoundError:
        return
    except ApiError as error:
        if error.code not in {409, 422}:  # somebody works on it at the same moment; the next round sees
            raise


async def _until_populated(client: KubeClient, namespace: str) -> None:
    """Until Pods may be created: a real server refuses them before the namespace has its account."""
    with trio.fail_after(DEADLINE_SECONDS):
        while not await _has(client, SERVICE_ACCOUNT, "default", namespace):  # noqa: ASYNC110 - as above
            await trio.sleep(0.02)


async def _has(client: KubeClient, kind: Resource, name: str, namespace: str) -> bool:
    try:
        await client.get(kind, name, namespace)
    except NotFoundError:
        return False
    return True
