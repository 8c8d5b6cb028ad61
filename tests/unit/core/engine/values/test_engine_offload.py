"""Large values that the engine puts into object storage: inputs of steps and called Stories, outputs of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.engine.errors import StorageUnavailableError
from core.engine.payload_port import Offload
from core.engine.settings import EngineSettings, RunDefaults
from core.expressions.paths import has_reference, is_reference
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.stored import ModelPayloads, value_of
from fuzz.engine.worker import Script
from fuzz.engine.world import World, open_world

LONG = "x" * 900
SMALL = EngineSettings(
    jitter=lambda: 0.0,
    run_defaults=lambda: RunDefaults(max_inline_inputs_bytes=400),
    max_inline_bytes=lambda: 400,
    max_inline_output_bytes=500,
)
SHARING = {"work": Engram(max_inline_size_bytes=400, shares_store=True)}
SCRIPTS = {"a": (Script(output={"text": LONG, "n": 1}),), "b": (Script(echo=True),)}
WITH = {"text": "{{ steps.a.output.text }}", "n": "{{ steps.a.output.n }}"}


def whole(world: World, value: Any) -> Any:
    return value_of(value, "default", "it", world.cluster.stored)


def echoed(world: World, one: Any) -> Any:
    """The inputs that the container of step b got."""
    step_run = world.step_run(one.key, "b")
    assert step_run is not None
    return step_run["status"]["output"]


def ready(status: dict[str, Any]) -> tuple[str, str]:
    found = find_condition(status["conditions"], "Ready") or {}
    return str(found.get("reason")), str(found.get("message"))


def offload_with(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """``before`` runs before each request to store something, and may refuse it."""
    sound = ModelPayloads.offload

    async def offload(self: ModelPayloads, value: Any, wanted: Offload, *, field: str) -> Any:
        await trio.lowlevel.checkpoint()
        before()
        return await sound(self, value, wanted, field=field)

    monkeypatch.setattr(ModelPayloads, "offload", offload)


async def test_large_inputs_of_a_step_reach_its_container_as_references(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world(SCRIPTS, engrams=SHARING) as world:
        one = scenario(world, [engram("a"), engram("b", with_=WITH)])
        await one.to_the_end()

    inputs = echoed(world, one)
    assert inputs["n"] == 1
    assert inputs["text"]["$bubuStorageRef"].startswith(f"inputs/default/{one.key.name}-b/text.sha256-")
    assert whole(world, inputs) == {"text": LONG, "n": 1}


async def test_small_inputs_and_those_of_a_step_with_another_store_stay_as_they_are(
    autojump_clock: MockClock, scenario: Any
) -> None:
    roomy = Engram(max_inline_size_bytes=4096, shares_store=True)
    for work in (replace(SHARING["work"], shares_store=False), roomy):
        async with open_world(SCRIPTS, engrams={"work": work}) as world:
            one = scenario(world, [engram("a"), engram("b", with_=WITH)])
            await one.to_the_end()

        assert echoed(world, one) == {"text": LONG, "n": 1}
        assert world.cluster.stored == {}


async def test_without_a_store_large_inputs_name_the_setting(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SCRIPTS, engrams=SHARING) as world:
        world.cluster.has_store = False
        one = scenario(world, [engram("a"), engram("b", with_=WITH)])
        await one.to_the_end()

    assert one.phases["b"] == "Failed"


async def test_a_large_output_of_a_run_is_stored_by_parts(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SCRIPTS, settings=SMALL) as world:
        output = {"text": "{{ steps.a.output.text }}", "n": "{{ steps.a.output.n }}"}
        one = scenario(world, [engram("a")], output=output)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert status["output"]["n"] == 1
    assert status["output"]["text"]["$bubuStorageRef"].startswith(f"outputs/default/{one.key.name}/text.sha256-")
    assert whole(world, status["output"]) == {"text": LONG, "n": 1}


async def test_an_output_of_many_parts_becomes_one_reference(autojump_clock: MockClock, scenario: Any) -> None:
    output = {f"text{number}": "{{ steps.a.output.text }}" for number in range(5)}
    async with open_world(SCRIPTS, settings=SMALL) as world:
        status = await scenario(world, [engram("a")], output=output).to_the_end()

    assert is_reference(status["output"])
    assert whole(world, status["output"]) == dict.fromkeys(output, LONG)


async def test_an_output_below_the_bound_stays_in_the_status(autojump_clock: MockClock, scenario: Any) -> None:
    settings = replace(SMALL, max_inline_output_bytes=2000)
    async with open_world(SCRIPTS, settings=settings) as world:
        one = scenario(world, [engram("a")], output={"text": "{{ steps.a.output.text }}"})
        status = await one.to_the_end()

    assert status["output"] == {"text": LONG}


async def test_large_inputs_of_a_called_story_are_stored_for_its_run(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SCRIPTS, settings=SMALL) as world:
        world.add_story("child", {"steps": [engram("b", with_={"got": "{{ inputs.text }}"})]})
        call = primitive("call", "executeStory", "a", with_={"storyRef": {"name": "child"}, "with": WITH})
        one = scenario(world, [engram("a"), call])
        status = await one.to_the_end()
        child = world.child_run(one.key, "call")

    assert child is not None, status["stepStates"]
    assert status["phase"] == "Succeeded"
    assert has_reference(child["spec"]["inputs"])
    name = child["metadata"]["name"]
    assert child["spec"]["inputs"]["text"]["$bubuStorageRef"].startswith(f"inputs/default/{name}/text.sha256-")
    assert whole(world, child["spec"]["inputs"]) == {"text": LONG, "n": 1}


@pytest.mark.parametrize("shares_store", [True, False])
async def test_the_large_input_of_a_branch_is_stored_before_its_step_run_is_created(
    autojump_clock: MockClock, scenario: Any, shares_store: bool
) -> None:
    """Its attempts read it whole, so schema, cache and container see what they see of any other step."""
    work = replace(
        SHARING["work"], shares_store=shares_store, input_schema={"properties": {"text": {"type": "string"}}}
    )
    fan = primitive("fan", "parallel", "a", with_={"steps": [engram("b", with_=WITH)]})
    async with open_world(SCRIPTS | {"fan/b": (Script(echo=True),)}, engrams={"work": work}) as world:
        one = scenario(world, [engram("a"), fan])
        status = await one.to_the_end()
        step_run = world.step_run(one.key, "fan/b")

    assert status["phase"] == "Succeeded", status["stepStates"]
    assert step_run is not None
    input_ = step_run["spec"]["input"]
    assert input_["text"]["$bubuStorageRef"].startswith(f"inputs/default/{one.key.name}-fan-b/text.sha256-")
    assert whole(world, input_) == {"text": LONG, "n": 1}
    assert has_reference(step_run["status"]["output"]) == shares_store
    assert whole(world, step_run["status"]["output"]) == {"text": LONG, "n": 1}


async def test_what_is_stored_of_a_branch_is_checked_against_the_schema(
    autojump_clock: MockClock, scenario: Any
) -> None:
    work = replace(SHARING["work"], input_schema={"properties": {"text": {"type": "integer"}}})
    fan = primitive("fan", "parallel", "a", with_={"steps": [engram("b", with_=WITH)]})
    async with open_world(SCRIPTS, engrams={"work": work}) as world:
        one = scenario(world, [engram("a"), fan])
        await one.to_the_end()
        step_run = world.step_run(one.key, "fan/b")

    assert step_run is not None
    assert "text" in ready(step_run["status"])[1]
    assert ready(step_run["status"])[0] == "InputSchemaFailed"


async def test_the_input_of_a_branch_stays_inline_without_a_store(autojump_clock: MockClock, scenario: Any) -> None:
    work = replace(SHARING["work"], shares_store=False)
    fan = primitive("fan", "parallel", "a", with_={"steps": [engram("b", with_=WITH)]})
    async with open_world(SCRIPTS, engrams={"work": work}) as world:
        world.cluster.has_store = False
        one = scenario(world, [engram("a"), fan])
        status = await one.to_the_end()
        step_run = world.step_run(one.key, "fan/b")

    assert status["phase"] == "Succeeded"
    assert step_run is not None
    assert step_run["spec"]["input"] == {"text": LONG, "n": 1}


async def test_a_missing_object_of_the_input_of_a_branch_names_it(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(SCRIPTS, engrams=SHARING) as world:

        def lose(key: str, content: bytes) -> None:
            if "-fan-b/" not in key:
                world.cluster.stored[key] = content

        monkeypatch.setattr(world.cluster, "store", lose)
        fan = primitive("fan", "parallel", "a", with_={"steps": [engram("b", with_=WITH)]})
        one = scenario(world, [engram("a"), fan])
        await one.to_the_end()
        step_run = world.step_run(one.key, "fan/b")

    assert step_run is not None
    assert f"spec.input of StepRun {one.key.name}-fan-b cannot be read" in ready(step_run["status"])[1]


async def test_a_store_that_does_not_answer_is_waited_for_and_reported(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> None:
        if trio.current_time() < 60:
            raise StorageUnavailableError("bucket 'data' cannot be written: the connection is refused")

    offload_with(monkeypatch, down)
    async with open_world(SCRIPTS, engrams=SHARING) as world:
        one = scenario(world, [engram("a"), engram("b", with_=WITH)])
        world.start(one.key)
        await trio.sleep(30)
        reason, message = ready(one.status)
        status = await one.to_the_end()

    assert (reason, "bucket 'data' cannot be written" in message) == ("StorageUnavailable", True)
    assert status["phase"] == "Succeeded"
    assert whole(world, echoed(world, one)) == {"text": LONG, "n": 1}


async def test_a_retry_and_a_restart_store_the_same_objects(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between the objects and the Job leaves objects that the next process refers to."""
    kills: list[int] = []
    async with open_world(SCRIPTS, engrams=SHARING) as world:

        def die() -> None:
            kills.append(len(world.cluster.stored))
            if len(kills) == 2:
                world.processes[-1].dead = True

        offload_with(monkeypatch, die)
        branch = primitive("fan", "parallel", "a", with_={"steps": [engram("d", with_=WITH)]})
        one = scenario(world, [engram("a"), engram("b", with_=WITH), engram("c", with_=WITH), branch])
        world.start(one.key)
        await trio.sleep(20)
        await world.kill()
        await one.to_the_end()

    assert len(kills) >= 3
    assert one.phases == dict.fromkeys(["a", "b", "c", "fan", "fan/d"], "Succeeded")
    keys = sorted(world.cluster.stored)
    assert [key.split("/")[2] for key in keys] == [f"{one.key.name}-b", f"{one.key.name}-c", f"{one.key.name}-fan-d"]
