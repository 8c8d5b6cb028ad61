"""Reviews in their own process: the decisions are the same as on the loop, with the objects known here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from typing import Any

import orjson
import pytest
import trio

from core.api.objects import NamespacedName, ReadOnlyObject
from core.api.resource import Resource
from core.evaluation import pool
from core.fairness.turns import CrowdedError
from core.policy.settings import CrossNamespacePolicy, EngramSettings, OperatorSettings
from core.telemetry import metrics
from tests.unit.webhooks.admission_reviews import (
    MUTATE_STORY,
    STEP_RUN_STATUS,
    VALIDATE_ENGRAM,
    VALIDATE_STORY,
    ChangingWorld,
    WorldWithoutSecrets,
    engram,
    gate,
    review,
    story,
    template,
)
from webhooks import decision, remote_view
from webhooks.cluster_view import ClusterView, InMemoryView, Unseen
from webhooks.decision import ReviewDecision
from webhooks.finding import CauseType
from webhooks.limits import ReviewLimits
from webhooks.registration import Hook
from webhooks.review import review_of
from webhooks.review_executor import ReviewExecutor, ReviewRequest, ReviewUnavailableError
from webhooks.validate.dependency import NEED_UNKNOWN
from webhooks.validate.template_use import MISSING

APART = ReviewLimits(loop_bytes=0, worker_seconds=60)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


def question(hook: Hook, new: Any, old: Any = None, **fields: Any) -> ReviewRequest:
    body = review(hook, new, old, **fields)
    return ReviewRequest(hook, review_of(body, hook), orjson.dumps(body))


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return [template(inputSchema=SCHEMA), engram(), {"kind": "Secret", "metadata": {"name": "x", "namespace": "team"}}]


@pytest.fixture
async def apart(nursery: trio.Nursery, objects: list[dict[str, Any]]) -> AsyncIterator[ReviewExecutor]:
    executor = ReviewExecutor(gate(objects), APART)
    await nursery.start(executor.keep_warm)
    yield executor
    nursery.cancel_scope.cancel()


async def test_a_process_decides_as_the_loop_does(apart: ReviewExecutor, objects: list[dict[str, Any]]) -> None:
    here = ReviewExecutor(gate(objects), ReviewLimits(loop_seconds=60, patient=0))
    wrong = {"name": "a", "ref": {"name": "e"}, "with": {"n": "x"}, "needs": ["gone"]}
    step_run = {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StepRun",
        "metadata": {"name": "s", "namespace": "team"},
        "spec": {"storyRunRef": {"name": "run"}, "stepId": "a"},
    }
    for asked in (
        question(VALIDATE_STORY, story(wrong, {"name": "b", "ref": {"name": "gone"}})),
        question(VALIDATE_STORY, story({"name": "c", "ref": {"name": "e", "namespace": "other"}})),
        question(MUTATE_STORY, story({"name": "a", "ref": {"name": "e"}, "sideEffects": True})),
        question(STEP_RUN_STATUS, {**step_run, "status": {"phase": "Succeeded"}}, step_run),
        question(VALIDATE_STORY, story(wrong), story(wrong)),
    ):
        decided = await apart.examine(asked)
        assert decided == await here.examine(asked)
        assert (decided == ReviewDecision()) is (asked.review.old is not None and asked.hook is VALIDATE_STORY)


async def test_a_process_is_started_once(nursery: trio.Nursery) -> None:
    with metrics.recording():
        executor = ReviewExecutor(gate(), APART)
        nursery.start_soon(executor.keep_warm)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(3):
            await executor.examine(question(VALIDATE_STORY, story()))
        started = metrics.sample("bobrapet_evaluation_workers_started_total")
        nursery.cancel_scope.cancel()

    assert started is not None
    assert started <= 2, "at most the one that was being started already, and another beside it"


async def test_what_takes_long_on_the_loop_starts_again_apart() -> None:
    with metrics.recording():
        impatient = ReviewExecutor(gate(), replace(APART, loop_bytes=1 << 20, loop_seconds=0))
        decided = await impatient.examine(question(VALIDATE_STORY, story({"name": "a", "ref": {"name": "gone"}})))
        assert metrics.sample("bobrapet_evaluation_workers_started_total") == 1

    assert [finding.rule.id for finding in decided.findings] == ["story/engram-missing"]


class SlowWorld(ChangingWorld):
    """Each look at it uses the clock, or the processor, for longer than a review on the loop may take."""

    def __init__(self, wait: Callable[[], object]) -> None:
        super().__init__(template(), engram())
        self.wait = wait

    def now(self) -> ClusterView:
        wait, view = self.wait, super().now()

        class View(InMemoryView):
            def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
                wait()
                return view.find(resource, namespace, name)

        return View()


def use_the_processor(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(("wait", "started"), [(time.sleep, 0), (use_the_processor, 1)])
async def test_time_that_other_programs_had_does_not_count(wait: Callable[[float], object], started: int) -> None:
    with metrics.recording():
        executor = ReviewExecutor(gate(world=SlowWorld(lambda: wait(0.05))), ReviewLimits())
        await executor.examine(question(VALIDATE_STORY, story(*({"name": n, "ref": {"name": "e"}} for n in "ab"))))
        assert (metrics.sample("bobrapet_evaluation_workers_started_total") or 0) == started


FIRST_REVIEWS = """
import trio
from core.telemetry import metrics
from tests.unit.webhooks.admission_reviews import VALIDATE_ENGRAM, VALIDATE_STORY, engram, gate, story, template
from tests.unit.webhooks.test_review_executor import question
from webhooks.limits import ReviewLimits
from webhooks.review_executor import ReviewExecutor

