"""An empty place in a cluster that many tests share: the same namespaces for each test, with nothing left in them.

It looks for every kind that the cluster serves, so the next test sees nothing of the test before. It never changes
namespaces that were not created by tests.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

import httpx
import trio

from core.api.objects import Object
from core.api.resource import EVENT, NAMESPACE, SERVICE_ACCOUNT, STORY, Resource, Scope
from core.kube.client import KubeClient
from core.kube.errors import ApiError, NotFoundError, NotServedError
from deployment.permissions.names import DEFAULT_INSTALLATION as OPERATOR

MARK = "tests.bubustack.io/clean-slate"
"""Label of namespaces that tests created and may empty."""
DEADLINE_SECONDS = 60.0
_AT_A_TIME = 8
_GIVEN = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
"""Objects that controllers put into every namespace."""
_STAYING: Final = ("ServiceAccount", "ConfigMap", "Role", "RoleBinding")
"""Kinds of the objects that stay."""
_EVENTS = "events"
"""Served in two groups, and deleted per namespace, because nobody reacts to their deletion."""
_KEYS: Final = "/registry/"
"""Where an API server stores its objects in etcd."""
_kinds_of: Final[dict[str, list[Resource]]] = {}
"""The kinds that a cluster serves, by the address of its etcd."""


Key: TypeAlias = tuple[str, ...]
"""The parts of an object's key, for example group, plural, namespace and name."""


class ForeignNamespaceError(Exception):
    """A namespace that tests need was not created by tests. The message says what to do."""


async def make_clean(client: KubeClient, namespaces: Sequence[str], etcd_url: str = "") -> None:
    """Create ``namespaces`` if necessary, and leave in the namespaces of tests only what a new one has.

    Our cluster-scoped kinds are emptied, too. ``etcd_url`` is the etcd of a cluster made for tests: one request for its
    keys shows which kinds have objects. Without it, every kind is listed, which takes about 150 requests.

    Raises:
        ForeignNamespaceError: one of them exists and was not created by tests.
        trio.TooSlowError: something cannot be deleted.
    """
    for name in namespaces:
        await ensure_namespace(client, name)
    ours = {obj["metadata"]["name"] for obj in (await client.list(NAMESPACE, label_selector=MARK)).items}
    with trio.fail_after(DEADLINE_SECONDS):
        if etcd_url:
            await _empty_by_keys(client, etcd_url, ours)
        else:
            await _empty_all(client, await _kinds(client), ours)


def _stays(kind: str, namespace: str | None, name: str) -> bool:
    """Whether an object is no test's own: controllers give it to every namespace, or it gives the operator its rights.

    Most tests need these rights, and ``operator_rights`` restores them.
    """
    of_operator = namespace == OPERATOR.namespace and name.startswith(OPERATOR.prefix)
    return (kind, name) in _GIVEN or (of_operator and kind in _STAYING and kind != "ConfigMap")


async def _empty_all(client: KubeClient, kinds: Sequence[Resource], namespaces: Collection[str]) -> None:
    while await _delete_all(client, kinds, namespaces):  # noqa: ASYNC110 - their controllers wake nobody here
        await trio.sleep(0.05)
    for name in namespaces:
        await client.delete_collection(EVENT, name)


async def _empty_by_keys(client: KubeClient, etcd_url: str, namespaces: Collection[str]) -> None:
    first = True
    async with httpx.AsyncClient(base_url=etcd_url, trust_env=False, verify=False) as etcd:
        while True:
            stored = await _stored(etcd)
            left = [key for key in stored if _is_left_over(key, namespaces)]
            if not left:
                return
            kinds = await _kinds_of_keys(client, etcd_url, left)
            if all(key[0] == _EVENTS for key in left):
                for name in {key[-2] for key in left}:
                    await client.delete_collection(EVENT, name)
            elif not kinds:  # a kind that is stored in an unusual place
                await _delete_all(client, await _kinds(client), namespaces)
            elif first:
                await _delete_together(client, kinds, [key for key in stored if key not in kinds])
            else:
                await _delete_each(client, kinds)
            first = False
            await trio.sleep(0.02)


async def _stored(etcd: httpx.AsyncClient) -> list[Key]:
    first, end = (base64.b64encode(text.encode()).decode() for text in (_KEYS, _KEYS[:-1] + "0"))
    answer = await etcd.post("/v3/kv/range", json={"key": first, "range_end": end, "keys_only": True})
    answer.raise_for_status()
    keys = (base64.b64decode(found["key"]).decode() for found in answer.json().get("kvs", ()))
    return [tuple(key.removeprefix(_KEYS).split("/")) for key in keys]


