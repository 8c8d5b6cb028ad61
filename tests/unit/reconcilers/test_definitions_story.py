"""Errors in a Story, and what its status says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import IMPULSE
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from reconcilers.runtime.controller import Key
from reconcilers.story import LOOKED_UP, StoryReconciler, story_findings
from tests.unit.reconcilers.reconciler_samples import Answering, RecordedEvents, clock, open_world, run, stored, story

FETCH = {"name": "fetch", "ref": {"name": "http"}}


def settings(policy: CrossNamespacePolicy = CrossNamespacePolicy.DENY) -> OperatorSettings:
    return replace(OperatorSettings(), cross_namespace_policy=policy)


async def findings(*steps: Object, policy: CrossNamespacePolicy = CrossNamespacePolicy.DENY, **spec: Any) -> list[str]:
    """Reason and message of every finding in a world with some Engrams, Stories and a grant."""
    async with open_world() as (_, world):
        world.engrams.remember(stored("Engram", "http", spec={"mode": "job"}))
        world.engrams.remember(stored("Engram", "stream", spec={"mode": "deployment"}))
        world.engrams.remember(stored("Engram", "shared", namespace="lib", spec={}))
        world.stories.remember(story("child", pattern="batch"))
        world.stories.remember(story("live", pattern="realtime"))
        world.stories.remember(story("kept", pattern="realtime", streamingStrategy="PerStory"))
        grant = {
            "from": [{"group": "bubustack.io", "kind": "Story", "namespace": "team"}],
            "to": [{"group": "bubustack.io", "kind": "Engram", "name": "shared"}],
        }
        world.reference_grants.remember(stored("ReferenceGrant", "g", namespace="lib", spec=grant))
        found = story_findings(story("report", *steps, **spec), world, settings(policy))
    return [f"{finding.reason}: {finding.message}" for finding in found]


def sub_story(**reference: str) -> Object:
    return {"name": "sub", "type": "executeStory", "with": {"storyRef": reference}}


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [FETCH],
        [sub_story(name="child")],
        [{"name": "pause", "type": "sleep", "with": {"duration": "1s"}}],
        [{"name": "p", "type": "parallel", "with": {"steps": [{"name": "x", "ref": {"name": "nobody"}}]}}],
    ],
)
async def test_a_story_whose_references_resolve_has_no_findings(steps: list[Object]) -> None:
    assert await findings(*steps) == []


@pytest.mark.parametrize(
    ("step", "finding"),
    [
        (
            {"name": "a", "ref": {"name": "nobody"}},
            "EngramReferenceInvalid: spec.steps[0] (a).ref: Engram team/nobody does not exist; apply it",
        ),
        (
            {"name": "a", "ref": {"name": "shared", "namespace": "lib"}},
            (
                "EngramReferenceInvalid: spec.steps[0] (a).ref: Story in namespace team may not refer to "
                "Engram lib/shared: references.cross-namespace-policy is deny"
            ),
        ),
        ({"name": "a"}, "StoryReferenceInvalid: spec.steps[0] (a): has none of ref, type and run; set one of them"),
        (
            {"name": "a", "type": " "},
            "StoryReferenceInvalid: spec.steps[0] (a): has none of ref, type and run; set one of them",
        ),
        (sub_story(), "StoryReferenceInvalid: spec.steps[0] (sub).with.storyRef.name: is required"),
        (
            {"name": "sub", "type": "executeStory"},
            "StoryReferenceInvalid: spec.steps[0] (sub).with.storyRef.name: is required",
        ),
        (
            sub_story(name="nobody"),
            "StoryReferenceInvalid: spec.steps[0] (sub).with.storyRef: Story team/nobody does not exist; apply it",
        ),
        (
            sub_story(name="live"),
            "StoryReferenceInvalid: spec.steps[0] (sub).with.storyRef: a batch Story cannot call a realtime one",
        ),
        (
            {**FETCH, "transport": "voice"},
            "TransportReferenceInvalid: spec.steps[0] (fetch).transport: 'voice' is not declared in spec.transports",
        ),
    ],
)
async def test_a_reference_that_does_not_resolve_is_a_finding_with_its_place(step: Object, finding: str) -> None:
    assert await findings(step) == [finding]


async def test_replay_that_does_not_exist_is_found_in_a_stored_story() -> None:
    declared = {"name": "voice", "transportRef": "hub", "streaming": {"delivery": {"replay": {"mode": "durable"}}}}
    [found] = await findings(pattern="realtime", transports=[{"name": "other", "transportRef": "hub"}, declared])
    assert found.startswith("InvalidConfiguration: spec.transports[1].streaming.delivery.replay.mode: durable is not")
    assert "use memory" in found


async def test_nobody_executes_a_story_that_is_always_on() -> None:
    [found] = await findings(sub_story(name="kept"), pattern="realtime")
    assert found.startswith(
        "StoryReferenceInvalid: spec.steps[0] (sub).with.storyRef: Story 'kept' has streamingStrategy"
    )
    assert found.endswith("set streamingStrategy: PerStoryRun")


@pytest.mark.parametrize("strategy", ["PerStory", "PerStoryRun"])
async def test_only_a_realtime_story_has_a_streaming_strategy(strategy: str) -> None:
    message = "InvalidConfiguration: spec.streamingStrategy: is only possible with pattern: realtime; remove it"
    assert await findings(streamingStrategy=strategy) == [message]
    assert await findings(streamingStrategy=strategy, pattern="realtime") == []


async def test_all_findings_are_reported_together_in_spec_order() -> None:
    lost = {"name": "x", "ref": {"name": "nobody"}}
    bye: dict[str, Any] = {"finally": [{**lost, "name": "bye"}]}
    found = await findings(
        lost,
        sub_story(),
        compensations=[{**lost, "name": "undo"}],
        transports=[{"name": "", "transportRef": "t"}, {"name": "a"}, {"name": "a", "transportRef": "t"}],
        **bye,
    )
    places = [text.partition(": ")[2].partition(": ")[0] for text in found]
    assert places == [
        "spec.transports[0].name",
        "spec.transports[1].transportRef",
        "spec.transports[2].name",
        "spec.steps[0] (x).ref",
        "spec.steps[1] (sub).with.storyRef.name",
        "spec.compensations[0] (undo).ref",
        "spec.finally[0] (bye).ref",
    ]


async def test_a_grant_opens_what_it_names() -> None:
    shared = {"name": "a", "ref": {"name": "shared", "namespace": "lib"}}
    other = {"name": "b", "ref": {"name": "other", "namespace": "lib"}}
    found = await findings(shared, other, policy=CrossNamespacePolicy.GRANT)
    assert len(found) == 1
    assert "no ReferenceGrant in namespace lib" in found[0]


async def test_a_realtime_story_needs_engrams_that_stay() -> None:
    stream = {"name": "s", "ref": {"name": "stream"}}
    assert await findings(stream, pattern="realtime") == []
    [finding] = await findings(FETCH, pattern="realtime")
    assert "(fetch).ref: the Engram runs as a Job, which each packet starts" in finding
    assert finding.endswith("use an Engram of mode deployment or statefulset, or name a step in needs")
    assert await findings(stream, {**FETCH, "needs": ["s"]}, pattern="realtime") == []
    assert await findings(stream, pattern="realtime", compensations=[FETCH]) == []


async def reconciled(
    known: Object, *others: Object, times: int = 1, server: Answering | None = None
) -> tuple[Object, RecordedEvents, Answering]:
    """The Story after ``times`` reconciles, in a world with the given runs and Engrams."""
    events, server = RecordedEvents(), server or Answering(known)
    async with open_world(server) as (client, world):
        world.stories.remember(known)
        for obj in others:
            (world.engrams if obj["kind"] == "Engram" else world.story_runs).remember(obj)
        for _ in range(times):
            reconciler = StoryReconciler(client, world, events, clock(), settings)
            await reconciler.reconcile(Key("team", "report"))
        latest = world.stories.get("team", "report")
    assert latest is not None
    return latest, events, server


async def test_the_status_of_a_valid_story_is_written_once() -> None:
    engram = stored("Engram", "http", spec={})
    known = story("report", FETCH, FETCH, compensations=[FETCH], transports=[{"name": "a", "transportRef": " t "}])
    latest, events, server = await reconciled(known, engram, times=3)
    status = latest["status"]
    assert (status["validationStatus"], status["stepsTotal"], status["triggers"]) == ("valid", 3, 0)
    assert status["transports"] == [
        {"name": "a", "transportRef": "t", "mode": "fallback", "modeReason": "batch-pattern"}
    ]
    [condition] = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "True", "ValidationPassed")
    assert "validationErrors" not in status
    assert len(server.patches) == 1
    assert events.emitted == []


async def test_an_invalid_story_is_told_once_per_finding() -> None:
    known = story("report", FETCH, sub_story())
    latest, events, server = await reconciled(known, times=3)
    status = latest["status"]
    assert status["validationStatus"] == "invalid"
    assert len(status["validationErrors"]) == 2
    assert (status["conditions"][0]["status"], status["conditions"][0]["reason"]) == ("False", "ValidationFailed")
    assert [reason for _, _, reason in events.emitted] == ["EngramReferenceInvalid", "StoryReferenceInvalid"]
    assert len(server.patches) == 1


async def test_what_the_caches_do_not_have_yet_is_not_missing() -> None:
    known = story("report", FETCH, {**FETCH, "name": "again"}, sub_story(name="child"))
    server = Answering(known, http=stored("Engram", "http", spec={}), child=story("child"))
    latest, events, server = await reconciled(known, times=3, server=server)
    assert latest["status"]["validationStatus"] == "valid"
    assert events.emitted == []
    assert [path.rpartition("/")[2] for path in server.reads] == ["http", "child"]


async def test_what_was_created_a_moment_ago_is_checked_like_all_others() -> None:
    known = story("report", FETCH, pattern="realtime")
    server = Answering(known, http=stored("Engram", "http", spec={"mode": "job"}))
    latest, _, _ = await reconciled(known, server=server)
    [error] = latest["status"]["validationErrors"]
    assert error.endswith("use an Engram of mode deployment or statefulset, or name a step in needs")


async def test_what_is_missing_is_looked_up_once() -> None:
    known = story("report", FETCH, {**FETCH, "name": "again"}, sub_story(name="child"), sub_story(name="No Name"))
    latest, events, server = await reconciled(known, times=3)
    assert len(latest["status"]["validationErrors"]) == len(events.emitted) == 4
    assert [path.rpartition("/")[2] for path in server.reads] == ["http", "child"]


async def test_a_story_with_thousands_of_references_causes_few_requests() -> None:
    known = story("report", *({"name": f"s{number}", "ref": {"name": f"e{number}"}} for number in range(2_000)))
    latest, _, server = await reconciled(known, times=2)
    assert len(latest["status"]["validationErrors"]) == 2_000
    assert len(server.reads) == LOOKED_UP


async def test_runs_that_have_started_are_counted_and_never_forgotten() -> None:
    started = run("a", status={"triggerTokens": ["story", "impulse"]})
    latest, _, _ = await reconciled(story("report"), started, run("b"))
    assert latest["status"]["triggers"] == 1
    latest, _, _ = await reconciled({**story("report"), "status": {"triggers": 9}}, started)
    assert latest["status"]["triggers"] == 9


async def test_the_impulses_that_start_a_story_are_counted_wherever_they_are() -> None:
    known = story("report")
    server = Answering(known)
    async with open_world(server) as (client, world):
        world.stories.remember(known)
        for name, namespace, reference in (
            ("a", "team", {"name": "report"}),
            ("b", "shared", {"name": "report", "namespace": "team"}),
            ("c", "shared", {"name": "report"}),
        ):
            spec = {"storyRef": reference, "templateRef": {"name": "t"}}
            world.informer(IMPULSE).remember(stored("Impulse", name, namespace=namespace, spec=spec))
        await StoryReconciler(client, world, RecordedEvents(), clock(), settings).reconcile(Key("team", "report"))
        [latest] = world.stories.list()
    assert latest["status"]["usageCount"] == 2


async def test_a_finalizer_of_the_reference_is_released_on_deletion() -> None:
    going = story("report")
    going["metadata"] |= {
        "deletionTimestamp": "2025-01-02T03:04:05Z",
        "finalizers": ["x/y", "story.bubustack.io/finalizer"],
    }
    latest, _, server = await reconciled(going)
    assert latest["metadata"]["finalizers"] == ["x/y"]
    assert "status" not in server.patches[0]


async def test_a_story_that_is_gone_needs_nothing() -> None:
    async with open_world() as (client, world):
        reconciler = StoryReconciler(client, world, RecordedEvents(), clock(), settings)
        await reconciler.reconcile(Key("team", "report"))
