"""What the server adds to new Pods before any other client sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from localcluster.server.builtin import BUILTIN
from localcluster.server.errors import StatusError
from localcluster.server.identity import ADMIN
from localcluster.server.podadmission import ACCOUNT_WAIT_SECONDS, TOKEN_MOUNT_PATH, PodAdmission
from localcluster.server.storage import Storage
from localcluster.server.store import Store
from localcluster.server.types import Object
from localcluster.server.writeport import AdmissionRequest

PODS = next(resource for resource in BUILTIN if resource.plural == "pods")


@pytest.fixture
def store() -> Iterator[Store]:
    storage = Storage.open(None)
    yield Store(storage)
    storage.close()


def put_account(store: Store, name: str = "default", **fields: Any) -> None:
    obj = {"metadata": {"name": name, "namespace": "default"}, **fields}
    store.write(store.collection("/serviceaccounts"), f"default/{name}", obj, expected=None)


def request(spec: Object, operation: str = "CREATE", **metadata: Any) -> AdmissionRequest:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **metadata}, "spec": spec}
    return AdmissionRequest(operation, PODS, "default", "p", "", pod, None, ADMIN, dry_run=False, options={})


async def admitted(store: Store, spec: Object, **metadata: Any) -> Object:
    pod = await PodAdmission(store).mutate(request(spec, **metadata))
    assert pod is not None
    found: Object = pod["spec"]
    return found


CONTAINER = {"name": "c", "image": "i"}


async def test_every_container_gets_the_token_once(store: Store) -> None:
    put_account(store)
    own = {"name": "own", "mountPath": TOKEN_MOUNT_PATH}
    containers = [CONTAINER, {"name": "d", "volumeMounts": [own]}]
    spec = await admitted(store, {"containers": containers, "initContainers": [{"name": "i"}]})
    (volume,) = spec["volumes"]
    mounts = [[mount["name"] for mount in found["volumeMounts"]] for found in spec["containers"]]
    assert mounts == [[volume["name"]], ["own"]]
    assert spec["initContainers"][0]["volumeMounts"][0]["name"] == volume["name"]


@pytest.mark.parametrize(
    ("pod", "account", "mounted"),
    [({}, {}, True), (False, {}, False), ({}, {"automountServiceAccountToken": False}, False)],
    ids=["default", "pod says no", "account says no"],
)
async def test_the_token_can_be_declined(store: Store, pod: Any, account: Object, *, mounted: bool) -> None:
    put_account(store, **account)
    spec: Object = {"containers": [CONTAINER]}
    if pod is False:
        spec["automountServiceAccountToken"] = False
    assert ("volumes" in await admitted(store, spec)) is mounted


async def test_pull_secrets_come_from_the_account(store: Store) -> None:
    put_account(store, imagePullSecrets=[{"name": "s"}])
    assert (await admitted(store, {"containers": [CONTAINER]}))["imagePullSecrets"] == [{"name": "s"}]
    own = {"containers": [CONTAINER], "imagePullSecrets": [{"name": "mine"}]}
    assert (await admitted(store, own))["imagePullSecrets"] == [{"name": "mine"}]


async def test_own_tolerations_are_respected(store: Store) -> None:
    put_account(store)
    mine = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    spec = await admitted(store, {"containers": [CONTAINER], "tolerations": [mine]})
    assert [found["key"] for found in spec["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    everything = {"operator": "Exists"}
    assert (await admitted(store, {"containers": [CONTAINER], "tolerations": [everything]}))["tolerations"] == [
        everything
    ]


async def test_priorities_are_known_or_refused(store: Store) -> None:
    put_account(store)
    assert (await admitted(store, {"containers": [CONTAINER]}))["priority"] == 0
    critical = {"containers": [CONTAINER], "priorityClassName": "system-cluster-critical"}
    assert (await admitted(store, critical))["priority"] == 2_000_000_000
    with pytest.raises(StatusError, match="no PriorityClass with name nope was found"):
        await admitted(store, {"containers": [CONTAINER], "priorityClassName": "nope"})


async def test_a_pod_waits_a_moment_for_the_default_account(
    store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def arrive() -> None:
        await trio.sleep(ACCOUNT_WAIT_SECONDS / 2)
        put_account(store)

    nursery.start_soon(arrive)
    assert (await admitted(store, {"containers": [CONTAINER]}))["serviceAccountName"] == "default"


async def test_a_missing_account_is_told_at_last(store: Store, autojump_clock: MockClock) -> None:
    with pytest.raises(StatusError, match='serviceaccount "default" not found') as caught:
        await admitted(store, {"containers": [CONTAINER]})
    assert caught.value.code == 403
    assert trio.current_time() == pytest.approx(ACCOUNT_WAIT_SECONDS)


async def test_updates_and_mirror_pods_are_left_alone(store: Store) -> None:
    update = request({"containers": [CONTAINER]}, "UPDATE")
    assert await PodAdmission(store).mutate(update) is update.obj
    mirror = {"kubernetes.io/config.mirror": "x"}
    assert "serviceAccountName" not in await admitted(store, {"containers": [CONTAINER]}, annotations=mirror)


async def test_the_clients_object_is_not_changed(store: Store) -> None:
    put_account(store)
    spec: Object = {"containers": [dict(CONTAINER)]}
    await admitted(store, spec)
    assert spec == {"containers": [CONTAINER]}
