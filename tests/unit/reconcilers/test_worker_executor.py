"""Attempts are assigned once, to ready workers with room; nothing is lost with an answer, a worker or a process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from core.api import keys
from core.api.objects import NamespacedName, Object
from core.api.resource import ROLE_BINDING, SERVICE_ACCOUNT, STEP_RUN, WORKER_DEPLOYMENT, WORKER_LEASE, WORKER_POD
from core.engine.errors import NameConflictError, NoRoomError, RejectedError, StaleError, UnavailableError
from core.engine.ports import AttemptState
from core.engine.step.assignment import assignment_of
from reconcilers.adapters.binding import ResolvedBinding
from reconcilers.adapters.worker_heartbeats import LOST_AFTER_SECONDS
from reconcilers.adapters.worker_leftovers import HEARS_WITHIN_SECONDS
from reconcilers.adapters.worker_registry import PLACE_KEPT_SECONDS
from tests.unit.reconcilers.memory_server import Request
from tests.unit.reconcilers.reconciler_samples import stored
from tests.unit.reconcilers.worker_scene import NAMESPACE, WorkerScene, open_scene, order_for, scene_of


async def start(scene: WorkerScene, step_run: Object, **fields: Any) -> None:
    run = step_run["metadata"]["ownerReferences"][0]["name"]
    known = scene.world.step_runs.get(NAMESPACE, step_run["metadata"]["name"])
    await scene.executor.start(order_for(run, step_run=known, **fields))


async def waiting(scene: WorkerScene, name: str) -> Object:
    step_run = await scene.creates(name)
    with pytest.raises(NoRoomError):
        await start(scene, step_run)
    return step_run


@pytest.fixture
async def scene() -> Any:
    """A pool that the step of run ``first`` has asked for, and no worker yet."""
    async with open_scene() as opened:
        await waiting(opened, "first")
        yield opened


async def test_the_first_step_makes_the_pool_and_waits(scene: WorkerScene) -> None:
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    [account] = scene.server.all(SERVICE_ACCOUNT)
    assert account["metadata"]["name"] == deployment["metadata"]["name"]
    assert len(scene.server.all(ROLE_BINDING)) == 2
    [step_run] = scene.server.all(STEP_RUN)
    assert step_run["metadata"]["labels"] == {keys.LABEL_WORKER_POOL: scene.pool.name}
    assert scene.server.writes == [("POST", plural) for plural in PARTS]
    with pytest.raises(NoRoomError, match=r"no worker of pool .* is ready"):
        await start(scene, step_run)
    assert scene.server.writes == [("POST", plural) for plural in PARTS]


PARTS = ("serviceaccounts", "rolebindings", "rolebindings", "deployments")


async def test_a_ready_worker_calls_those_who_wait_and_a_patch_starts_them(scene: WorkerScene) -> None:
    pod = scene.worker()
    assert scene.woken == []
    scene.beats(pod)
    assert scene.woken == [(("team", "first"), "fetch")]
    [step_run] = scene.server.all(STEP_RUN)
    await start(scene, step_run)
    kept = scene.server.objects[("stepruns", NAMESPACE, "first-fetch")]
    assignment = assignment_of(kept)
    assert assignment is not None
    assert (assignment.attempt, assignment.worker, assignment.worker_uid) == (0, "w1", pod["metadata"]["uid"])
    assert assignment.execution_key == "k"
    assert assignment.environment["BUBU_TRIGGER_DATA"] == '{"n":"first"}'
    assert kept["metadata"]["labels"][keys.LABEL_WORKER] == "w1"
    before = len(scene.server.requests)
    await start(scene, step_run)
    assert len(scene.server.requests) == before, "an attempt that is started already is left alone"


async def test_with_room_the_creation_starts_the_attempt_without_another_request(scene: WorkerScene) -> None:
    scene.ready_worker()
    [first] = scene.server.all(STEP_RUN)
    await start(scene, first)
    before = len(scene.server.requests)
    second = await scene.creates("second")
    assert scene.assigned_to(second) == "w1"
    assert len(scene.server.requests) == before


async def test_attempts_go_to_the_worker_with_the_most_room_until_none_has_any(scene: WorkerScene) -> None:
    for name in ("w1", "w2"):
        scene.ready_worker(name)
    await start(scene, scene.server.all(STEP_RUN)[0])
    made = [await scene.creates(name) for name in ("a", "b", "c", "d")]
    given = [scene.assigned_to(each) for each in (scene.server.all(STEP_RUN)[0], *made)]
    assert sorted(each or "" for each in given) == ["", "w1", "w1", "w2", "w2"]
    assert given[0] != given[1]
    with pytest.raises(NoRoomError, match=r"all workers of pool .* are at work"):
        await start(scene, made[-1])


async def test_a_lease_that_is_seen_before_its_pod_counts_once_the_pod_is_there(scene: WorkerScene) -> None:
    known = scene.worker()
    pod = {**known, "metadata": {**known["metadata"], "name": "w2", "uid": "uid-of-w2"}}
    scene.beats(pod)
    assert scene.woken == []
    scene.hears(pod)
    assert scene.woken == [(("team", "first"), "fetch")]


async def test_a_process_that_starts_believes_the_leases_that_are_there(scene: WorkerScene) -> None:
    scene.ready_worker()
    other = scene_of(scene.client, scene.server)
    for obj in (*scene.server.all(WORKER_LEASE), *scene.server.all(WORKER_POD), *scene.server.all(WORKER_DEPLOYMENT)):
        other.hears(obj)
    assert other.registry.is_served(scene.pool)


async def test_a_place_is_counted_while_a_write_is_under_way(scene: WorkerScene) -> None:
    scene.ready_worker()
    await start(scene, scene.server.all(STEP_RUN)[0])
    added: list[Object] = []

    async def second(more: Object) -> Object:
        added.append(more)
        return {}

    async def first(more: Object) -> Object:
        added.append(more)
        await scene.executor.start(replace(order_for("b"), create=second))
        return {}

    await scene.executor.start(replace(order_for("a"), create=first))
    await scene.executor.start(replace(order_for("b"), create=second))
    assert [keys.LABEL_WORKER in each["labels"] for each in added] == [True, False, True], "no write was stored"


async def test_those_who_wait_are_served_in_their_order_as_others_end(scene: WorkerScene) -> None:
    scene.ready_worker()
    first = scene.server.all(STEP_RUN)[0]
    await start(scene, first)
    second = await scene.creates("second")
    line = [await waiting(scene, name) for name in ("c", "d")]
    late = await scene.creates("late")
    assert scene.assigned_to(late) is None
    scene.woken.clear()
    scene.releases(first)
    assert scene.woken == [(("team", "c"), "fetch")]
    with pytest.raises(NoRoomError):
        await start(scene, late)
    with pytest.raises(NoRoomError):
        await start(scene, line[1])
    await start(scene, line[0])
    scene.releases(second)
    assert scene.woken[-1] == (("team", "d"), "fetch")


async def test_hundreds_that_wait_are_not_woken_for_two_places(scene: WorkerScene) -> None:
    for number in range(300):
        await waiting(scene, f"r{number}")
    scene.ready_worker()
    assert len(scene.woken) == 2


async def test_a_step_that_ends_leaves_the_line(scene: WorkerScene) -> None:
    step_run = await waiting(scene, "b")
    first = scene.server.all(STEP_RUN)[0]
    scene.loses(first)
    scene.hears({**step_run, "status": {"phase": "Canceled"}})
    last = await waiting(scene, "c")
    scene.ready_worker()
    assert [str(run) for run, _ in scene.woken] == ["team/c"]
    await start(scene, last)


async def test_a_called_step_that_does_not_come_keeps_its_place_for_a_while(
    scene: WorkerScene, autojump_clock: MockClock
) -> None:
    await waiting(scene, "b")
    await waiting(scene, "c")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        scene.ready_worker()
        assert [run.name for run, _ in scene.woken] == ["first", "b"]
        await trio.sleep(LOST_AFTER_SECONDS - 1)
        scene.beats(scene.world.informer(WORKER_POD).list()[0])
        await trio.sleep(PLACE_KEPT_SECONDS - LOST_AFTER_SECONDS + 2)
        assert [run.name for run, _ in scene.woken] == ["first", "b", "c"]
        nursery.cancel_scope.cancel()


async def test_a_lost_answer_assigns_no_second_worker(scene: WorkerScene) -> None:
    scene.ready_worker("w1")
    step_run = scene.server.all(STEP_RUN)[0]

    def lose(request: Request) -> None:
        if request[0] == "PATCH":
            raise httpx.ReadError("the connection broke")

    scene.server.after = lose
    with pytest.raises(UnavailableError):
        await start(scene, step_run)
    scene.server.after = None
    scene.ready_worker("w2")
    with pytest.raises(StaleError):
        await start(scene, step_run)
    assert scene.assigned_to(step_run) == "w1"


async def test_of_two_operators_one_assigns(scene: WorkerScene) -> None:
    other = scene_of(scene.client, scene.server)
    for each in (scene, other):
        for obj in scene.server.all(WORKER_DEPLOYMENT) + scene.server.all(STEP_RUN):
            each.hears(obj)
        each.ready_worker()
    step_run = scene.server.all(STEP_RUN)[0]
    for each in (scene, other):
        each.world.step_runs.remember(step_run)
    await start(scene, step_run)
    with pytest.raises(StaleError):
        await start(other, step_run)


@pytest.mark.parametrize("state", ["draining", ""])
async def test_a_worker_that_does_not_say_that_it_is_ready_gets_nothing(scene: WorkerScene, state: str) -> None:
    scene.beats(scene.worker(), state)
    assert scene.woken == []


async def test_pods_that_the_pool_has_not_made_get_nothing(scene: WorkerScene) -> None:
    scene.beats(scene.worker(owner="other-1"))
    scene.beats(scene.worker("w2", ready=False))
    going = scene.worker("w3")
    scene.hears({**going, "metadata": {**going["metadata"], "deletionTimestamp": "2025-01-02T03:04:05Z"}})
    scene.beats(going)
    assert scene.woken == []


async def assigned(scene: WorkerScene) -> tuple[Object, Object]:
    """The first step, at work in a worker: StepRun and Pod."""
    pod = scene.ready_worker()
    await start(scene, scene.server.all(STEP_RUN)[0])
    known = scene.world.step_runs.get(NAMESPACE, "first-fetch")
    assert known is not None
    scene.woken.clear()
    return known, pod


async def test_a_worker_that_is_gone_loses_its_attempt(scene: WorkerScene) -> None:
    step_run, pod = await assigned(scene)
    assert (await scene.observe(step_run)).state is AttemptState.STARTING
    scene.loses(pod)
    assert scene.woken == [(("team", "first"), "fetch")]
    seen = await scene.observe(step_run)
    assert (seen.state, seen.reason, seen.exit_code) == (AttemptState.FAILED, "WorkerLost", None)
    asked = len(scene.server.requests)
    await scene.observe(step_run)
    assert len(scene.server.requests) == asked


async def test_a_pod_that_the_watch_does_not_show_is_asked_for(scene: WorkerScene) -> None:
    step_run, pod = await assigned(scene)
    metadata = pod["metadata"]
    scene.world.informer(WORKER_POD).forget(NAMESPACE, "w1", metadata["uid"])
    assert (await scene.observe(step_run)).state is AttemptState.STARTING
    scene.world.informer(WORKER_POD).forget(NAMESPACE, "w1", metadata["uid"])

    async def down(request: Request) -> httpx.Response | None:
        raise httpx.ConnectError("no server")

    scene.server.before = down
    with pytest.raises(UnavailableError):
        await scene.observe(step_run)


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_a_worker_whose_pod_has_ended_loses_its_attempt(scene: WorkerScene, phase: str) -> None:
    """The Pod stays, for example after an eviction."""
    step_run, pod = await assigned(scene)
    scene.hears({**pod, "status": {**pod["status"], "phase": phase, "reason": "Evicted"}})
    assert scene.woken == [(("team", "first"), "fetch")]
    seen = await scene.observe(step_run)
    assert (seen.state, seen.reason) == (AttemptState.FAILED, "WorkerLost")


async def test_a_pod_that_the_watch_does_not_show_may_have_ended(scene: WorkerScene) -> None:
    step_run, pod = await assigned(scene)
    scene.world.informer(WORKER_POD).forget(NAMESPACE, "w1", pod["metadata"]["uid"])
    scene.server.put({**pod, "status": {**pod["status"], "phase": "Failed"}})
    assert (await scene.observe(step_run)).reason == "WorkerLost"


async def test_another_pod_of_that_name_is_not_the_worker(scene: WorkerScene) -> None:
    step_run, pod = await assigned(scene)
    scene.loses(pod)
    scene.hears({**pod, "metadata": {**pod["metadata"], "uid": "another"}})
    assert (await scene.observe(step_run)).state is AttemptState.FAILED


async def test_silence_is_confirmed_before_a_worker_is_lost(scene: WorkerScene, autojump_clock: MockClock) -> None:
    step_run, pod = await assigned(scene)
    asked: list[str] = []
    scene.registry.when_needed(lambda pool: asked.append(str(pool)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        await trio.sleep(LOST_AFTER_SECONDS - 1)
        lease = scene.server.objects[("leases", NAMESPACE, "w1")]
        scene.server.change(lease, spec={**lease["spec"], "renewTime": "unseen"})  # the watch is late
        await trio.sleep(2)
        assert (await scene.observe(step_run)).state is AttemptState.STARTING
        assert asked == []
        await trio.sleep(2 * LOST_AFTER_SECONDS)
        assert (await scene.observe(step_run)).reason == "WorkerLost"
        assert asked == [str(scene.pool)], "its pool may be idle now"
        assert (("team", "first"), "fetch") in scene.woken
        scene.beats(pod)
        assert (await scene.observe(step_run)).state is AttemptState.STARTING
        nursery.cancel_scope.cancel()


async def test_the_lease_of_another_confirms_no_worker(scene: WorkerScene, autojump_clock: MockClock) -> None:
    step_run, _ = await assigned(scene)
    lease = scene.server.objects[("leases", NAMESPACE, "w1")]
    scene.server.change(lease, spec={"holderIdentity": "another", "renewTime": "unseen"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        await trio.sleep(LOST_AFTER_SECONDS + 1)
        assert (await scene.observe(step_run)).reason == "WorkerLost"
        nursery.cancel_scope.cancel()


async def test_while_the_server_is_down_no_worker_is_lost(scene: WorkerScene, autojump_clock: MockClock) -> None:
    step_run, _ = await assigned(scene)

    async def down(request: Request) -> httpx.Response | None:
        raise httpx.ConnectError("no server")

    scene.server.before = down
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        await trio.sleep(300)
        assert (await scene.observe(step_run)).state is AttemptState.STARTING
        scene.server.before = None
        await trio.sleep(10)
        assert (await scene.observe(step_run)).reason == "WorkerLost"
        nursery.cancel_scope.cancel()


async def test_without_workers_nothing_is_due(scene: WorkerScene, autojump_clock: MockClock) -> None:
    asked = len(scene.server.requests)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        await trio.sleep(3600)
        nursery.cancel_scope.cancel()
    assert len(scene.server.requests) == asked


async def test_the_end_of_the_process_ends_the_attempt(scene: WorkerScene) -> None:
    step_run, _ = await assigned(scene)
    seen = await scene.observe(scene.releases(step_run, 0))
    assert (seen.state, seen.worker) == (AttemptState.SUCCEEDED, "w1")
    seen = await scene.observe(scene.releases(step_run, 137))
    assert (seen.state, seen.exit_code) == (AttemptState.FAILED, 137)


async def test_a_worker_with_a_killed_process_takes_nothing_before_its_next_heartbeat(scene: WorkerScene) -> None:
    step_run, pod = await assigned(scene)
    scene.releases(step_run, 137, phase="Failed")
    second = await waiting(scene, "second")
    scene.beats(pod)
    assert scene.woken == [(("team", "second"), "fetch")]
    await start(scene, second)


async def test_a_retry_waits_until_the_earlier_attempt_has_let_go(scene: WorkerScene) -> None:
    step_run, _ = await assigned(scene)
    later = scene.hears({**step_run, "status": {"retries": 1}})
    with pytest.raises(StaleError, match="still runs"):
        await start(scene, later, attempt=1)
    scene.releases(later, 143, attempt=0)
    await start(scene, later, attempt=1)
    found = assignment_of(scene.server.objects[("stepruns", NAMESPACE, "first-fetch")])
    assert found is not None
    assert found.attempt == 1


async def test_something_may_run_until_the_worker_lets_go_or_is_lost(
    scene: WorkerScene, autojump_clock: MockClock
) -> None:
    step_run, _ = await assigned(scene)
    assert (await scene.executor.observe(NAMESPACE, "first-fetch", None)).state is AttemptState.LINGERING
    assert (await scene.executor.observe(NAMESPACE, "other-fetch", None)).state is AttemptState.ABSENT
    scene.releases(step_run)
    assert (await scene.executor.observe(NAMESPACE, "first-fetch", None)).state is AttemptState.ABSENT


@pytest.fixture
async def deleted(scene: WorkerScene) -> Any:
    """The Pod of a worker that has the step of run ``first``, whose StepRun has just been deleted."""
    step_run, pod = await assigned(scene)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        scene.loses(scene.server.objects[("stepruns", NAMESPACE, step_run["metadata"]["name"])])
        yield pod
        nursery.cancel_scope.cancel()


def is_over(scene: WorkerScene) -> bool:
    """Whether nothing runs for the StepRun that is gone, and everybody knows it."""
    over = not scene.registry.lingers(NamespacedName(NAMESPACE, "first-fetch"))
    assert scene.registry.is_at_work(scene.pool) != over or not scene.server.all(WORKER_POD)
    assert ((("team", "first"), "fetch") in scene.woken) == over
    return over


async def test_a_deleted_step_has_its_place_until_its_worker_has_surely_heard(
    scene: WorkerScene, deleted: Object, autojump_clock: MockClock
) -> None:
    asked: list[str] = []
    scene.registry.when_needed(lambda pool: asked.append(str(pool)))
    for _ in range(2):
        await trio.sleep(HEARS_WITHIN_SECONDS / 2 - 0.1)
        scene.beats(deleted)
        assert not is_over(scene)
    await trio.sleep(1)
    assert not is_over(scene), "the worker may have lost contact since"
    scene.beats(deleted)
    assert is_over(scene)
    assert asked == [str(scene.pool)], "it may be idle now"


async def test_a_worker_that_is_cut_off_has_a_deleted_step_until_it_is_lost(
    scene: WorkerScene, deleted: Object, autojump_clock: MockClock
) -> None:
    """It kills what it runs 16 s after the last renewal, which may be later than the deletion: its watch was broken."""
    await trio.sleep(HEARS_WITHIN_SECONDS - 1)
    scene.beats(deleted)
    await trio.sleep(LOST_AFTER_SECONDS - 1)
    assert not is_over(scene)
    await trio.sleep(2)
    assert is_over(scene)


async def test_silence_with_a_deleted_step_is_confirmed_before_the_worker_is_lost(
    scene: WorkerScene, deleted: Object, autojump_clock: MockClock
) -> None:
    await trio.sleep(LOST_AFTER_SECONDS - 1)
    lease = scene.server.objects[("leases", NAMESPACE, "w1")]
    scene.server.change(lease, spec={**lease["spec"], "renewTime": "unseen"})  # the watch is late
    assert not is_over(scene)
    await trio.sleep(2)
    assert is_over(scene), "the worker has renewed its Lease"
    assert scene.registry.is_served(scene.pool)


@pytest.mark.parametrize("ends", ["gone", "ended"])
async def test_a_deleted_step_ends_with_the_pod_of_its_worker(scene: WorkerScene, deleted: Object, ends: str) -> None:
    assert not is_over(scene)
    if ends == "gone":
        scene.loses(deleted)
    else:
        scene.hears({**deleted, "status": {**deleted["status"], "phase": "Failed"}})
    assert is_over(scene)


async def test_a_step_that_is_deleted_after_its_worker_waits_for_nobody(scene: WorkerScene) -> None:
    step_run, pod = await assigned(scene)
    scene.loses(pod)
    scene.woken.clear()
    scene.loses(scene.server.objects[("stepruns", NAMESPACE, step_run["metadata"]["name"])])
    assert is_over(scene)


async def test_a_pool_that_never_gets_ready_fails_its_steps_in_their_time(
    scene: WorkerScene, autojump_clock: MockClock
) -> None:
    reason = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
    scene.worker(ready=False, containerStatuses=[reason])
    step_run = scene.server.all(STEP_RUN)[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.registry.run)
        await trio.sleep(299)
        with pytest.raises(NoRoomError, match="ImagePullBackOff"):
            await start(scene, step_run)
        await trio.sleep(2)
        assert scene.woken == [(("team", "first"), "fetch")]
        with pytest.raises(RejectedError, match="ImagePullBackOff"):
            await start(scene, step_run)
        nursery.cancel_scope.cancel()


async def test_a_busy_pool_is_waited_for_as_long_as_the_run_has_time(
    scene: WorkerScene, autojump_clock: MockClock
) -> None:
    _, pod = await assigned(scene)
    await scene.creates("second")
    last = await waiting(scene, "third")
    for _ in range(100):
        await trio.sleep(5)
        scene.beats(pod)
    with pytest.raises(NoRoomError):
        await start(scene, last)


async def test_a_pool_that_was_deleted_is_made_again_for_those_who_wait(scene: WorkerScene) -> None:
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    step_run = scene.server.all(STEP_RUN)[0]
    scene.loses(deployment)
    for account in scene.server.all(SERVICE_ACCOUNT):
        scene.server.remove(account)
    for binding in scene.server.all(ROLE_BINDING):
        scene.server.remove(binding)
    assert scene.woken == [(("team", "first"), "fetch")]
    with pytest.raises(NoRoomError):
        await start(scene, step_run)
    [again] = scene.server.all(WORKER_DEPLOYMENT)
    assert again["metadata"]["name"] == deployment["metadata"]["name"]


async def test_what_is_left_of_a_deleted_pool_must_go_first(scene: WorkerScene) -> None:
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    scene.loses(deployment)
    for account in scene.server.all(SERVICE_ACCOUNT):
        scene.server.remove(account)
    with pytest.raises(UnavailableError, match="still being removed"):
        await start(scene, scene.server.all(STEP_RUN)[0])


async def test_objects_of_others_are_not_taken_over() -> None:
    async with open_scene() as scene:
        await waiting(scene, "first")
        name = scene.pool.name
    async with open_scene(stored("ServiceAccount", name)) as scene:
        step_run = await scene.creates("first")
        with pytest.raises(NameConflictError, match="does not belong to a pool"):
            await start(scene, step_run)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("is_done", [True, False])
async def test_a_pool_is_made_whole_whichever_answer_is_lost(number: int, is_done: bool) -> None:
    async with open_scene() as scene:
        step_run = await scene.creates("first")
        scene.server.requests.clear()
        fail = _once_at(scene, number)
        if is_done:
            scene.server.after = lambda request: fail() if request[0] == "POST" else None
        else:
            scene.server.before = _before(fail)
        with pytest.raises(UnavailableError):
            await start(scene, step_run)
        with pytest.raises(NoRoomError):
            await start(scene, step_run)
        counts = [len(scene.server.all(each)) for each in (SERVICE_ACCOUNT, ROLE_BINDING, WORKER_DEPLOYMENT)]
        assert counts == [1, 2, 1]


def _once_at(scene: WorkerScene, number: int) -> Callable[[], None]:
    done: list[bool] = []

    def fail() -> None:
        if len(scene.server.writes) == number + 1 and not done:
            done.append(True)
            raise httpx.ReadError("the connection broke")

    return fail


def _before(fail: Callable[[], None]) -> Callable[[Request], Awaitable[httpx.Response | None]]:
    async def before(request: Request) -> httpx.Response | None:
        if request[0] == "POST":
            fail()
        return None

    return before


async def test_inputs_that_have_no_room_in_an_assignment_are_refused(scene: WorkerScene) -> None:
    scene.ready_worker()
    step_run = scene.server.all(STEP_RUN)[0]
    huge = order_for("first", step_run=scene.world.step_runs.get(NAMESPACE, step_run["metadata"]["name"]))
    object.__setattr__(huge, "inputs", {"text": '"' * 60_000})
    with pytest.raises(RejectedError) as caught:
        await scene.executor.start(huge)
    assert caught.value.reason == "InputTooLarge"
    assert scene.assigned_to(step_run) is None


async def test_an_engram_that_workers_cannot_serve_any_more_is_refused(scene: WorkerScene) -> None:
    order = order_for("first")
    ResolvedBinding.of(order).template["spec"]["supportedModes"] = ["job"]
    with pytest.raises(RejectedError, match="start another run"):
        await scene.executor.start(order)