async def main():
    executor = ReviewExecutor(gate([template(), engram()]), ReviewLimits())
    decided = [
        await executor.examine(question(VALIDATE_STORY, story({"name": "a", "ref": {"name": "e"}}))),
        await executor.examine(question(VALIDATE_ENGRAM, engram())),
    ]
    print([list(each.findings) for each in decided], metrics.sample("bobrapet_evaluation_workers_started_total"))

with metrics.recording():
    trio.run(main)
"""


def test_what_the_first_review_of_a_kind_builds_does_not_count() -> None:
    """Building the models of a Story takes five times as long as a review may take on the loop."""
    done = subprocess.run([sys.executable, "-c", FIRST_REVIEWS], capture_output=True, text=True, check=True)

    assert done.stdout.rstrip() in ("[[], []] None", "[[], []] 0.0"), "no findings, and no process was started"


MANY = [
    {"name": f"s{step}", "ref": {"name": "e"}, "with": {f"k{n}": f"{{{{ inputs.x{step}x{n} }}}}" for n in range(300)}}
    for step in range(80)
]


async def test_too_much_work_is_a_denial_that_names_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool._Worker, "cpu_seconds", lambda _: time.monotonic())  # as if it had always had a processor
    hurried = ReviewExecutor(gate(), replace(APART, worker_seconds=0.1))
    decided = await hurried.examine(question(VALIDATE_STORY, story(*MANY)))

    (finding,) = decided.findings
    assert finding.rule is decision.TOO_COSTLY
    assert finding.message == "to check this takes longer than 0.1 s"


async def test_a_review_that_got_no_processor_is_not_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool._Worker, "cpu_seconds", lambda _: 0.0)
    hurried = ReviewExecutor(gate(), replace(APART, worker_seconds=0.1))

    with pytest.raises(ReviewUnavailableError, match="the machine is too busy; try again"):
        await hurried.examine(question(VALIDATE_STORY, story(*MANY)))


async def test_without_a_process_nobody_decides() -> None:
    starved = ReviewExecutor(gate(), replace(APART, worker_bytes=10 << 20))

    with pytest.raises(ReviewUnavailableError, match="no process can be started; try again"):
        await starved.examine(question(VALIDATE_STORY, story()))


async def test_apart_too_an_object_that_comes_later_is_seen(nursery: trio.Nursery) -> None:
    world = ChangingWorld()
    executor = ReviewExecutor(gate(world=world), replace(APART, patience_seconds=30))
    await nursery.start(executor.keep_warm)

    async def apply_template() -> None:
        while world.looks < 2:  # noqa: ASYNC110 - until the template was looked for and not found
            await trio.sleep(0.01)
        world.add(template())

    nursery.start_soon(apply_template)
    assert await executor.examine(question(VALIDATE_ENGRAM, engram())) == ReviewDecision()
    nursery.cancel_scope.cancel()


async def test_a_flood_of_one_caller_leaves_room_for_others(nursery: trio.Nursery) -> None:
    executor = ReviewExecutor(gate(), ReviewLimits(waiting=3, waiting_of_one=2))
    done: list[str] = []

    async def ask(user: str) -> None:
        try:
            await executor.examine(question(VALIDATE_STORY, story(), userInfo={"username": user}))
            done.append(user)
        except CrowdedError:
            done.append(f"{user} is sent away")

    async with trio.open_nursery() as asking:
        for _ in range(10):
            asking.start_soon(ask, "flood")
        asking.start_soon(ask, "other")

    assert done.count("other") == 1
    assert done.count("flood is sent away") >= 7


# Secrets.


SECRETIVE = template(secretSchema={"api": {}, "more": {}, "same": {}})


def naming(**secrets: str) -> ReviewRequest:
    named = engram()
    named["spec"]["secrets"] = secrets
    return question(VALIDATE_ENGRAM, named)


class Store:
    """Records which Secrets it was asked about; those named ``gone`` do not exist."""

    def __init__(self) -> None:
        self.asked: list[list[NamespacedName]] = []

    async def missing(self, wanted: Collection[NamespacedName]) -> Collection[NamespacedName]:
        await trio.lowlevel.checkpoint()
        self.asked.append(list(wanted))
        return [key for key in wanted if key.name == "gone"]


@pytest.mark.parametrize("limits", [ReviewLimits(), APART], ids=["on the loop", "in a process"])
async def test_a_secret_that_does_not_exist_is_a_warning(limits: ReviewLimits) -> None:
    world, store = WorldWithoutSecrets(SECRETIVE), Store()
    executor = ReviewExecutor(gate(world=world, missing_secrets=store.missing), limits)
    decided = await executor.examine(naming(api="gone", more="there", same="gone"))

    assert not decided.is_denial
    assert [str(finding) for finding in decided.findings] == [
        "spec.secrets.api: Secret gone does not exist in this namespace (create it)",
        "spec.secrets.same: Secret gone does not exist in this namespace (create it)",
    ]
    assert store.asked == [[NamespacedName("team", "gone"), NamespacedName("team", "there")]], "each once"


async def test_the_api_server_is_not_asked_without_need() -> None:
    world, store = WorldWithoutSecrets(SECRETIVE), Store()
    executor = ReviewExecutor(gate(world=world, missing_secrets=store.missing), ReviewLimits(secrets=1, patient=0))
    for asked in (naming(), naming(unknown="gone"), naming(api="")):
        await executor.examine(asked)
    assert store.asked == []
    looks = world.looks
    assert (await executor.examine(naming(api="there"))).findings == ()
    assert world.looks == looks + 1, "it is examined once more only for a warning"
    await executor.examine(naming(api="there", more="gone"))
    assert store.asked == [[NamespacedName("team", "there")]] * 2, "one at most"


# Decisions.


def test_only_what_is_elsewhere_may_still_come() -> None:
    assert ReviewDecision((MISSING.at("spec.templateRef.name", "gone"),)).may_change
    assert not ReviewDecision((NEED_UNKNOWN.at("spec.steps[0].needs[0]", "gone"),)).may_change
    assert not ReviewDecision((MISSING.at("a", "gone"), decision.TOO_COSTLY.at("", "no"))).may_change
    assert not ReviewDecision().may_change
    assert MISSING.cause is CauseType.NOT_FOUND


def test_a_world_is_told_whole() -> None:
    settings = OperatorSettings(
        cross_namespace_policy=CrossNamespacePolicy.GRANT, engram=EngramSettings(max_inline_size_bytes=7)
    )
    grant = {
        "apiVersion": "policy.bubustack.io/v1alpha1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "shared"},
    }
    world = InMemoryView([template(), grant], settings=settings)
    facts = orjson.loads(orjson.dumps(remote_view.facts_of(world)))
    told = remote_view.RemoteView(
        lambda wanted: remote_view.answer_from(world, wanted), facts["settings"], facts["policy"]
    )

    assert (told.settings, told.policy) == (settings, CrossNamespacePolicy.GRANT)
    assert told.grants("shared") == [grant]
    assert remote_view.facts_of(InMemoryView())["policy"] == Unseen.UNKNOWN.value


def test_a_secret_stays_where_it_is() -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "team"}, "data": {"a": "b"}}

    assert "data" not in remote_view.answer_from(InMemoryView([secret]), ["find", "Secret", "team", "x"])
