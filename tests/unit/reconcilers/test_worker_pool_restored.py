"""What somebody deletes or changes of a pool of warm workers is restored; a pool as it must be costs no request."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.api.resource import ROLE_BINDING, SECRET, SERVICE_ACCOUNT, STEP_RUN, WORKER_DEPLOYMENT
from core.engine.clock import WallClock
from core.engine.errors import NoRoomError
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from core.workloads.worker_pool import standing_pool
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.worker_pool import RESTORED_AFTER, WorkerPoolReconciler
from tests.unit.reconcilers.reconciler_samples import NOW, stored
from tests.unit.reconcilers.worker_scene import NAMESPACE, WorkerScene, manifest, open_scene, order_for, scene_of

STORE = StorageSettings(StorageProvider.S3, s3_bucket="b", s3_auth_secret_name="keys", s3_credential_namespaces=("*",))
SETTINGS = OperatorSettings(storage=STORE)
CREDENTIALS: Object = {
    **stored("Secret", "keys", meta={"namespace": "system"}),
    "data": {"AWS_ACCESS_KEY_ID": "YQ==", "AWS_SECRET_ACCESS_KEY": "Yg=="},
}


@pytest.fixture
async def scene() -> Any:
    """A pool with the operator's store, for which a step waits."""
    async with open_scene(CREDENTIALS, stored("Engram", "http", spec={}), settings=SETTINGS) as opened:
        await asks(opened, opened.hears(manifest("one")))
        [account] = opened.server.all(SERVICE_ACCOUNT)
        opened.world.informer(SERVICE_ACCOUNT).remember(account)
        yield opened


async def asks(scene: WorkerScene, step_run: Object) -> None:
    name = step_run["metadata"]["ownerReferences"][0]["name"]
    with pytest.raises(NoRoomError):
        await scene.executor.start(order_for(name, step_run=step_run, settings=SETTINGS))


async def looks(controller: WorkerPoolReconciler, scene: WorkerScene) -> Outcome:
    return await controller.reconcile(Key(*scene.pool))


@pytest.fixture
def controller(scene: WorkerScene) -> WorkerPoolReconciler:
    made = WorkerPoolReconciler(scene.client, scene.world, scene.registry, WallClock(lambda: NOW))
    scene.server.requests.clear()
    return made


async def test_a_pool_that_is_as_it_must_be_costs_no_request(
    scene: WorkerScene, controller: WorkerPoolReconciler
) -> None:
    scene.ready_worker()
    for _ in range(3):
        assert await looks(controller, scene) == Done()
    assert scene.server.requests == []


@pytest.mark.parametrize("number", [0, 1])
async def test_a_deleted_binding_is_made_again(
    scene: WorkerScene, controller: WorkerPoolReconciler, autojump_clock: MockClock, number: int
) -> None:
    binding = scene.server.all(ROLE_BINDING)[number]
    scene.loses(binding)

    assert await looks(controller, scene) == After(RESTORED_AFTER)
    await trio.sleep(RESTORED_AFTER.total_seconds())
    assert await looks(controller, scene) == Done()

    again = next(each for each in scene.server.all(ROLE_BINDING) if each["metadata"]["name"] == name_of(binding))
    for field in ("roleRef", "subjects"):
        assert again[field] == binding[field]
    assert again["metadata"]["ownerReferences"] == binding["metadata"]["ownerReferences"]
    assert len(scene.server.requests) == 1
    assert await looks(controller, scene) == Done()
    assert len(scene.server.requests) == 1


async def test_bindings_that_the_watch_shows_late_are_not_made_again(
    scene: WorkerScene, autojump_clock: MockClock
) -> None:
    """Another process has just made the pool."""
    other = scene_of(scene.client, scene.server, SETTINGS)
    made = WorkerPoolReconciler(other.client, other.world, other.registry, WallClock(lambda: NOW))
    for resource in (WORKER_DEPLOYMENT, SERVICE_ACCOUNT):
        other.world.informer(resource).remember(scene.server.all(resource)[0])
    scene.server.requests.clear()
    assert await looks(made, other) == After(RESTORED_AFTER)
    for binding in scene.server.all(ROLE_BINDING):
        other.world.informer(ROLE_BINDING).remember(binding)
    await trio.sleep(RESTORED_AFTER.total_seconds())
    outcome = await looks(made, other)
    assert isinstance(outcome, After), "it is idle"
    assert outcome != After(RESTORED_AFTER)
    assert {method for method, _ in scene.server.requests} <= {"GET"}