def _is_left_over(key: Key, namespaces: Collection[str]) -> bool:
    """Whether a test left this object: it is in a namespace of tests, or it is cluster-scoped and ours."""
    if key[0].endswith(STORY.group) and len(key) == 3:
        return True
    if len(key) < 3 or key[-2] not in namespaces:
        return False
    return not any(key[0] == f"{kind.lower()}s" and _stays(kind, key[-2], key[-1]) for kind in _STAYING)


async def _kinds_of_keys(client: KubeClient, etcd_url: str, keys: Sequence[Key]) -> dict[Key, Resource]:
    """The kinds of the objects with these keys, without events."""
    if etcd_url not in _kinds_of:
        _kinds_of[etcd_url] = await _kinds(client)
    return {key: kind for key in keys for kind in _kinds_of[etcd_url] if _is_of(kind, key)}


def _is_of(kind: Resource, key: Key) -> bool:
    """Keys of custom kinds begin with group and plural, and those of most other kinds with the plural."""
    return key[0] == kind.plural if "." not in key[0] else key[:2] == (kind.group, kind.plural)


async def _delete_together(client: KubeClient, kinds: Mapping[Key, Resource], others: Sequence[Key]) -> None:
    """Delete the objects of each kind and namespace with one request. Objects with the keys ``others`` stay."""
    async with trio.open_nursery() as nursery:
        for kind, namespace in {(kind, key[-2] if kind.namespaced else None) for key, kind in kinds.items()}:
            staying = [key[-1] for key in others if _is_of(kind, key) and namespace in (None, key[-2])]
            params = {"gracePeriodSeconds": "0", "propagationPolicy": "Background"}
            params["fieldSelector"] = ",".join(f"metadata.name!={name}" for name in staying)
            nursery.start_soon(partial(client.request, "DELETE", kind.path(namespace), params=params))


async def _delete_each(client: KubeClient, kinds: Mapping[Key, Resource]) -> None:
    """Delete objects that are still there, without their finalizers."""
    limiter = trio.CapacityLimiter(_AT_A_TIME)

    async def delete(kind: Resource, name: str, namespace: str | None) -> None:
        async with limiter:
            await _delete(client, kind, {"name": name, "namespace": namespace, "finalizers": ["perhaps"]})

    async with trio.open_nursery() as nursery:
        for key, kind in kinds.items():
            nursery.start_soon(delete, kind, key[-1], key[-2] if kind.namespaced else None)


async def ensure_namespace(client: KubeClient, name: str) -> None:
    """Create a namespace for tests, unless it exists, and wait until Pods may be created in it."""
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
    """All kinds that can be stored: the namespaced kinds, and our cluster-scoped kinds."""
    served = [kind for kind in await client.discover() if {"list", "delete"} <= set(kind.verbs)]
    return [
        Resource(
            kind.group, kind.version, kind.plural, kind.kind, Scope.NAMESPACED if kind.namespaced else Scope.CLUSTER
        )
        for kind in served
        if kind.plural != _EVENTS and (kind.namespaced or kind.group.endswith(STORY.group))
    ]


async def _delete_all(client: KubeClient, kinds: Sequence[Resource], namespaces: Collection[str]) -> int:
    """Request the deletion of all objects; returns how many there were."""
    found = 0
    limiter = trio.CapacityLimiter(_AT_A_TIME)

    async def empty(kind: Resource) -> None:
        nonlocal found
        async with limiter:
            try:
                listed = (await client.list(kind)).items
            except NotServedError:  # its definition went after the kinds were listed, and its objects with it
                return
            for obj in listed:
                metadata = obj["metadata"]
                here = not kind.namespaced or metadata["namespace"] in namespaces
                if here and not _stays(kind.kind, metadata.get("namespace"), metadata["name"]):
                    found += 1
                    await _delete(client, kind, metadata)

    async with trio.open_nursery() as nursery:
        for kind in kinds:
            nursery.start_soon(empty, kind)
    return found


async def _delete(client: KubeClient, kind: Resource, metadata: Object) -> None:
    """Delete an object and remove its finalizers."""
    name, namespace = metadata["name"], metadata.get("namespace")
    try:
        if metadata.get("finalizers"):
            await client.patch(kind, name, {"metadata": {"finalizers": None}}, namespace=namespace)
        await client.delete(kind, name, namespace, grace_period_seconds=0)
    except NotFoundError:
        return
    except ApiError as error:
        if error.code not in {409, 422}:  # somebody else changes it at the same moment: the next round tries again
            raise


async def _until_populated(client: KubeClient, namespace: str) -> None:
    """Wait until Pods may be created. A real server refuses them until the namespace has its ServiceAccount."""
    with trio.fail_after(DEADLINE_SECONDS):
        while not await _has(client, SERVICE_ACCOUNT, "default", namespace):  # noqa: ASYNC110 - as above
            await trio.sleep(0.02)


async def _has(client: KubeClient, kind: Resource, name: str, namespace: str) -> bool:
    try:
        await client.get(kind, name, namespace)
    except NotFoundError:
        return False
    return True
