"""Trigger contract 4 and 15: how StoryTriggers are answered, and that each of them starts at most one run."""

from __future__ import annotations

from typing import Any

import trio

from bubu_contract.submission import input_hash, trigger_name
from bubu_sdk.counters import ThrottleCounter
from bubu_sdk.delivery import load
from bubu_sdk.storytrigger import Origin, Outcome, TriggerDecision
from bubu_sdk.testing import InMemoryStore
from bubu_sdk.triggers import Request, Triggers, TriggerSettings
from core.api import keys
from core.api.objects import Object
from core.api.resource import IMPULSE, STORY, STORY_RUN, STORY_TRIGGER
from core.workloads.trigger import request_of, requested_run
from tests.acceptance.acceptance_stand import (
    ON_MODEL,
    SdkSide,
    Stand,
    annotation,
    ended,
    primitive,
    scenario,
    status_of,
)
from tests.acceptance.model_stand import ModelStand

LIMIT = 1024
"""Bytes of inputs that are stored in a StoryTrigger and in a StoryRun."""
DAY_SECONDS = 24 * 3600.0
"""How long a request waits."""
MARKS = (
    keys.ANNOTATION_TRIGGER_REQUEST_NAME,
    keys.ANNOTATION_TRIGGER_REQUEST_UID,
    keys.ANNOTATION_TRIGGER_TOKEN,
    keys.ANNOTATION_TRIGGER_INPUT_HASH,
)
AT_ONCE: Object = {"steps": [primitive("nothing", "condition")]}
OFFLOADED: Object = {"rows": {"$bubuStorageRef": "inputs/team/rows.json", "$bubuStorageContentType": "text/plain"}}


def trigger(stand: Stand, identity: str, *, key: bool = False, inputs: Object | None = None, **spec: Any) -> Object:
    """A request for the Story ``story``; ``spec`` adds to its spec."""
    delivery: Object = {"submissionId": identity}
    if key:
        delivery |= {"mode": "token", "key": identity, "inputHash": input_hash(inputs)}
    spec = {"storyRef": {"name": "story"}, "deliveryIdentity": delivery, "inputs": inputs or {}, **spec}
    name = trigger_name(stand.namespace, spec["storyRef"]["name"], identity)
    return {"metadata": {"name": name, "namespace": stand.namespace}, "spec": spec}


async def ask(stand: Stand, wanted: Object) -> Object:
    return await stand.create(STORY_TRIGGER, wanted["metadata"]["name"], wanted["spec"])


async def decided(stand: Stand, wanted: Object, decision: str, reason: str) -> Object:
    """Wait until the StoryTrigger has this decision; returns it."""
    name = wanted["metadata"]["name"]
    looked = await stand.until(
        lambda: _with(stand.find(STORY_TRIGGER, name), decision), f"{name} is {decision}: {reason}"
    )
    assert status_of(looked)["reason"] == reason, status_of(looked)
    return looked


def _with(obj: Object | None, decision: str) -> Object:
    """The object if it has the decision, otherwise nothing."""
    return obj if obj is not None and status_of(obj).get("decision") == decision else {}


async def run_of(stand: Stand, answered: Object) -> Object:
    """The run in the answer, which must exist."""
    reference = status_of(answered)["storyRunRef"]
    run = await stand.read(STORY_RUN, reference["name"])
    assert run["metadata"]["uid"] == reference["uid"]
    return run


async def submit(stand: Stand, store: InMemoryStore, key: str, inputs: Object) -> TriggerDecision:
    """Submit as an Impulse does, and wait for the answer."""

    def work(side: SdkSide) -> TriggerDecision:
        environ = {"BUBU_POD_NAMESPACE": stand.namespace}
        settings = TriggerSettings(Origin.of(environ), load(environ), 30.0, LIMIT, 32)
        counter = ThrottleCounter(side.cluster, stand.namespace, "")
        triggers = Triggers(side.cluster, store, settings, counter, clock=side.clock, chance=lambda: 0.5)
        return triggers.trigger(Request("story", inputs, key))

    return await stand.sdk(work)


# Answers; servers show them in ``tests/integration/test_operator_triggers.py``.


@scenario(rigs=ON_MODEL)
async def test_15_3_1_a_request_starts_its_run(stand: Stand) -> None:
    await stand.create(STORY, "story", {**AT_ONCE, "output": {"said": "{{ inputs.city }}"}})
    for key in (False, True):
        asked = await ask(stand, trigger(stand, f"Order {key}", key=key, inputs={"city": "Bern"}))
        answered = await decided(stand, asked, "Created", "StoryRunCreated")
        run = await run_of(stand, answered)
        assert run["spec"] == {"storyRef": {"name": "story"}, "inputs": {"city": "Bern"}}
        marks = {name: run["metadata"]["annotations"].get(name) for name in MARKS}
        assert marks == {
            keys.ANNOTATION_TRIGGER_REQUEST_NAME: asked["metadata"]["name"],
            keys.ANNOTATION_TRIGGER_REQUEST_UID: asked["metadata"]["uid"],
            keys.ANNOTATION_TRIGGER_TOKEN: f"Order {key}" if key else None,
            keys.ANNOTATION_TRIGGER_INPUT_HASH: input_hash({"city": "Bern"}) if key else None,
        }
        assert status_of(await ended(stand, run["metadata"]["name"]))["output"] == {"said": "Bern"}


