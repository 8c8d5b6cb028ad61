"""Objects that somebody else creates or changes in place of the engine, where no policy and no admission stops it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import NamespacedName, Object
from core.engine.step.manifest import controller_reference
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import RETRYING, engram
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

STEP_RUN = ("StepRun", "default", "run-a")
INTENDED = {"amount": 1}


def forged(world: World, run: str = "run", **spec: Any) -> None:
    """Create a StepRun that looks like the one that the engine is about to create."""
    owner = world.cluster.objects["StoryRun", "default", run]
    made = {
        "storyRunRef": {"name": run},
        "stepId": "a",
        "idempotencyKey": "ns/default/storyrun/run/step/a",
        "engramRef": {"name": "work"},
        "input": INTENDED,
        **spec,
    }
    metadata = {"name": f"{run}-a", "namespace": "default", "ownerReferences": [controller_reference(owner)]}
    manifest = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StepRun", "metadata": metadata, "spec": made}
    assert world.cluster.create("mallory", manifest) is not None


def job_inputs(world: World) -> list[Object]:
    """Inputs of every Job that was created, in order."""
    made = (write for write in world.cluster.history if write.place[0] == "Job" and write.verb == "create")
    return [write.new["spec"]["inputs"] for write in made if write.new is not None]


@pytest.mark.parametrize(
    "spec",
    [
        {"input": {"amount": 1_000_000}},
        {"input": {"amount": 1, "also": "{{ inputs }}"}},
        {"executionOverrides": {"debug": True}},
        {"idempotencyKey": "another"},
        {"engramRef": {"name": "other"}},
    ],
)
async def test_a_step_run_made_before_the_operator_is_made_anew(
    autojump_clock: MockClock, scenario: Any, spec: Object
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", with_=INTENDED)])
        forged(world, **spec)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert job_inputs(world) == [INTENDED]
    stored = world.step_run(one.key, "a") or {}
    assert stored["spec"]["input"] == INTENDED
    assert "executionOverrides" not in stored["spec"]
    assert "NameConflict" in [told[1] for told in world.events.told]


async def test_a_step_run_that_is_just_what_was_to_be_made_is_adopted(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", with_=INTENDED)])
        forged(world)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert not [write for write in world.cluster.history if write.place == STEP_RUN and write.verb == "delete"]


async def test_a_step_run_that_was_changed_while_it_waits_for_another_attempt_is_not_run(
    autojump_clock: MockClock, scenario: Any
) -> None:
    scripts = {"a": (Script(Act.FAIL, 1.0, exit_code=1, exit_class="retry"), Script())}
    async with open_world(scripts, engrams=RETRYING) as world:
        one = scenario(world, [engram("a", with_=INTENDED)])
        world.start(one.key)
        await trio.sleep(1.2)
        assert (world.step_run(one.key, "a") or {})["status"]["nextRetryAt"]
        world.cluster.force_patch("mallory", STEP_RUN, "spec", {"input": {"amount": 1_000_000}})
        assert await world.until_ended(one.key)

    assert job_inputs(world) == [INTENDED]
    assert one.status["phase"] == "Failed"
    assert "was changed after it had been created" in one.status["stepStates"]["a"]["message"]


RECORDED_AS_SUCCESS: Object = {
    "phase": "Succeeded",
    "output": {"m": 1},
    "conditions": [
        {
            "type": type_,
            "status": status,
            "reason": "Completed",
            "message": "m",
            "lastTransitionTime": "2026-01-02T03:04:07Z",
        }
        for type_, status in (("Ready", "True"), ("Progressing", "False"), ("Degraded", "False"))
    ],
}
"""What the operator writes after it has checked a success."""


async def test_a_container_that_writes_conditions_does_not_evade_the_output_schema(
    autojump_clock: MockClock, scenario: Any
) -> None:
    engrams = {"work": Engram(output_schema={"required": ["n"]})}
    async with open_world({"a": (Script(Act.HANG),)}, engrams=engrams) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        await trio.sleep(2)
        world.cluster.force_patch("container", STEP_RUN, "status", RECORDED_AS_SUCCESS)
        assert await world.until_ended(one.key)

    assert one.phases["a"] == "Failed"
    assert one.status["stepStates"]["a"]["message"].startswith("OutputSchemaFailed: ")
    assert world.step_run(one.key, "b") is None
    assert (world.step_run(one.key, "a") or {})["status"]["phase"] == "Failed"


@pytest.mark.parametrize("phase", ["Skipped", "Finished", "Compensated"])
async def test_a_container_does_not_skip_its_step(autojump_clock: MockClock, scenario: Any, phase: str) -> None:
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(2)
        world.cluster.force_patch("container", STEP_RUN, "status", {"phase": phase, "exitCode": 0})
        assert await world.until_ended(one.key)

    assert one.phases["a"] == "Failed"
    assert one.status["phase"] == "Failed"


async def test_a_revision_of_another_story_does_not_take_the_place_of_the_runs_own(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", with_=INTENDED)])
        world.add_story("other", {"steps": [engram("a", with_={"amount": 1_000_000})]})
        world.add_run("other-run", "other")
        world.start(NamespacedName("default", "other-run"))
        await trio.sleep(3)
        [name] = [place[2] for place in world.cluster.objects if place[0] == "ControllerRevision"]
        mark = {"annotations": {"runs.bubustack.io/story-revision": name}}
        world.cluster.force_patch("mallory", ("StoryRun", "default", "run"), "metadata", mark)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert job_inputs(world)[1:] == [INTENDED]
