"""The registrations of the operator's own controllers, and what is made from registrations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest
import trio
import trio.testing

from bubu_contract.submission import story_run_name
from core.api.keys import ANNOTATION_TRIGGER_REQUEST_NAME, ANNOTATION_TRIGGER_REQUEST_UID
from core.api.objects import Object
from core.api.resource import (
    EFFECT_CLAIM,
    IMPULSE,
    SERVICE_ACCOUNT,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT,
    TRANSPORT_BINDING,
)
from core.kube.client import KubeClient
from core.policy.settings import ControllerSettings, OperatorSettings
from core.workloads.story_runner import story_runner
from reconcilers.adapters.triggers import is_awaited
from reconcilers.adapters.world import World
from reconcilers.controller_set import ControllerSet
from reconcilers.controllers import CONTROLLERS
from reconcilers.definition import COUNT_DELAY
from reconcilers.effectclaim import COLLECTION, SETTLING
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.controller import Controller, Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Watch, connect, own_keys
from reconcilers.story_account import RUNS_DELAY
from tests.unit.reconcilers.memory_payloads import MemoryPayloads
from tests.unit.reconcilers.reconciler_samples import (
    RecordedEvents,
    RecordingSupervisor,
    clock,
    open_world,
    run,
    step_run,
    stored,
    story,
)

SOON = timedelta()
UID = ANNOTATION_TRIGGER_REQUEST_UID


@dataclass
class Heard:
    """Keys that were enqueued since the last look, by controller."""

    world: World
    keys: dict[str, set[tuple[str, timedelta]]] = field(default_factory=dict)

    def look(self) -> dict[str, set[tuple[str, timedelta]]]:
        keys, self.keys = self.keys, {}
        return keys


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    """For the controllers of definitions. ``test_router`` covers the StoryRun controller."""
    async with open_world() as (_, world):
        result = Heard(world)
        for row in CONTROLLERS:
            if row.name != "storyrun":
                note = _noting(result, row.name)
                connect(row.watches, world, note)
        yield result


def _noting(heard: Heard, name: str) -> Any:
    return lambda key, delay: heard.keys.setdefault(name, set()).add((str(key), delay))


def test_controllers_have_names_of_their_own() -> None:
    assert [row.name for row in CONTROLLERS] == [
        "storyrun",
        "storeddata",
        "story",
        "liverun",
        "engram",
        "catalog-engramtemplate",
        "impulse",
        "catalog-impulsetemplate",
        "storyrevision",
        "storyaccount",
        "runs-storytrigger",
        "runs-effectclaim",
        "transport",
        "stream",
        "workerpool",
    ]


async def test_a_story_concerns_itself_its_revisions_and_the_engrams_it_refers_to(heard: Heard) -> None:
    first = story("report", {"name": "a", "ref": {"name": "http", "namespace": "lib"}})
    heard.world.stories.remember(first)
    own = {("team/report", SOON)}
    assert heard.look() == {"story": own, "liverun": own, "storyrevision": own, "engram": {("lib/http", SOON)}}

    edited = {**first, "metadata": {**first["metadata"], "resourceVersion": "900000", "generation": 2}}
    edited["spec"] = {"steps": [{"name": "a", "ref": {"name": "mail"}}]}
    heard.world.stories.remember(edited)
    assert heard.look()["engram"] == {("lib/http", SOON), ("team/mail", SOON)}


async def test_an_engram_concerns_itself_its_template_and_the_stories_that_refer_to_it(heard: Heard) -> None:
    heard.world.stories.remember(story("report", {"name": "a", "ref": {"name": "http"}}))
    heard.world.stories.remember(story("other"))
    heard.look()
    heard.world.engrams.remember(stored("Engram", "http", spec={"templateRef": {"name": "http-1"}}))
    assert heard.look() == {
        "engram": {("team/http", SOON)},
        "catalog-engramtemplate": {("http-1", SOON)},
        "story": {("team/report", SOON)},
    }


async def test_an_account_is_concerned_by_all_that_decides_whether_it_is_the_current_one(heard: Heard) -> None:
    told = story("report", {"name": "a", "ref": {"name": "http"}})
    runner = story_runner("team", told, ())
    heard.world.informer(SERVICE_ACCOUNT).remember(
        stored("ServiceAccount", runner.name, meta=runner.account()["metadata"])
    )
    own = {(f"team/{runner.name}", SOON)}
    assert heard.look() == {"storyaccount": own}
    live = run("one", status={"phase": "Running"})
    for informer, obj, concerned in (
        (heard.world.stories, told, own),
        (heard.world.stories, story("other"), None),
        (heard.world.engrams, stored("Engram", "http", spec={"templateRef": {"name": "http-1"}}), own),
        (heard.world.engrams, stored("Engram", "other", spec={"templateRef": {"name": "http-1"}}), None),
        (heard.world.engram_templates, stored("EngramTemplate", "http-1", namespace="", spec={}), own),
        (heard.world.reference_grants, stored("ReferenceGrant", "g", spec={}), own),
        (heard.world.story_runs, live, None),
        (
            heard.world.story_runs,
            {**live, "metadata": {**live["metadata"], "resourceVersion": "900003"}, "status": {"phase": "Failed"}},
            {(f"team/{runner.name}", RUNS_DELAY)},
        ),
    ):
        informer.remember(obj)
        assert heard.look().get("storyaccount") == concerned, obj["metadata"]["name"]


async def test_a_transport_concerns_itself_and_is_concerned_by_its_stories_and_bindings(heard: Heard) -> None:
    heard.world.informer(TRANSPORT).remember(stored("Transport", "voice", namespace="", spec={}))
    assert heard.look() == {"transport": {("voice", SOON)}}
    declared = [{"name": "a", "transportRef": "voice"}, {"name": "b", "transportRef": "other"}]
    heard.world.stories.remember(story("report", transports=declared))
    assert heard.look()["transport"] == {("voice", SOON), ("other", SOON)}
    bound = stored("TransportBinding", "one", spec={"transportRef": "voice"})
    heard.world.informer(TRANSPORT_BINDING).remember(bound)
    assert heard.look() == {"transport": {("voice", COUNT_DELAY)}}
    ready = {**bound, "metadata": {**bound["metadata"], "resourceVersion": "900001"}, "status": {"conditions": []}}
    heard.world.informer(TRANSPORT_BINDING).remember(ready)
    assert heard.look() == {"transport": {("voice", COUNT_DELAY)}}


async def test_a_template_concerns_itself_and_its_engrams(heard: Heard) -> None:
    heard.world.engrams.remember(stored("Engram", "http", spec={"templateRef": {"name": "http-1"}}))
    heard.look()
    heard.world.engram_templates.remember(stored("EngramTemplate", "http-1", namespace="", spec={}))
    assert heard.look() == {"catalog-engramtemplate": {("http-1", SOON)}, "engram": {("team/http", SOON)}}


async def test_a_grant_concerns_every_story(heard: Heard) -> None:
    for name in ("a", "b"):
        heard.world.stories.remember(story(name))
    heard.look()
    heard.world.reference_grants.remember(stored("ReferenceGrant", "g", spec={}))
    assert heard.look() == {"story": {("team/a", SOON), ("team/b", SOON)}}


async def test_counts_follow_the_phases_of_runs_and_step_runs_after_a_while(heard: Heard) -> None:
    one = run("one")
    heard.world.story_runs.remember(one)
    heard.world.step_runs.remember(step_run(one))
    assert heard.look() == {}

    heard.world.story_runs.remember(run("two", status={"phase": "Running"}))
    own = {("team/report", COUNT_DELAY)}
    assert heard.look() == {"story": own, "storyrevision": own}
    heard.world.step_runs.remember(step_run(one, "other", status={"phase": "Running"}))
    assert heard.look() == {"engram": {("team/http", COUNT_DELAY)}}


async def test_a_claim_concerns_itself_and_a_step_run_the_claims_that_refer_to_it(heard: Heard) -> None:
    claims = heard.world.informer(EFFECT_CLAIM)
    own = stored("EffectClaim", "one-fetch-effect-1", spec={"stepRunRef": {"name": "one-fetch"}})
    claims.remember(own)
    claims.remember(stored("EffectClaim", "one-other-effect-1", spec={"stepRunRef": {"name": "one-other"}}))
    after_a_while = {("team/one-fetch-effect-1", SETTLING), ("team/one-other-effect-1", SETTLING)}
    assert heard.look() == {"runs-effectclaim": after_a_while}
    claims.remember(
        {**own, "metadata": {**own["metadata"], "resourceVersion": "900001"}, "status": {"phase": "Reserved"}}
    )
    assert heard.look() == {}

    fetch = step_run(run("one"))
    heard.world.step_runs.remember(fetch)
    assert heard.look() == {"runs-effectclaim": {("team/one-fetch-effect-1", SOON)}}
    version = {"metadata": {**fetch["metadata"], "resourceVersion": "900002"}}
    heard.world.step_runs.remember({**fetch, **version, "status": {"phase": "Running"}})
    assert "runs-effectclaim" not in heard.look()
    replaced = {"metadata": {**fetch["metadata"], "uid": "another", "resourceVersion": "900003"}}
    heard.world.step_runs.remember({**fetch, **replaced})
    both = {("team/one-fetch-effect-1", SOON), ("team/one-fetch-effect-1", COLLECTION)}
    assert heard.look()["runs-effectclaim"] == both
    heard.world.step_runs.forget("team", "one-fetch", "another")
    assert heard.look()["runs-effectclaim"] == {("team/one-fetch-effect-1", COLLECTION)}


# What a StoryTrigger waits for.


def trigger(name: str = "t", decision: str = "", run_name: str = "", **spec: Any) -> Object:
    status: Object = {"decision": decision, "observedGeneration": 1} if decision else {}
    if run_name:
        status["storyRunRef"] = {"name": run_name}
    spec = {"storyRef": {"name": "report"}, "deliveryIdentity": {"submissionId": name}, **spec}
    return stored("StoryTrigger", name, spec=spec, status=status)


def answered(obj: Object, decision: str = "Created", **status: Any) -> Object:
    """A later version with an answer."""
    metadata = {**obj["metadata"], "resourceVersion": str(int(obj["metadata"]["resourceVersion"]) + 100_000)}
    return {**obj, "metadata": metadata, "status": {"decision": decision, "observedGeneration": 1, **status}}


async def test_a_trigger_is_reconciled_when_it_is_new_and_when_it_is_answered(heard: Heard) -> None:
    first, triggers = trigger(), heard.world.informer(STORY_TRIGGER)
    triggers.remember(first)
    assert heard.look() == {"runs-storytrigger": {("team/t", SOON)}}
    waiting = answered(first, "Pending")
    triggers.remember(waiting)
    assert heard.look() == {}
    triggers.remember(answered(waiting))
    assert heard.look() == {"runs-storytrigger": {("team/t", SOON)}}


async def test_what_a_trigger_waits_for_wakes_it_until_it_is_answered(heard: Heard) -> None:
    shared = {"name": "report", "namespace": "shared"}
    triggers = heard.world.informer(STORY_TRIGGER)
    own = trigger("own", impulseRef={"name": "hook"})
    foreign = trigger("foreign", storyRef=shared)
    for obj in (own, foreign):
        triggers.remember(obj)
    heard.look()

    def wake(uid: str) -> list[set[tuple[str, timedelta]]]:
        found, meta = [], {"uid": uid}
        for informer, obj in (
            (heard.world.stories, stored("Story", "report", spec={}, meta=meta)),
            (heard.world.stories, stored("Story", "report", namespace="shared", spec={}, meta={"uid": f"s-{uid}"})),
            (heard.world.reference_grants, stored("ReferenceGrant", "g", namespace="shared", spec={}, meta=meta)),
            (heard.world.informer(IMPULSE), stored("Impulse", "hook", spec={}, meta=meta)),
        ):
            informer.remember(obj)
            found.append(heard.look().get("runs-storytrigger", set()))
            informer.forget(obj["metadata"]["namespace"], obj["metadata"]["name"], obj["metadata"]["uid"])
            heard.look()
        return found

    mine, theirs = {("team/own", SOON)}, {("team/foreign", SOON)}
    assert wake("1") == [mine, theirs, theirs, mine]
    for obj in (own, foreign):
        triggers.remember(answered(obj))
    heard.look()
    assert wake("2") == [set(), set(), set(), set()]


async def test_the_end_of_a_run_wakes_those_that_wait_for_it_and_those_that_are_kept_because_of_it(
    heard: Heard,
) -> None:
    name = story_run_name("team", "report", "waits")
    one = run(name)
    heard.world.story_runs.remember(one)
    triggers = heard.world.informer(STORY_TRIGGER)
    for obj in (trigger("waits"), trigger("kept", "Reused", name), trigger("other")):
        triggers.remember(obj)
    heard.look()
    heard.world.story_runs.remember(answered({**one, "status": {}}))  # any change
    assert "runs-storytrigger" not in heard.look()
    heard.world.story_runs.forget("team", name, one["metadata"]["uid"])
    assert heard.look()["runs-storytrigger"] == {("team/waits", SOON), ("team/kept", SOON)}


async def test_the_inputs_of_an_answered_trigger_are_not_kept_in_memory() -> None:
    async with open_world() as (_, world):
        triggers = world.informer(STORY_TRIGGER)
        first = trigger(inputs={"text": "x" * 1000})
        assert triggers.remember(first)["spec"]["inputs"] == {"text": "x" * 1000}
        kept = triggers.remember(answered(first))
        assert "inputs" not in kept["spec"]
        assert kept["spec"]["storyRef"] == {"name": "report"}


async def test_a_finished_run_is_awaited_until_its_trigger_is_answered() -> None:
    async with open_world() as (_, world):
        first = trigger()
        mark = {ANNOTATION_TRIGGER_REQUEST_NAME: "t", ANNOTATION_TRIGGER_REQUEST_UID: first["metadata"]["uid"]}
        own, other = run(meta={"annotations": mark}), run("two", meta={"annotations": {**mark, UID: "another"}})
        triggers = world.informer(STORY_TRIGGER)
        assert not is_awaited(world, own)
        triggers.remember(first)
        assert [is_awaited(world, obj) for obj in (own, other, run("three"))] == [True, False, False]
        triggers.remember(answered(first))
        assert not is_awaited(world, own)


async def test_the_answer_of_a_trigger_wakes_its_run() -> None:
    [row] = [row for row in CONTROLLERS if row.name == "storyrun"]
    async with open_world() as (_, world):
        heard = Heard(world)
        world.story_runs.remember(run("one"))
        connect(row.watches, world, _noting(heard, row.name))
        heard.look()
        first, triggers = trigger(), world.informer(STORY_TRIGGER)
        triggers.remember(first)
        assert heard.look() == {}
        triggers.remember(answered(first, storyRunRef={"name": "one"}))
        assert heard.look() == {"storyrun": {("team/one", SOON)}}
        triggers.forget("team", "t", first["metadata"]["uid"])
        assert heard.look() == {"storyrun": {("team/one", SOON)}}


# What is made from registrations.


async def _never(key: Key) -> Outcome:
    return Done()


ROW = ControllerRegistration(
    "test",
    STORY,
    lambda there: _never,
    options=lambda settings: settings.story,
    watches=(Watch(STORY, own_keys),),
)


def there(world: World, settings: OperatorSettings | None = None) -> ControllerDependencies:
    chosen = settings or OperatorSettings()
    client, payloads = cast("KubeClient", None), MemoryPayloads()
    return ControllerDependencies(
        client,
        world,
        RecordingSupervisor(),
        RecordedEvents(),
        clock(),
        lambda: chosen,
        payloads=payloads,
        stores=payloads,
        operator_namespace="operator",
    )


def _unobserved(name: str, outcome: str, seconds: float) -> None:
    """Records no metrics."""


async def test_two_controllers_of_one_name_are_refused() -> None:
    async with open_world() as (_, world):
        with pytest.raises(ValueError, match="different names"):
            ControllerSet((ROW, ROW), there(world), _unobserved)


async def test_a_row_says_how_many_workers_there_are_and_what_is_reconciled_at_the_start(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    at_work: list[str] = []
    most: dict[str, int] = {}

    async def working(key: Key) -> Outcome:
        at_work.append(str(key))
        most[str(key)] = len(at_work)
        await trio.sleep(1)
        at_work.remove(str(key))
        return Done()

    beside: list[str] = []

    async def task(_: ControllerDependencies, controller: Controller) -> None:
        beside.append(controller.name)

    rows = (
        replace(ROW, build=lambda _: working, watches=(), beside=task),
        replace(ROW, name="idle", build=lambda _: working, watches=(), enqueue_at_start=False),
    )
    settings = OperatorSettings(story=ControllerSettings(2, timedelta(seconds=1), timedelta(seconds=1)))
    async with open_world() as (_, world):
        for name in "abcd":
            world.stories.remember(stored("Story", name, namespace=f"team-{name}", spec={}))
        controllers = ControllerSet(rows, there(world, settings), _unobserved)
        controllers.connect()
        controllers.start_in(nursery)
        controllers.enqueue_everything()
        await trio.sleep(10)
    assert sorted(most) == ["team-a/a", "team-b/b", "team-c/c", "team-d/d"]
    assert max(most.values()) == 2
    assert beside == ["test"]


async def test_other_settings_wake_the_objects_of_the_rows_that_ask_for_it() -> None:
    seen: list[str] = []

    async def reconcile(key: Key) -> Outcome:
        seen.append(str(key))
        return Done()

    rows = (
        replace(ROW, build=lambda _: reconcile, watches=(), enqueue_when_settings_change=True),
        replace(ROW, name="deaf", build=_never_called, watches=()),
    )
    async with open_world() as (_, world), trio.open_nursery() as nursery:
        world.stories.remember(stored("Story", "a", spec={}))
        controllers = ControllerSet(rows, there(world), _unobserved)
        controllers.settings_changed()  # also before the start: a replica that does not lead yet
        controllers.start_in(nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["team/a"]
        nursery.cancel_scope.cancel()


async def test_of_thousands_of_objects_a_row_chooses_those_to_look_at() -> None:
    seen: list[str] = []

    async def reconcile(key: Key) -> Outcome:
        seen.append(str(key))
        return Done()

    row = replace(
        ROW,
        build=lambda _: reconcile,
        watches=(),
        enqueue_when_settings_change=True,
        enqueue_only=lambda story: story["metadata"]["name"] != "b",
    )
    async with open_world() as (_, world), trio.open_nursery() as nursery:
        for name in "abc":
            world.stories.remember(stored("Story", name, spec={}))
        controllers = ControllerSet((row,), there(world), _unobserved)
        controllers.start_in(nursery)
        for enqueue in (controllers.enqueue_everything, controllers.settings_changed):
            enqueue()
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(seen) == ["team/a", "team/c"]
            seen.clear()
        nursery.cancel_scope.cancel()


async def test_finished_runs_are_looked_at_at_the_start_and_not_read_for_that() -> None:
    seen: list[str] = []

    async def reconcile(key: Key) -> Outcome:
        seen.append(str(key))
        return Done()

    def never(_: object) -> bool:
        raise AssertionError("a run at rest is not read")

    rows = (
        replace(ROW, kind=STORY_RUN, build=lambda _: reconcile, watches=()),
        replace(ROW, name="few", kind=STORY_RUN, build=_never_called, watches=(), enqueue_only=never),
        replace(ROW, name="watcher", kind=STORY_RUN, build=_never_called, watches=(Watch(STORY_RUN, own_keys),)),
    )
    async with open_world() as (_, world), trio.open_nursery() as nursery:
        world.story_runs.remember(run("old", status={"phase": "Succeeded"}))
        controllers = ControllerSet(rows[:2], there(world), _unobserved)
        watching = ControllerSet(rows[2:], there(world), _unobserved)
        controllers.connect()
        watching.connect()
        controllers.start_in(nursery)
        watching.start_in(nursery)
        controllers.enqueue_everything()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["team/old"]
        nursery.cancel_scope.cancel()


def _never_called(_: ControllerDependencies) -> Reconcile:
    async def reconcile(key: Key) -> Outcome:
        raise AssertionError(f"nothing is told about {key}")

    return reconcile


async def test_who_comes_to_own_a_key_has_every_controller_look_and_who_loses_it_waits_for_all(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    seen: list[tuple[str, str]] = []

    def slow(name: str, seconds: float) -> Callable[[ControllerDependencies], Reconcile]:
        async def reconcile(key: Key) -> Outcome:
            await trio.sleep(seconds)
            seen.append((name, str(key)))
            return Done()

        return lambda _: reconcile

    rows = (
        replace(ROW, build=slow("test", 1), watches=()),
        replace(ROW, name="other", build=slow("other", 5), watches=(), enqueue_at_start=False),
    )
    async with open_world() as (_, world):
        controllers = ControllerSet(rows, there(world), _unobserved)
        controllers.start_in(nursery)
        controllers.enqueue(Key("team", "a"))
        await trio.sleep(0.5)
        started = trio.current_time()
        await controllers.release(Key("team", "a"))
        assert trio.current_time() == started + 4.5
    assert seen == [("test", "team/a"), ("other", "team/a")]