async def asked_again(stand: Stand, **change: Any) -> tuple[Object, Object]:
    """The run of a key, and a changed request with that key after the first StoryTrigger was deleted."""
    await stand.create(STORY, "story", {**AT_ONCE, "version": "1"})
    await stand.create(IMPULSE, "hook", {"storyRef": {"name": "story"}, "templateRef": {"name": "hooks"}})
    first = await ask(stand, trigger(stand, "k", key=True))
    run = await run_of(stand, await decided(stand, first, "Created", "StoryRunCreated"))
    await stand.delete(STORY_TRIGGER, first["metadata"]["name"])
    return run, await ask(stand, trigger(stand, "k", key=True, **change))


async def in_conflict(stand: Stand, **change: Any) -> None:
    run, asked = await asked_again(stand, **change)
    answered = await decided(stand, asked, "Rejected", "StoryRunConflict")
    assert "storyRunRef" not in status_of(answered)
    assert [obj["metadata"]["uid"] for obj in stand.all(STORY_RUN)] == [run["metadata"]["uid"]]


@scenario(rigs=ON_MODEL)
async def test_15_3_2_the_run_of_an_equal_request_is_reused(stand: Stand) -> None:
    run, asked = await asked_again(stand)
    answered = await decided(stand, asked, "Reused", "StoryRunReused")
    assert (await run_of(stand, answered))["metadata"]["uid"] == run["metadata"]["uid"]
    assert len(stand.all(STORY_RUN)) == 1


@scenario(rigs=ON_MODEL)
async def test_15_3_4_other_inputs_are_a_conflict(stand: Stand) -> None:
    await in_conflict(stand, inputs={"a": 1})


@scenario(rigs=ON_MODEL)
async def test_15_3_5_another_version_is_a_conflict(stand: Stand) -> None:
    await in_conflict(stand, storyRef={"name": "story", "version": "1"})


@scenario(rigs=ON_MODEL)
async def test_15_3_6_an_impulse_is_a_conflict(stand: Stand) -> None:
    await in_conflict(stand, impulseRef={"name": "hook"})


@scenario(rigs=ON_MODEL)
async def test_15_3_7_an_answer_about_an_older_generation_is_given_again(stand: Stand) -> None:
    await stand.create(STORY, "story", AT_ONCE)
    asked = await ask(stand, trigger(stand, "sub-1"))
    first = await decided(stand, asked, "Created", "StoryRunCreated")
    name = asked["metadata"]["name"]
    await stand.patch(STORY_TRIGGER, name, {"status": {"observedGeneration": 0}}, "status")
    look = stand.find
    await stand.until(
        lambda: status_of(look(STORY_TRIGGER, name)).get("observedGeneration") == 1, "it is answered again"
    )
    again = status_of(await stand.read(STORY_TRIGGER, name))
    assert (again["storyRunRef"], again["acceptedAt"]) == (
        status_of(first)["storyRunRef"],
        status_of(first)["acceptedAt"],
    )
    assert len(stand.all(STORY_RUN)) == 1


@scenario(rigs=ON_MODEL)
async def test_15_3_11_a_missing_story_is_waited_for(stand: Stand) -> None:
    asked = await ask(stand, trigger(stand, "sub-1"))
    await decided(stand, asked, "Pending", "StoryNotFound")
    await stand.create(STORY, "story", AT_ONCE)
    await decided(stand, asked, "Created", "StoryRunCreated")
    late = await ask(stand, trigger(stand, "sub-2", storyRef={"name": "nowhere"}))
    await decided(stand, late, "Pending", "StoryNotFound")
    await stand.pause(DAY_SECONDS)
    await decided(stand, late, "Rejected", "StoryNotFound")


@scenario(rigs=ON_MODEL)
async def test_15_3_12_another_version_is_waited_for(stand: Stand) -> None:
    await stand.create(STORY, "story", {**AT_ONCE, "version": "1"})
    asked, late = [
        await ask(stand, trigger(stand, f"of-{version}", storyRef={"name": "story", "version": version}))
        for version in ("2", "3")
    ]
    for one in (asked, late):
        await decided(stand, one, "Pending", "StoryVersionMismatch")
    await stand.patch(STORY, "story", {"spec": {"version": "2"}})
    await decided(stand, asked, "Created", "StoryRunCreated")
    await stand.pause(DAY_SECONDS)
    await decided(stand, late, "Rejected", "StoryVersionMismatch")


