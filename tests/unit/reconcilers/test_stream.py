"""Which changes concern the realtime steps of a run. (reconcilers/stream.py)"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.api.objects import Object
from core.kube.informer import Change
from core.kube.store import ChangeKind
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Key
from reconcilers.stream import CONTROLLER
from tests.unit.reconcilers.reconciler_samples import open_world, run, step_run, stored

RUN = Key("team", "one")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as (_, opened):
        yield opened


def of(executor: str) -> Object:
    step = step_run(run("one"))
    return {**step, "spec": {**step["spec"], "executor": executor}}


def keys_for(world: World, obj: Object) -> dict[str, set[Key]]:
    change = Change(ChangeKind.ADDED, None, obj)
    return {
        watch.kind.title: set(watch.whom(change, world))
        for watch in CONTROLLER.watches
        if watch.kind.kind == obj["kind"]
    }


def owned(kind: str, step: Object, /, **owner: object) -> Object:
    reference = {
        "kind": "StepRun",
        "name": step["metadata"]["name"],
        "uid": step["metadata"]["uid"],
        "controller": True,
    }
    return stored(kind, "x", meta={"ownerReferences": [{**reference, **owner}]})


@pytest.mark.parametrize("kind", ["TransportBinding", "Deployment", "StatefulSet"])
async def test_an_object_concerns_the_run_of_the_step_that_controls_it(world: World, kind: str) -> None:
    step = of("stream")
    world.step_runs.remember(step)
    assert set().union(*keys_for(world, owned(kind, step)).values()) == {RUN}
    for foreign in (
        stored(kind, "x"),  # an object of a user, which nobody controls
        owned(kind, step, controller=False),
        owned(kind, step, kind="Job"),
        owned(kind, step, name="gone"),
    ):
        assert set().union(*keys_for(world, foreign).values()) == set()


async def test_steps_that_serve_no_stream_concern_nobody(world: World) -> None:
    batch, stream = of("job"), of("stream")
    assert keys_for(world, stream) == {"stepruns": {RUN}}
    assert keys_for(world, batch) == {"stepruns": set()}
    world.step_runs.remember(batch)
    assert set().union(*keys_for(world, owned("Deployment", batch)).values()) == set()
