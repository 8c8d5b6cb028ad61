"""Which changes concern which Impulses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import (
    DEPLOYMENT,
    IMPULSE,
    IMPULSE_POD,
    IMPULSE_TEMPLATE,
    SERVICE,
    STATEFUL_SET,
    STORY_TRIGGER,
    Resource,
)
from reconcilers.adapters.world import World
from reconcilers.definition import COUNT_DELAY
from reconcilers.impulse import CONTROLLER
from reconcilers.impulse_watches import POD_DELAY
from reconcilers.runtime.watch import connect
from tests.unit.reconcilers.reconciler_samples import controlled, open_world, stored

SOON = timedelta()


@dataclass
class HeardKeys:
    """Keys of Impulses that were enqueued since the last look."""

    world: World
    keys: set[tuple[str, timedelta]] = field(default_factory=set)

    def remember(self, resource: Resource, obj: Object) -> set[tuple[str, timedelta]]:
        """Let the informer have the object; returns what follows."""
        self.keys = set()
        self.world.informer(resource).remember(obj)
        return self.keys


@pytest.fixture
async def heard() -> AsyncIterator[HeardKeys]:
    async with open_world() as (_, world):
        for name in ("hook", "other"):
            world.informer(IMPULSE).remember(impulse(name))
        result = HeardKeys(world)
        connect(CONTROLLER.watches, world, lambda key, delay: result.keys.add((str(key), delay)))
        yield result


def impulse(name: str, *, status: Object | None = None, meta: Object | None = None, **spec: Any) -> Object:
    given = {"templateRef": {"name": f"{name}-template"}, "storyRef": {"name": f"{name}-story"}, **spec}
    return stored("Impulse", name, meta=meta or {}, spec=given, status=status or {})


HOOK = {("team/hook", SOON)}


async def test_an_impulse_concerns_itself_when_its_spec_or_its_suspension_changes(heard: HeardKeys) -> None:
    assert heard.remember(IMPULSE, impulse("hook", meta={"generation": 2})) == HOOK
    meta = {"generation": 2, "annotations": {"x": "y"}}
    assert heard.remember(IMPULSE, impulse("hook", meta=meta)) == set()
    meta["annotations"] = {"bubustack.io/suspend": "true"}
    assert heard.remember(IMPULSE, impulse("hook", meta=meta)) == HOOK


async def test_a_counter_that_somebody_else_writes_is_noticed_after_a_while(heard: HeardKeys) -> None:
    assert heard.remember(IMPULSE, impulse("hook", status={"triggersReceived": 3})) == {("team/hook", COUNT_DELAY)}
    throttled = {"triggersReceived": 3, "throttledTriggers": 1, "lastThrottled": "2025-01-01T00:00:00Z"}
    assert heard.remember(IMPULSE, impulse("hook", status=throttled)) == set()


async def test_what_an_impulse_refers_to_concerns_it(heard: HeardKeys) -> None:
    assert heard.remember(IMPULSE_TEMPLATE, stored("ImpulseTemplate", "hook-template", namespace="", spec={})) == HOOK
    heard.keys = set()
    heard.world.stories.remember(stored("Story", "hook-story", spec={}))
    assert heard.keys == HOOK


async def test_a_grant_concerns_the_impulses_that_reach_into_its_namespace(heard: HeardKeys) -> None:
    heard.remember(IMPULSE, impulse("hook", storyRef={"name": "s", "namespace": "shared"}))
    heard.remember(IMPULSE, impulse("other", storyRef={"name": "s", "namespace": "team"}))
    heard.keys = set()
    heard.world.reference_grants.remember(stored("ReferenceGrant", "g", namespace="shared", spec={}))
    assert heard.keys == HOOK
    heard.keys = set()
    heard.world.reference_grants.remember(stored("ReferenceGrant", "g", namespace="team", spec={}))
    assert heard.keys == set()


@pytest.mark.parametrize("resource", [DEPLOYMENT, STATEFUL_SET, SERVICE])
async def test_a_change_of_the_status_of_an_owned_object_concerns_its_impulse(
    heard: HeardKeys, resource: Resource
) -> None:
    owner = impulse("hook")
    assert heard.remember(resource, stored(resource.kind, "w", owner=owner, spec={})) == HOOK
    ready = stored(resource.kind, "w", owner=owner, spec={}, status={"readyReplicas": 1})
    assert heard.remember(resource, ready) == HOOK
    other = stored(resource.kind, "x", meta={"ownerReferences": [{**controlled(owner), "kind": "Other"}]}, spec={})
    assert heard.remember(resource, other) == set()


async def test_a_pod_concerns_the_impulse_that_its_labels_name(heard: HeardKeys) -> None:
    labels = {"app.kubernetes.io/name": "bobrapet-impulse", "app.kubernetes.io/instance": "hook"}
    assert heard.remember(IMPULSE_POD, stored("Pod", "p", meta={"labels": labels})) == {("team/hook", POD_DELAY)}


async def test_a_pod_finds_an_impulse_whose_name_is_too_long_for_a_label(heard: HeardKeys) -> None:
    from core.workloads.impulse_workload import instance_label

    name = "h" * 80
    heard.remember(IMPULSE, impulse(name))
    labels = {"app.kubernetes.io/instance": instance_label(name)}
    assert heard.remember(IMPULSE_POD, stored("Pod", "p", meta={"labels": labels})) == {(f"team/{name}", POD_DELAY)}


async def test_triggers_and_runs_concern_the_impulse_that_they_name_when_they_count(heard: HeardKeys) -> None:
    late = {("team/hook", COUNT_DELAY)}
    spec = {"impulseRef": {"name": "hook", "namespace": "team"}}
    assert heard.remember(STORY_TRIGGER, stored("StoryTrigger", "t", namespace="shared", spec=spec)) == late
    pending = stored("StoryTrigger", "t", namespace="shared", spec=spec, status={"decision": ""})
    assert heard.remember(STORY_TRIGGER, pending) == set()
    created = stored("StoryTrigger", "t", namespace="shared", spec=spec, status={"decision": "Created"})
    assert heard.remember(STORY_TRIGGER, created) == late
    assert heard.remember(STORY_TRIGGER, stored("StoryTrigger", "plain", spec={})) == set()

    heard.keys = set()
    own: Object = {"storyRef": {"name": "s"}, "impulseRef": {"name": "hook"}}
    heard.world.story_runs.remember(stored("StoryRun", "r", spec=own))
    assert heard.keys == late
    heard.keys = set()
    heard.world.story_runs.remember(stored("StoryRun", "r", spec=own, status={"active": 1}))
    assert heard.keys == set()
    heard.world.story_runs.remember(stored("StoryRun", "r", spec=own, status={"phase": "Succeeded"}))
    assert heard.keys == late
