"""The SDK of Impulses on a server that stores, with its definitions.

A double decides, as section 4.4 of the contract says.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest
import trio

from bubu_contract import submission
from bubu_sdk import AsyncImpulseContext, Outcome, TriggerConflictError, TriggerRejectedError
from bubu_sdk.counters import ThrottleCounter
from bubu_sdk.delivery import load
from bubu_sdk.impulse_context import ImpulseServices
from bubu_sdk.secret import Secrets
from bubu_sdk.sessions import Sessions
from bubu_sdk.storyruns import StoryRuns
from bubu_sdk.storytrigger import ANNOTATION_TRIGGER_NAME, ANNOTATION_TRIGGER_TOKEN, Origin
from bubu_sdk.triggers import Triggers, TriggerSettings
from core.api.objects import Object
from core.api.resource import IMPULSE, STORY_RUN, STORY_TRIGGER
from tests.integration.adapter_world import AdapterWorld
from tests.integration.blocking_cluster import BlockingCluster
from tests.integration.operator_cluster import NAMESPACE_NAME

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def context(there: AdapterWorld) -> tuple[AsyncImpulseContext, ThrottleCounter]:
    await there.client.create(
        IMPULSE,
        {
            "apiVersion": "bubustack.io/v1alpha1",
            "kind": "Impulse",
            "metadata": {"name": "hook", "namespace": NAMESPACE_NAME},
            "spec": {"storyRef": {"name": "orders"}, "templateRef": {"name": "webhook"}},
        },
    )
    environ = {
        "BUBU_IMPULSE_NAME": "hook",
        "BUBU_IMPULSE_NAMESPACE": NAMESPACE_NAME,
        "BUBU_TARGET_STORY_NAME": "orders",
    }
    cluster, origin = BlockingCluster(there.client), Origin.of(environ)
    counter = ThrottleCounter(cluster, NAMESPACE_NAME, "hook", now=lambda: NOON)
    triggers = Triggers(cluster, None, TriggerSettings(origin, load(environ), 30.0, 4096, 32), counter)
    runs = StoryRuns(cluster, origin, timeout_seconds=30.0)
    services = ImpulseServices(triggers, runs, Sessions(cluster, triggers, runs), lambda _: None)
    ctx: AsyncImpulseContext = AsyncImpulseContext(
        name="hook",
        namespace=NAMESPACE_NAME,
        story="orders",
        story_namespace=NAMESPACE_NAME,
        _config=lambda: None,
        secrets=Secrets({}),
        logger=logging.getLogger("test-impulse"),
        cancelled=threading.Event(),
        _services=services,
    )
    return ctx, counter


async def decide(there: AdapterWorld, *, reject: str = "") -> None:
    """Decide every StoryTrigger, until cancelled."""
    while True:
        for trigger in (await there.client.list(STORY_TRIGGER, NAMESPACE_NAME)).items:
            if not (trigger.get("status") or {}).get("decision"):
                await there.client.patch(
                    STORY_TRIGGER,
                    trigger["metadata"]["name"],
                    {"status": await _decision(there, trigger, reject)},
                    namespace=NAMESPACE_NAME,
                    subresource="status",
                )
        await trio.sleep(0.01)


async def _decision(there: AdapterWorld, trigger: Object, reject: str) -> Object:
    if reject:
        return {"decision": "Rejected", "reason": reject, "message": "no"}
    spec, metadata = trigger["spec"], trigger["metadata"]
    key = spec["deliveryIdentity"].get("key", "")
    name = submission.story_run_name(NAMESPACE_NAME, "orders", key or spec["deliveryIdentity"]["submissionId"])
    marks = {ANNOTATION_TRIGGER_NAME: metadata["name"], **({ANNOTATION_TRIGGER_TOKEN: key} if key else {})}
    run = {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StoryRun",
        "metadata": {"name": name, "namespace": NAMESPACE_NAME, "annotations": marks},
        "spec": {field: spec[field] for field in ("storyRef", "impulseRef", "inputs")},
    }
    await there.client.create(STORY_RUN, run)
    return {"decision": "Created", "reason": "StoryRunCreated", "storyRunRef": {"name": name}}


async def test_a_request_is_stored_once_decided_and_its_run_can_be_found_and_stopped(there: AdapterWorld) -> None:
    ctx, _ = await context(there)
    inputs = {"n": 9007199254740993, "tiny": 1e-7, "text": "é <&> \u2028", "none": None, "list": [1.0, {}]}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(decide, there)
        decision = await ctx.trigger(inputs=inputs, key="Order 42 / Completed")
        again = await ctx.accept(inputs=inputs, key="Order 42 / Completed")
        with pytest.raises(TriggerConflictError):
            await ctx.accept(inputs={"n": 1}, key="Order 42 / Completed")
        session = await ctx.sessions.start("room-1", inputs={})
        runs = await ctx.active_runs()
        ctx.sessions.forget("room-1")
        restored = await ctx.sessions.restore()
        await ctx.sessions.stop("room-1")
        nursery.cancel_scope.cancel()

    assert (decision.outcome, again.outcome, again.existed) == (Outcome.CREATED, Outcome.CREATED, True)
    assert decision.story_run == submission.story_run_name(NAMESPACE_NAME, "orders", "Order 42 / Completed")
    assert {run.name for run in runs} == {decision.story_run, session.story_run}
    assert [one.story_run for one in restored] == [session.story_run]
    stopped = await there.client.get(STORY_RUN, session.story_run, NAMESPACE_NAME)
    assert stopped["spec"]["cancelRequested"] is True
    created = await ctx.created_at()
    assert created is not None
    assert created.tzinfo is UTC


async def test_a_rejection_is_final(there: AdapterWorld) -> None:
    ctx, _ = await context(there)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: decide(there, reject="StoryNotFound"))
        with pytest.raises(TriggerRejectedError) as rejected:
            await ctx.trigger(key="k")
        nursery.cancel_scope.cancel()

    assert rejected.value.reason == "StoryNotFound"


async def test_counts_of_two_replicas_add_up(there: AdapterWorld) -> None:
    _, one = await context(there)
    two = ThrottleCounter(BlockingCluster(there.client), NAMESPACE_NAME, "hook", now=lambda: NOON)
    for counter in (one, one, two):
        counter._pending += 1
        counter._last = NOON

    async with trio.open_nursery() as nursery:
        for counter in (one, two):
            nursery.start_soon(trio.to_thread.run_sync, counter.flush)

    status = (await there.client.get(IMPULSE, "hook", NAMESPACE_NAME))["status"]
    assert status == {"throttledTriggers": 3, "lastThrottled": "2026-01-01T12:00:00Z"}
