"""``executeStory``: the child run, its inputs and outputs, and loops of such calls."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import NamespacedName
from core.evaluation.evaluator import Evaluator
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import NAMESPACE, World, open_world

FAILS = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal"),)


def call(name: str, *needs: str, story: str = "child", **with_: Any) -> dict[str, Any]:
    return primitive(name, "executeStory", *needs, with_={"storyRef": {"name": story}, **with_})


def child_of(world: World, name: str) -> dict[str, Any]:
    return world.run(NamespacedName(NAMESPACE, name))


async def test_26_3_an_omitted_wait_waits_and_its_output_is_there(autojump_clock: MockClock, scenario: Any) -> None:
    given: dict[str, Any] = {"with": {"z": "{{ inputs.z }}"}}
    spec = {
        "steps": [engram("work", with_={"x": "{{ inputs.x }}"})],
        "output": {"n": "{{ steps.work.output.n }}"},
        "policy": {"with": {"x": 1, "y": "kept", "z": 3}},
    }
    async with open_world({"work": (Script(after_seconds=60.0, output={"n": 7}),)}) as world:
        world.add_story("child", spec)
        one = scenario(
            world,
            [call("sub", **given)],
            {"inputs": {"z": 9}},
            output={"n": "{{ steps.sub.output.n }}"},
        )
        status = await one.to_the_end()
        child = child_of(world, "run-sub")

    assert trio.current_time() == pytest.approx(60.0, abs=0.3)
    assert (status["phase"], status["output"]) == ("Succeeded", {"n": 7})
    assert status["stepStates"]["sub"]["subStoryRunName"] == "run-sub"
    assert child["spec"]["inputs"] == {"x": 1, "y": "kept", "z": 9}
    stored = world.cluster.get("Story", NAMESPACE, "child")
    assert stored is not None
    assert child["spec"]["storyRef"] == {
        "name": "child",
        "namespace": "default",
        "uid": stored["metadata"]["uid"],
    }
    labels = child["metadata"]["labels"]
    assert (labels["bubustack.io/parent-storyrun"], labels["bubustack.io/parent-step"]) == ("run", "sub")
    owner = child["metadata"]["ownerReferences"][0]
    assert (owner["controller"], owner["uid"]) == (True, world.run(one.key)["metadata"]["uid"])


async def test_26_2_17_a_failed_child_fails_the_step_in_its_phase_and_words(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"work": FAILS}) as world:
        world.add_story("child", {"steps": [engram("work")]})
        one = scenario(world, [call("sub")])
        status = await one.to_the_end()
        child = child_of(world, "run-sub")

    assert status["phase"] == "Failed"
    assert status["stepStates"]["sub"]["message"] == child["status"]["message"]


async def test_26_2_18_without_waiting_the_step_succeeds_at_once(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"work": (Script(after_seconds=60.0),)}) as world:
        world.add_story("child", {"steps": [engram("work")]})
        one = scenario(world, [call("sub", waitForCompletion=False)])
        status = await one.to_the_end()
        ended_at = trio.current_time()
        assert await world.until_ended(NamespacedName(NAMESPACE, "run-sub"))

    assert ended_at < 0.5
    assert status["stepStates"]["sub"]["subStoryRunName"] == "run-sub"


async def test_26_2_19_a_foreign_run_of_the_name_is_not_adopted(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        world.add_story("child", {"steps": [engram("work")]})
        world.add_run("run-sub", "child")
        status = await scenario(world, [call("sub")]).to_the_end()

    assert status["stepStates"]["sub"]["phase"] == "Failed"
    assert ("Warning", "SubStoryRunSpoofed") in {told[:2] for told in world.events.told}


@pytest.mark.parametrize(
    ("with_", "words"),
    [
        ({"storyRef": {"name": "nobody"}}, "ReferenceNotFound: Story default/nobody does not exist"),
        ({"storyRef": {}}, "with.storyRef.name is required"),
        ({"storyRef": {"name": "child", "version": "2"}}, "is of version 1, not 2"),
        ({"storyRef": {"name": "child", "namespace": "far"}}, "StoryReferenceInvalid"),
        ({"storyRef": {"name": "child"}, "with": 7}, "with.with must be an object"),
        ({"storyRef": {"name": "child"}, "until": "true"}, "with.maxIterations is required"),
        ({"storyRef": {"name": "child"}, "with": {"x": "{{ steps.none.output }}"}}, ""),
    ],
)
async def test_a_call_that_cannot_be_made_fails_the_step_with_a_reason(
    autojump_clock: MockClock, scenario: Any, with_: dict[str, Any], words: str
) -> None:
    async with open_world() as world:
        world.add_story("child", {"steps": [engram("work")], "version": "1"})
        status = await scenario(world, [primitive("sub", "executeStory", with_=with_)]).to_the_end()

    assert status["phase"] == "Failed"
    assert words in (status.get("stepStates") or {}).get("sub", {}).get("message", status["message"])


async def test_stories_that_call_each_other_in_a_circle_come_to_an_end(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        status = await scenario(world, [call("again", story="story")]).to_the_end()
        runs = list(world.cluster.list("StoryRun", NAMESPACE))

    assert status["phase"] == "Failed"
    assert len(runs) == 11
    deepest = max(runs, key=lambda run: len(run["metadata"]["name"]))
    assert "more than 10 levels deep" in deepest["status"]["stepStates"]["again"]["message"]


async def test_cancel_reaches_the_child_and_its_containers(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"work": (Script(after_seconds=5000.0),)}) as world:
        world.add_story("child", {"steps": [engram("work")]})
        one = scenario(world, [call("sub"), call("free", waitForCompletion=False)])
        world.start(one.key)
        await trio.sleep(10)
        world.cancel_run(one.key)
        at = trio.current_time()
        assert await world.until_ended(
            one.key, NamespacedName(NAMESPACE, "run-sub"), NamespacedName(NAMESPACE, "run-free")
        )

    assert trio.current_time() - at < 2
    assert (one.status["phase"], one.phases) == ("Finished", {"sub": "Canceled", "free": "Succeeded"})
    assert child_of(world, "run-sub")["status"]["phase"] == "Finished"


async def test_the_timeout_of_the_step_and_of_the_story_reach_the_child(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"work": (Script(after_seconds=5000.0),)}) as world:
        world.add_story("child", {"steps": [engram("work"), primitive("ask", "gate")]})
        one = scenario(world, [call("sub") | {"execution": {"timeout": "30s"}}])
        status = await one.to_the_end()
        assert trio.current_time() == pytest.approx(30.0, abs=1.0)
        assert await world.until_ended(NamespacedName(NAMESPACE, "run-sub"), seconds=5)

        world.add_story("bounded", {"steps": [call("sub")], "policy": {"timeouts": {"story": "40s"}}})
        other = world.add_run("other", "bounded")
        world.supervisor.adopt(other)
        assert await world.until_ended(other, NamespacedName(NAMESPACE, "other-sub"))

    assert (status["stepStates"]["sub"]["phase"], status["phase"]) == ("Timeout", "Failed")
    why = "StoryRun run-sub had not ended and was canceled; it was at step ask: Waiting for approval"
    assert status["stepStates"]["sub"]["message"] == f"timed out after 30s (timeout from: Story step): {why}"
    assert (world.status(other)["phase"], world.phases(other)) == ("Timeout", {"sub": "Timeout"})


async def test_a_child_deleted_under_way_fails_the_step(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"work": (Script(after_seconds=5000.0),)}) as world:
        world.add_story("child", {"steps": [engram("work")]})
        one = scenario(world, [call("sub")])
        world.start(one.key)
        await trio.sleep(10)
        world.delete_run(NamespacedName(NAMESPACE, "run-sub"))
        assert await world.until_ended(one.key, seconds=60)

    assert "was deleted before it had ended" in one.status["stepStates"]["sub"]["message"]


LOOP: dict[str, Any] = {
    "until": "{{ ge previous.n 3 }}",
    "maxIterations": 5,
    "with": {"n": "{{ iteration }}", "before": "{{ previous }}"},
}


async def test_each_iteration_sees_the_output_of_the_one_before(autojump_clock: MockClock, scenario: Any) -> None:
    counting = {"steps": [engram("work", with_={"n": "{{ inputs.n }}"})], "output": {"n": "{{ steps.work.output.n }}"}}
    async with open_world({"work": (Script(echo=True),)}, evaluator=Evaluator()) as world:
        world.add_story("child", counting)
        one = scenario(world, [call("loop", **LOOP)], output={"n": "{{ steps.loop.output.n }}"})
        status = await one.to_the_end()
        inputs = [child_of(world, f"run-loop-{n}")["spec"]["inputs"] for n in (1, 2, 3)]
        assert world.cluster.get("StoryRun", NAMESPACE, "run-loop-4") is None

    assert inputs == [{"n": 1, "before": {}}, {"n": 2, "before": {"n": 1}}, {"n": 3, "before": {"n": 2}}]
    assert (status["phase"], status["output"]) == ("Succeeded", {"n": 3})
    assert status["stepStates"]["loop"]["message"] == "Done after iteration 3"
    assert status["stepStates"]["loop"]["subStoryRunName"] == "run-loop-3"


async def test_a_loop_ends_with_its_last_iteration_at_most(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        world.add_story("child", {"steps": [engram("work")]})
        one = scenario(world, [call("loop", until="{{ inputs.never }}", maxIterations=2)], {"inputs": {"never": False}})
        status = await one.to_the_end()

    assert status["stepStates"]["loop"]["message"] == (
        "IterationsExhausted: with.until is still false after 2 iterations"
    )


async def test_a_failed_iteration_fails_the_loop(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"work": FAILS}) as world:
        world.add_story("child", {"steps": [engram("work")]})
        status = await scenario(world, [call("loop", **LOOP)]).to_the_end()

    assert status["stepStates"]["loop"]["phase"] == "Failed"
    assert status["stepStates"]["loop"]["message"].startswith("iteration 1: ")


async def test_a_loop_goes_on_where_it_stood_whenever_the_process_dies(
    autojump_clock: MockClock, scenario: Any
) -> None:
    counting = {"steps": [engram("work", with_={"n": "{{ inputs.n }}"})], "output": {"n": "{{ steps.work.output.n }}"}}
    async with open_world({"work": (Script(echo=True, after_seconds=10.0),)}, evaluator=Evaluator()) as world:
        world.add_story("child", counting)
        one = scenario(world, [call("loop", **LOOP)])
        world.start(one.key)
        for _ in range(4):
            await trio.sleep(7)
            await world.kill()
            world.start(
                *(
                    NamespacedName(NAMESPACE, run["metadata"]["name"])
                    for run in world.cluster.list("StoryRun", NAMESPACE)
                )
            )
        assert await world.until_ended(one.key)

    assert one.status["phase"] == "Succeeded"
    assert [run[2] for run in world.worker.ran] == ["ok"] * 3