async def test_a_binding_without_its_subject_gets_it_back(
    scene: WorkerScene, controller: WorkerPoolReconciler, autojump_clock: MockClock
) -> None:
    binding = scene.server.all(ROLE_BINDING)[0]
    scene.hears({**binding, "subjects": []})
    await looks(controller, scene)
    await trio.sleep(RESTORED_AFTER.total_seconds())
    assert await looks(controller, scene) == Done()
    assert scene.server.all(ROLE_BINDING)[0]["subjects"] == binding["subjects"]


async def test_without_its_account_a_pool_gets_no_rights(scene: WorkerScene, controller: WorkerPoolReconciler) -> None:
    """The garbage collector deletes the rest, and the next step makes a new one."""
    [account] = scene.server.all(SERVICE_ACCOUNT)
    scene.loses(scene.server.all(ROLE_BINDING)[0])
    scene.loses(account)
    assert await looks(controller, scene) == Done()
    assert scene.server.requests == []


async def test_a_pod_that_lacks_its_secret_wakes_a_step_which_makes_the_copy_again(scene: WorkerScene) -> None:
    [copy] = copies(scene)
    scene.server.remove(copy)
    [step_run] = scene.server.all(STEP_RUN)
    await asks(scene, step_run)
    assert copies(scene) == [], "nobody looks as long as nothing is wrong"

    cannot_start(scene, "w1")

    assert scene.woken == [(("team", "one"), "fetch")]
    await asks(scene, step_run)
    [again] = copies(scene)
    assert (name_of(again), again["data"]) == (name_of(copy), copy["data"])
    scene.server.requests.clear()
    await asks(scene, step_run)
    assert scene.server.requests == [], "once"


async def test_if_the_credentials_have_changed_the_pods_get_the_new_copy(scene: WorkerScene) -> None:
    [copy] = copies(scene)
    scene.server.remove(copy)
    scene.server.change(CREDENTIALS, data={**CREDENTIALS["data"], "AWS_ACCESS_KEY_ID": "Yw=="})
    cannot_start(scene, "w1")

    await asks(scene, scene.server.all(STEP_RUN)[0])

    [again] = copies(scene)
    assert name_of(again) != name_of(copy)
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    used = {
        each["valueFrom"]["secretKeyRef"]["name"] for each in variables if "secretKeyRef" in each.get("valueFrom", {})
    }
    assert used == {name_of(again)}


async def test_objects_that_have_lost_their_account_get_another_one(scene: WorkerScene) -> None:
    """The account was deleted, and its dependents kept: they have no owner then."""
    [account] = scene.server.all(SERVICE_ACCOUNT)
    scene.loses(account)
    for orphan in (*scene.server.all(ROLE_BINDING), *scene.server.all(WORKER_DEPLOYMENT)):
        scene.hears({**orphan, "metadata": {**orphan["metadata"], "ownerReferences": []}})

    await asks(scene, scene.server.all(STEP_RUN)[0])

    [again] = scene.server.all(SERVICE_ACCOUNT)
    uid = again["metadata"]["uid"]
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    pool = standing_pool(deployment)
    assert pool is not None
    assert pool.account_uid == uid
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in scene.server.all(ROLE_BINDING)} == {uid}
    assert deployment["spec"]["template"]["metadata"]["annotations"] == {"bubustack.io/worker-pool-account": uid}


def cannot_start(scene: WorkerScene, name: str) -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}
    scene.worker(name, ready=False, containerStatuses=[{"state": {"waiting": waiting}}])


def copies(scene: WorkerScene) -> list[Object]:
    return [each for each in scene.server.all(SECRET) if each["metadata"]["namespace"] == NAMESPACE]


def name_of(obj: Object) -> str:
    found: str = obj["metadata"]["name"]
    return found
