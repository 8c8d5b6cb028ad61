"""When the account of a Story is deleted, and when somebody who needs it prevents that."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
import trio

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.api.resource import ENGRAM, ROLE_BINDING, SERVICE_ACCOUNT, STORY, STORY_RUN
from core.engine.clock import WallClock
from core.engine.errors import StaleError, UnavailableError
from core.policy.settings import OperatorSettings, RunnerIdentity
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.story_account import GRACE, SETTLED, StoryAccountReconciler
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME
from tests.unit.reconcilers.reconciler_samples import NOW

READS: Object = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["keys"]}
SECOND = timedelta(seconds=1)


@dataclass
class Look:
    """The controller, and the account that it looks at."""

    there: AdapterWorld
    name: str
    world: World | None = None
    """None: that of the process."""
    now: datetime = NOW
    reconciler: StoryAccountReconciler = field(init=False)

    def __post_init__(self) -> None:
        there = self.there
        clock = WallClock(lambda: self.now)
        world = self.world or there.world
        self.reconciler = StoryAccountReconciler(there.wired, world, clock, lambda: there.settings, there.events)

    async def again(self, later: timedelta = timedelta()) -> Outcome:
        self.now += later
        return await self.reconciler.reconcile(Key(NAMESPACE_NAME, self.name))

    async def account(self) -> Object | None:
        found = (await self.there.client.list(SERVICE_ACCOUNT, NAMESPACE_NAME)).items
        return next((each for each in found if each["metadata"]["name"] == self.name), None)

    async def is_marked(self) -> bool:
        account = await self.account()
        assert account is not None
        return is_retired(account)

    async def ends(self, run: str = "one") -> None:
        there = self.there
        ended = {"status": {"phase": "Succeeded"}}
        await there.client.patch(STORY_RUN, run, ended, namespace=NAMESPACE_NAME, subresource="status")
        await there.known(there.world.story_runs, run, lambda obj: obj.get("status", {}).get("phase") == "Succeeded")

    async def story_goes(self) -> None:
        await self.there.client.delete(STORY, "report", NAMESPACE_NAME)
        await self.there.known(self.there.world.stories, "report", lambda obj: obj is None)


def is_retired(account: Object) -> bool:
    return keys.ANNOTATION_RUNNER_RETIRED in (account["metadata"].get("annotations") or {})


async def begun(there: AdapterWorld) -> tuple[Object, Object, Look]:
    run, story = await there.definitions()
    await there.known(there.world.stories, "report")
    await there.known(there.world.story_runs, "one")
    await there.new_executor.prepare_run(run, story)
    return run, story, Look(there, await there.story_account(run, story))


async def test_the_account_of_a_story_as_it_is_stays_whether_it_has_runs_or_not(there: AdapterWorld) -> None:
    _, _, look = await begun(there)
    assert await look.again() == Done()
    await look.ends()
    assert await look.again(2 * GRACE) == Done()
    assert not await look.is_marked()


async def test_a_binding_that_somebody_removes_comes_back_while_a_run_needs_it(there: AdapterWorld) -> None:
    _, _, look = await begun(there)
    bindings = there.world.informer(ROLE_BINDING)
    await there.known(bindings, look.name)

    async def without_binding(later: timedelta) -> bool:
        await there.client.delete(ROLE_BINDING, look.name, NAMESPACE_NAME)
        await there.known(bindings, look.name, lambda obj: obj is None)
        account = await look.account()
        assert account is not None
        look.now = (parse_instant_or_none(account["metadata"]["creationTimestamp"]) or NOW) + later
        assert await look.again() == Done()
        found = (await there.client.list(ROLE_BINDING, NAMESPACE_NAME)).items
        return look.name not in {each["metadata"]["name"] for each in found}

    assert not await without_binding(SETTLED)
    assert await without_binding(SETTLED - SECOND)  # the run that made the account is about to create it
    assert await look.again(SECOND) == Done()
    await look.ends()
    assert await without_binding(SETTLED)  # the next run creates it


async def test_a_story_that_is_gone_leaves_the_account_to_its_runs_until_they_have_ended(there: AdapterWorld) -> None:
    _, _, look = await begun(there)
    await look.story_goes()
    assert await look.again() == After(GRACE)
    assert await look.again(GRACE - SECOND) == After(SECOND)
    assert await look.again(2 * GRACE) == Done()
    assert not await look.is_marked()  # its run goes on
    await look.ends()
    assert await look.again() == Done()
    assert await look.is_marked()
    assert await look.again() == Done()
    assert await look.account() is None
    assert await look.again() == Done()


async def test_other_rules_and_the_other_setting_make_an_account_superfluous(there: AdapterWorld) -> None:
    _, _, look = await begun(there)
    wider = {"spec": {"overrides": {"rbac": {"rules": [READS]}}}}
    await there.client.patch(ENGRAM, "http", wider, namespace=NAMESPACE_NAME)
    await there.known(there.world.engrams, "http", lambda obj: "overrides" in obj["spec"])
    assert await look.again() == After(GRACE)
    await there.client.patch(ENGRAM, "http", {"spec": {"overrides": None}}, namespace=NAMESPACE_NAME)
    await there.known(there.world.engrams, "http", lambda obj: "overrides" not in obj["spec"])
    assert await look.again(2 * GRACE) == Done()  # current again
    there.settings = OperatorSettings(runner_identity=RunnerIdentity.RUN)
    assert await look.again() == After(GRACE)


async def test_runs_that_began_later_do_not_hold_it_but_those_of_another_version_do(there: AdapterWorld) -> None:
    """A run that has ended may be run again, with the version of the Story that it began with."""
    _, _, look = await begun(there)
    await look.ends()
    edited = {"spec": {"policy": {"storage": {"s3": {"bucket": "b", "authentication": {}}}}}}
    edited["spec"]["policy"]["storage"]["s3"]["authentication"] = {"serviceAccountAnnotations": {"role": "reader"}}
    await there.client.patch(STORY, "report", edited, namespace=NAMESPACE_NAME)
    await there.known(there.world.stories, "report", lambda obj: "policy" in obj["spec"])
    assert await look.again() == After(GRACE)
    again = {"status": {"phase": "Running", "storyRevision": "report-0123456789abcdef"}}
    await there.client.patch(STORY_RUN, "one", again, namespace=NAMESPACE_NAME, subresource="status")
    await there.known(there.world.story_runs, "one", lambda obj: obj["status"]["phase"] == "Running")
    await there.create(STORY_RUN, "two", {"storyRef": {"name": "report"}})
    await there.known(there.world.story_runs, "two")

    assert await look.again(2 * GRACE) == Done()
    assert not await look.is_marked()

    await look.ends()
    await look.again()
    assert await look.is_marked()  # the run that began later has another account


async def test_a_run_that_needs_the_account_while_it_is_being_removed_prevents_that(there: AdapterWorld) -> None:
    run, story, look = await begun(there)
    await look.ends()
    await look.story_goes()
    account = await look.account()
    assert account is not None
    deaf = World.watching(there.wired).informer(SERVICE_ACCOUNT)
    deaf.remember(account)
    world = World(deaf if each.resource == SERVICE_ACCOUNT else each for each in there.world)
    look = Look(there, look.name, world)
    await look.again()
    await look.again(2 * GRACE)
    assert await look.is_marked()
    await there.known(there.world.informer(SERVICE_ACCOUNT), look.name, is_retired)

    await there.new_executor.prepare_run(run, story)  # another process: as before it creates a workload

    assert not await look.is_marked()
    with pytest.raises(StaleError):
        await look.again()
    assert await look.account() is not None


async def test_what_is_deleted_while_a_run_begins_is_there_again_before_its_workload(there: AdapterWorld) -> None:
    run, story, look = await begun(there)
    executor = there.new_executor
    await executor.prepare_run(run, story)
    before = await look.account()
    assert before is not None
    await there.client.delete(SERVICE_ACCOUNT, look.name, NAMESPACE_NAME)
    await there.known(there.world.informer(SERVICE_ACCOUNT), look.name, lambda obj: obj is None)
    made = await there.step_runs.create_step_run(run, await there.manifest(run, story), False)

    order, is_started = await there.order(run, story, made), False
    with trio.fail_after(30):
        while not is_started:
            try:
                await executor.start(order)
                is_started = True
            except UnavailableError:  # the garbage collector has just deleted what belonged to the old account
                await trio.sleep(0.1)  # as the engine does

    after = await look.account()
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


async def test_an_account_that_only_has_the_labels_is_left_alone(there: AdapterWorld) -> None:
    labels = {keys.LABEL_APP_MANAGED_BY: keys.FIELD_MANAGER, keys.LABEL_RUNNER_OF_STORY: "gone"}
    annotations = {keys.ANNOTATION_RUNNER_OF_STORY: f"{NAMESPACE_NAME}/gone"}
    await there.create(SERVICE_ACCOUNT, "payroll", {}, labels=labels, annotations=annotations)
    await there.known(there.world.informer(SERVICE_ACCOUNT), "payroll")
    look = Look(there, "payroll")
    assert await look.again() == Done()
    assert await look.again(2 * GRACE) == Done()
    assert not await look.is_marked()