@scenario(rigs=ON_MODEL)
async def test_15_3_13_a_wrong_hash_is_rejected(stand: Stand) -> None:
    await stand.create(STORY, "story", AT_ONCE)
    wrong = {"submissionId": "sub-1", "inputHash": "0" * 64}
    asked = await ask(stand, trigger(stand, "sub-1", deliveryIdentity=wrong))
    await decided(stand, asked, "Rejected", "InputHashMismatch")
    assert stand.all(STORY_RUN) == []


@scenario(rigs=ON_MODEL)
async def test_15_5_1_two_submissions_of_one_key_at_once_start_one_run(stand: Stand) -> None:
    await stand.create(STORY, "story", AT_ONCE)
    learned: list[TriggerDecision] = []

    async def one() -> None:
        learned.append(await submit(stand, InMemoryStore(), "order-42", {"city": "Bern"}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert [decision.outcome for decision in learned] == [Outcome.CREATED] * 2
    assert sorted(decision.existed for decision in learned) == [False, True]
    assert len({decision.story_run for decision in learned}) == 1
    assert (len(stand.all(STORY_TRIGGER)), len(stand.all(STORY_RUN))) == (1, 1)


# Large inputs.


@scenario()
async def test_15_3_14_large_inputs_of_a_key_reach_the_run_as_references_with_their_hash(stand: Stand) -> None:
    """The SDK moves them into the store before it computes the hash, and the run has the same hash."""
    store = InMemoryStore()
    await stand.create(STORY, "story", AT_ONCE)
    decision = await submit(stand, store, "order-42", {"n": 1, "rows": "x" * (LIMIT + 1)})
    assert decision.outcome is Outcome.CREATED
    answered = await stand.read(STORY_TRIGGER, decision.trigger)
    run = await run_of(stand, answered)
    inputs = run["spec"]["inputs"]
    assert inputs == answered["spec"]["inputs"]
    assert (inputs["n"], list(store.objects)) == (1, [inputs["rows"]["$bubuStorageRef"]])
    hashed = input_hash(inputs)
    assert annotation(run, keys.ANNOTATION_TRIGGER_INPUT_HASH) == hashed
    assert answered["spec"]["deliveryIdentity"]["inputHash"] == hashed
    run_name = run["metadata"]["name"]
    await stand.until(
        lambda: status_of(stand.find(STORY_RUN, run_name)).get("phase") == "Succeeded", "the run has ended"
    )


# An operator that dies after it has created the run, and before it has stored the answer.


async def dies_before_the_answer(stand: Stand, *, key: bool, inputs: Object) -> None:
    await stand.create(STORY, "story", AT_ONCE)
    async with stand.away():
        asked = await ask(stand, trigger(stand, "order-42", key=key, inputs=inputs))
        left = requested_run(request_of(asked))  # what the dead operator has left
        run = await stand.create(STORY_RUN, left["metadata"]["name"], left["spec"], **_marks(left))
        await stand.delete(STORY, "story")  # a new request would have to wait
    answered = await decided(stand, asked, "Created", "StoryRunCreated")
    assert status_of(answered)["storyRunRef"]["uid"] == run["metadata"]["uid"]
    assert [obj["metadata"]["uid"] for obj in stand.all(STORY_RUN)] == [run["metadata"]["uid"]]


def _marks(run: Object) -> dict[str, Any]:
    return {"annotations": run["metadata"]["annotations"]}


async def recovered(stand: Stand, *, key: bool) -> None:
    assert isinstance(stand, ModelStand)
    await stand.create(STORY, "story", AT_ONCE)
    async with stand.dying(STORY_RUN):
        asked = await ask(stand, trigger(stand, "order-42", key=key, inputs={"a": 1}))
        await stand.until(lambda: stand.all(STORY_RUN), "the run is created")
        [run] = stand.all(STORY_RUN)
        assert status_of(await stand.read(STORY_TRIGGER, asked["metadata"]["name"])) == {}
    answered = await decided(stand, asked, "Created", "StoryRunCreated")
    assert status_of(answered)["storyRunRef"]["uid"] == run["metadata"]["uid"]
    assert len(stand.all(STORY_RUN)) == 1


@scenario(rigs=ON_MODEL)
async def test_15_3_3_the_run_that_the_request_itself_has_started_is_found(stand: Stand) -> None:
    """It counts as created, not as reused, although the Story has gone since."""
    await dies_before_the_answer(stand, key=True, inputs={"a": 1})


@scenario(rigs=ON_MODEL)
async def test_15_3_15_the_run_of_a_key_is_recovered(stand: Stand) -> None:
    await recovered(stand, key=True)


@scenario(rigs=ON_MODEL)
async def test_15_3_16_the_run_of_a_submission_is_recovered(stand: Stand) -> None:
    await recovered(stand, key=False)


@scenario(disturbs=True)
async def test_15_3_17_the_run_of_a_key_with_references_is_recovered(stand: Stand) -> None:
    await dies_before_the_answer(stand, key=True, inputs=OFFLOADED)


@scenario(disturbs=True)
async def test_15_3_18_the_run_of_a_submission_with_references_is_recovered(stand: Stand) -> None:
    await dies_before_the_answer(stand, key=False, inputs=OFFLOADED)
