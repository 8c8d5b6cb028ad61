"""Trigger contract 4 and 15: how StoryTriggers are answered, and that each of them starts at most one run."""

from __future__ import annotations

from typing import Any

from bubu_sdk.counters import ThrottleCounter
from bubu_sdk.delivery import load
from bubu_sdk.storytrigger import Origin, Outcome, TriggerDecision
from bubu_sdk.testing import InMemoryStore
from bubu_sdk.triggers import Request, Triggers, TriggerSettings
from core.api import keys
from core.api.objects import Object
from core.api.resource import STORY, STORY_RUN, STORY_TRIGGER
from core.workloads.submission import input_hash, trigger_name
from core.workloads.trigger import request_of, requested_run
from tests.acceptance.acceptance_stand import (
    ON_SERVERS,
    SdkSide,
    Stand,
    annotation,
    primitive,
    scenario,
    status_of,
)

LIMIT = 1024
"""Bytes of inputs that are stored in a StoryTrigger and in a StoryRun."""
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


# Large inputs.


@scenario(rigs=ON_SERVERS)
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


@scenario(disturbs=True, rigs=ON_SERVERS)
async def test_15_3_17_the_run_of_a_key_with_references_is_recovered(stand: Stand) -> None:
    await dies_before_the_answer(stand, key=True, inputs=OFFLOADED)


@scenario(disturbs=True, rigs=ON_SERVERS)
async def test_15_3_18_the_run_of_a_submission_with_references_is_recovered(stand: Stand) -> None:
    await dies_before_the_answer(stand, key=False, inputs=OFFLOADED)
