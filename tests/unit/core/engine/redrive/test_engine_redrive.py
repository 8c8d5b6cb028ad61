"""Redrives of a whole run or from a step on: what is kept, what is forgotten, and how a bad request is answered."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.api.keys import ANNOTATION_STEP_TIMERS
from core.engine.plan import StoryPlan, parse_story
from core.engine.redrive.redrive import (
    steps_begun_too_early,
    steps_that_waited_for_something_else,
    steps_to_run_again,
)
from core.engine.step.state import steps_from
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.kill_at import KillAt
from fuzz.engine.texts import TEXTS
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

BROKEN_ONCE = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal"),)
CHAIN = [engram("a"), engram("b", "a"), engram("c", "b"), engram("x")]


def ran(world: World) -> list[str]:
    return [step for step, _, _ in world.worker.ran]


async def mend_and(world: World, one: Any, redrive: Any) -> dict[str, Any]:
    """Run until the failure, remove its cause, ask for a redrive, and run to the end."""
    await one.to_the_end()
    world.worker.scripts = {}
    world.worker.ran.clear()
    redrive()
    assert await world.until(lambda: one.status.get("attempts") == 2)
    assert await world.until_ended(one.key)
    await world.quiet()
    assert world.crashes == []
    status: dict[str, Any] = one.status
    return status


async def test_26_2_23_a_full_redrive_forgets_everything_and_counts_the_attempt(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"b": BROKEN_ONCE}) as world:
        one = scenario(world, CHAIN)
        status = await mend_and(world, one, lambda: world.redrive(one.key, "again"))
        annotations = world.run(one.key)["metadata"]["annotations"]

    assert sorted(ran(world)) == ["a", "b", "c", "x"]
    assert (status["phase"], status["attempts"]) == ("Succeeded", 2)
    assert "error" not in status
    assert annotations["storyrun.bubustack.io/redrive-observed"] == "again"
    assert ("Normal", "StoryRunRedrive") in {told[:2] for told in world.events.told}


async def test_26_2_24_a_redrive_from_a_step_keeps_what_came_before_it(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(output={"n": 5}),), "b": BROKEN_ONCE}) as world:
        one = scenario(world, [engram("a"), engram("b", "a"), engram("c", "b", with_={"n": "{{ steps.a.output.n }}"})])
        await one.to_the_end()
        before = one.status["stepStates"]["a"]
        status = await mend_and_from(world, one, "b")

    assert ran(world) == ["b", "c"]
    assert status["phase"] == "Succeeded"
    assert status["stepStates"]["a"] == before


async def mend_and_from(world: World, one: Any, step: str) -> dict[str, Any]:
    world.worker.scripts = {}
    world.worker.ran.clear()
    world.redrive_from(one.key, step, "1")
    assert await world.until(lambda: one.status.get("attempts") == 2)
    assert await world.until_ended(one.key)
    assert world.crashes == []
    status: dict[str, Any] = one.status
    return status


async def test_what_only_the_failure_kept_from_running_runs_too_and_clean_up_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    steps = [engram("a"), engram("slow"), engram("after-slow", "slow"), engram("no", if_="{{ inputs.no }}")]
    async with open_world({"a": BROKEN_ONCE, "slow": (Script(after_seconds=5.0),)}) as world:
        one = scenario(
            world,
            steps,
            {"inputs": {"no": False}},
            compensations=[engram("undo")],
            **{"finally": [engram("clean")]},
        )
        await one.to_the_end()
        assert one.phases["after-slow"] == "Skipped"
        status = await mend_and_from(world, one, "a")

    assert sorted(ran(world)) == ["a", "after-slow", "clean"]
    assert status["phase"] == "Succeeded"
    assert (one.phases["no"], one.phases["undo"]) == ("Skipped", "Skipped")


async def test_a_redrive_takes_the_story_as_it_is_now(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"b": BROKEN_ONCE}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        await one.to_the_end()
        world.edit_story("story", {"steps": [engram("a"), engram("b", "a"), engram("new", "b")]})
        await mend_and_from(world, one, "b")

    assert ran(world) == ["b", "new"]


async def test_a_run_executes_the_story_with_which_it_began(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        await trio.sleep(0.5)
        world.edit_story("story", {"steps": [engram("other")]})
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert ran(world) == ["a", "b"]
    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


@pytest.mark.parametrize("kill_after", [None, 0.0, 0.1, 0.5, 1.5])
async def test_a_redrive_of_a_live_run_ends_what_is_at_work_first(
    autojump_clock: MockClock, scenario: Any, kill_after: float | None
) -> None:
    async with open_world({"b": (Script(after_seconds=500.0, grace_seconds=2.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        await trio.sleep(5)
        world.worker.scripts = {}
        world.redrive(one.key, "t")
        if kill_after is not None:
            await trio.sleep(kill_after)
            await world.kill()
            world.start(one.key)
        assert await world.until_ended(one.key)
        assert world.crashes == []

    assert one.status["phase"] == "Succeeded"
    assert [entry for entry in world.worker.ran if entry[2] == "ok"] == [("a", 0, "ok"), ("a", 0, "ok"), ("b", 0, "ok")]
    assert world.worker.overlaps == []


async def test_a_live_run_starts_again_as_soon_as_what_is_at_work_is_gone(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(5)
        world.redrive(one.key, "t")
        assert await world.until(lambda: one.status.get("attempts") == 2, seconds=0.5)


async def test_a_branch_runs_again_without_its_siblings(autojump_clock: MockClock, scenario: Any) -> None:
    fan = primitive("fan", "parallel", with_={"steps": [engram("a"), engram("b")]})
    async with open_world({"b": BROKEN_ONCE}) as world:
        one = scenario(world, [fan, engram("after", "fan")])
        await one.to_the_end()
        status = await mend_and_from(world, one, "fan/b")

    assert ran(world) == ["fan/b", "after"]
    assert status["phase"] == "Succeeded"


async def test_a_gate_asks_again(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("ok", "gate"), engram("a", "ok")])
        world.start(one.key)
        world.approve(one.key, "ok", "Rejected", "no")
        assert await world.until_ended(one.key)
        world.redrive_from(one.key, "ok", "1")
        assert await world.until(lambda: one.phases.get("ok") == "Paused")
        assert "gates" not in one.status
        world.approve(one.key, "ok", "Approved", "yes")
        assert await world.until(lambda: one.status.get("phase") == "Succeeded")


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(("value", "words"), [("b", "a colon is missing"), ("nobody:1", "no step 'nobody'")])
async def test_26_3_a_request_that_makes_no_sense_is_told_and_stands_in_nobodys_way(
    autojump_clock: MockClock, scenario: Any, live: bool, value: str, words: str
) -> None:
    async with open_world({"b": (Script(after_seconds=50.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        if live:
            await trio.sleep(10)
        else:
            assert await world.until_ended(one.key)
        annotations = {"storyrun.bubustack.io/redrive-from-step": value}
        world.cluster.force_patch("user", ("StoryRun", *one.key), "metadata", {"annotations": annotations})
        observed = "storyrun.bubustack.io/redrive-from-step-observed"
        assert await world.until(lambda: world.run(one.key)["metadata"]["annotations"].get(observed) == value)
        told = find_condition(one.status["conditions"], "Redrive")
        if live:
            world.cancel_run(one.key)
            assert await world.until_ended(one.key)
            assert one.status["phase"] == "Finished"
        else:
            assert one.status["phase"] == "Succeeded"

    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "RedriveInvalid")
    assert words in told["message"]
    assert [reason for _, reason, _ in world.events.told].count("RedriveInvalid") == 1


async def test_a_canceled_run_does_not_run_again(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=50.0),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(5)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        world.redrive(one.key, "t")
        assert await world.until(lambda: find_condition(one.status["conditions"], "Redrive") is not None)
        assert one.status["phase"] == "Finished"


async def test_a_full_redrive_overtakes_one_from_a_step_that_is_not_done_yet(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        await one.to_the_end()
        world.worker.ran.clear()
        held = ("StepRun", "default", "run-b")
        world.cluster.force_patch("user", held, "metadata", {"finalizers": ["example.com/keep"]})
        world.redrive_from(one.key, "b", "1")
        await trio.sleep(3)
        world.redrive(one.key, "2")
        await trio.sleep(3)
        world.cluster.force_patch("user", held, "metadata", {"finalizers": None})
        assert await world.until(lambda: one.status.get("attempts") == 2)
        assert await world.until_ended(one.key)

    assert sorted(ran(world)) == ["a", "b"]
    assert one.status["attempts"] == 2


async def test_a_deleted_run_is_let_go_although_its_deletion_is_not_known_yet(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world(lags={"StoryRun": 5.0}) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        await trio.sleep(10)
        world.redrive_from(one.key, "nowhere", "1")
        world.delete_run(one.key)
        calls = world.processes[-1].calls
        await trio.sleep(20)

    assert world.processes[-1].calls - calls < 10


async def test_a_step_that_was_being_ended_runs_again_too(autojump_clock: MockClock, scenario: Any) -> None:
    """Its process died before it could record how the step ended. It had already asked the container to end."""
    async with open_world({"a": (Script(Act.HANG, grace_seconds=3.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b")], policy={"timeouts": {"story": "2s"}})
        world.start(one.key)
        await trio.sleep(2.5)
        await world.kill()
        await trio.sleep(5)
        world.worker.scripts = {}
        world.redrive_from(one.key, "b", "t")
        world.start(one.key)
        assert await world.until(lambda: one.status.get("attempts") == 2)
        assert await world.until_ended(one.key, seconds=60)

    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
    step_run = world.step_run(one.key, "a")
    assert step_run is not None
    assert "bubustack.io/cancel-requested" not in (step_run["metadata"].get("annotations") or {})


async def test_a_step_at_work_gives_its_slot_back_when_the_run_starts_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"b": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], policy={"concurrency": 1})
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("b") == "Running")
        world.worker.scripts = {}
        world.redrive(one.key, "t")
        assert await world.until(lambda: one.status.get("attempts") == 2)
        assert await world.until_ended(one.key, seconds=60)

    assert one.status["phase"] == "Succeeded"


async def test_a_branch_at_work_goes_on_when_its_sibling_runs_again(autojump_clock: MockClock, scenario: Any) -> None:
    """A failure elsewhere keeps new steps from starting, but the step around the branches had already started."""
    fan = {"steps": [primitive("x", "gate"), engram("y")]}
    async with open_world({"a": BROKEN_ONCE, "fan/y": BROKEN_ONCE}) as world:
        one = scenario(world, [engram("a"), primitive("fan", "parallel", with_=fan)])
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("fan/y") == "Failed")
        world.worker.scripts = {}
        world.redrive_from(one.key, "fan/y", "t")
        assert await world.until(lambda: one.status.get("attempts") == 2)
        assert await world.until(lambda: one.phases.get("fan/y") == "Succeeded")
        world.approve(one.key, "fan/x")
        assert await world.until_ended(one.key, seconds=60)

    assert one.phases == dict.fromkeys(("fan", "fan/x", "fan/y"), "Succeeded") | {"a": "Failed"}


@pytest.mark.parametrize("bound", [1, 2])
async def test_a_branch_that_runs_again_waits_for_room_beside_those_at_work(
    autojump_clock: MockClock, scenario: Any, bound: int
) -> None:
    branches = [engram("x"), engram("y"), engram("z")]
    scripts = {f"fan/{name}": (Script(after_seconds=9.0),) for name in "yz"}
    async with open_world(scripts) as world:
        one = scenario(world, [primitive("fan", "parallel", with_={"steps": branches, "maxConcurrency": 2})])
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("fan/z") == "Running")  # x is done
        fan = primitive("fan", "parallel", with_={"steps": branches, "maxConcurrency": bound})
        world.edit_story("story", {"steps": [fan]})
        world.redrive_from(one.key, "fan/x", "t")
        assert await world.until(lambda: not one.status.get("phase"))
        assert await world.until(lambda: one.phases.get("fan/x") == "Running")
        phases = one.phases
        assert await world.until_ended(one.key, seconds=60)

    at_work = [name for name in ("fan/y", "fan/z") if phases[name] == "Running"]
    assert len(at_work) == bound - 1
    assert sorted(ran(world)) == ["fan/x", "fan/x", "fan/y", "fan/z"]
    assert one.status["phase"] == "Succeeded"


async def test_the_time_of_a_story_starts_anew(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=500.0),)}) as world:
        one = scenario(world, [engram("z"), engram("a", "z")], policy={"timeouts": {"story": "60s"}})
        status = await one.to_the_end()
        assert status["phase"] == "Timeout"
        await trio.sleep(1000)
        status = await mend_and_from(world, one, "a")

    assert status["phase"] == "Succeeded"


def test_steps_are_chosen_from_the_graph_and_from_what_is_recorded() -> None:
    spec = {"steps": [*CHAIN, primitive("halt", "stop", "x")], "finally": [engram("clean")]}
    plan = parse_story({"metadata": {"name": "s", "namespace": "n"}, "spec": spec})
    assert isinstance(plan, StoryPlan)
    states = steps_from(
        {
            "a": {"phase": "Succeeded"},
            "b": {"phase": "Canceled", "message": "Ended: the run was stopped", "startedAt": "2026-01-02T03:04:05Z"},
            "x": {"phase": "Failed"},
            "halt": {"phase": "Failed"},
        }
    )
    assert steps_to_run_again(plan, states, "c") == {"c", "b", "halt", "clean"}


async def test_a_run_of_which_only_its_first_timer_is_stored_goes_on_although_its_story_was_edited(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("nap", "sleep", with_={"duration": "3s"})])
        world.start(one.key)
        assert await world.until(lambda: bool(world.run(one.key)["metadata"].get("annotations")))
        await world.kill()
        assert "phase" not in one.status
        world.edit_story("story", {"steps": [engram("x")]})
        world.start(one.key)
        assert await world.until_ended(one.key, seconds=60)

    assert one.phases == {"nap": "Succeeded"}


@pytest.mark.parametrize("first", [engram("a"), primitive("nap", "sleep", with_={"duration": "3s"})], ids=["a", "nap"])
def test_a_story_edited_while_nobody_runs_changes_no_run_that_has_begun(first: dict[str, Any]) -> None:
    """Whenever the process dies, the run executes all of one Story or all of the other."""

    async def play(killer: KillAt) -> set[str]:
        async with open_world() as world:
            killer.world = world
            world.add_story("story", {"steps": [first, engram("b", first["name"])]})
            key = world.add_run("run", "story")
            killer.process = world.start(key)
            with trio.move_on_after(0.9):
                await killer.fired.wait()
            killer.process = None
            await world.kill()
            world.edit_story("story", {"steps": [engram("x"), engram("y", "x")]})
            world.start(key)
            assert await world.until_ended(key)
            return set(world.phases(key)) | {
                each["spec"]["stepId"] for each in world.cluster.list("StepRun", "default")
            }

    for number in (*range(1, 21), 1000):
        killer = KillAt(number)
        carried_out = trio.run(play, killer, clock=MockClock(autojump_threshold=0), instruments=[killer])
        assert carried_out in ({first["name"], "b"}, {"x", "y"}), f"killed at {number}"


async def test_what_runs_again_from_a_step_does_so_under_the_story_by_which_that_was_decided(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """The Story is edited once more before the redrive begins. The edited Story might not fit what is kept."""
    async with open_world({"b": BROKEN_ONCE}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        await one.to_the_end()
        world.worker.scripts = {}
        world.edit_story("story", {"steps": [engram("a"), engram("b", "a"), engram("c", "b")]})
        world.redrive_from(one.key, "b", "1")
        assert await world.until(lambda: not one.status.get("phase"))
        world.edit_story("story", {"steps": [primitive("a", "sleep", with_={"duration": "1h"})]})
        assert await world.until_ended(one.key)

    assert one.phases == dict.fromkeys("abc", "Succeeded")


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (primitive("nap", "sleep", with_={"duration": "1h"}), 10),  # the stored instant wins over the Story
        (primitive("nap", "wait", with_={"until": "{{ inputs.go }}", "timeout": "20s"}), 24),
        (primitive("nap", "gate", with_={"timeout": "20s"}), 24),
    ],
    ids=["sleep", "wait", "gate"],
)
async def test_the_instant_of_a_sleep_is_no_timeout_of_what_the_step_has_become(
    autojump_clock: MockClock, scenario: Any, now: dict[str, Any], seconds: int
) -> None:
    async with open_world() as world:
        one = scenario(
            world, [engram("a"), primitive("nap", "sleep", with_={"duration": "10s"})], {"inputs": {"go": "no"}}
        )
        world.start(one.key)
        await trio.sleep(4)
        world.edit_story("story", {"steps": [engram("a"), now]})
        world.redrive_from(one.key, "a", "1")
        assert await world.until_ended(one.key, seconds=60)

    assert one.phases["nap"] == ("Succeeded" if seconds == 10 else "Timeout")
    assert seconds <= trio.current_time() < seconds + 1


def test_a_step_at_work_that_now_needs_what_is_not_there_runs_again() -> None:
    """The step began under a Story in which it did not need that."""
    steps = [engram("a"), engram("b", "a"), engram("c"), engram("d", "c"), engram("e", "late"), engram("late")]
    plan = parse_story({"metadata": {"name": "s", "namespace": "n"}, "spec": {"steps": steps}})
    assert isinstance(plan, StoryPlan)
    phases = {"a": "Failed", "b": "Running", "c": "Succeeded", "d": "Running", "e": "Running"}
    states = steps_from({name: {"phase": phase} for name, phase in phases.items()})

    assert steps_begun_too_early(plan, states, frozenset()) == {"b", "e"}
    assert steps_begun_too_early(plan, states, frozenset({"b", "c"})) == {"d", "e"}


@pytest.mark.parametrize("text", TEXTS)
async def test_what_a_person_or_a_container_wrote_does_not_choose_what_runs_again(
    autojump_clock: MockClock, scenario: Any, text: str
) -> None:
    """The text of an approval or of an allowed failure has no influence, if its step is on another path."""
    failing = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal", text=text),)
    steps = [primitive("budget", "gate"), {**engram("x"), "allowFailure": True}, engram("a"), engram("b", "a")]
    async with open_world({"x": failing, "b": BROKEN_ONCE}) as world:
        one = scenario(world, steps)
        world.start(one.key)
        world.approve(one.key, "budget", message=text)
        assert await world.until_ended(one.key)
        assert one.status["stepStates"]["budget"]["message"] == text
        world.worker.scripts = {}
        world.worker.ran.clear()
        world.redrive_from(one.key, "b", "1")
        assert await world.until(lambda: one.status.get("phase") == "Succeeded")
        await world.quiet()

    assert ran(world) == ["b"]
    assert one.status["gates"]["budget"]["state"] == "Approved"
    assert one.phases["x"] == "Failed"


@pytest.mark.parametrize("kind", ["sleep", "gate", "wait", "executeStory"])
@pytest.mark.parametrize("word", ["sleepUntil", "gateTimeoutAt", "waitTimeoutAt", "deadlineAt"])
def test_a_running_step_keeps_the_timer_of_its_own_kind_alone(kind: str, word: str) -> None:
    plan = parse_story({"metadata": {"name": "s"}, "spec": {"steps": [{"name": "a", "type": kind}]}})
    assert isinstance(plan, StoryPlan)
    run = {
        "metadata": {"annotations": {ANNOTATION_STEP_TIMERS: f'{{"a":{{"{word}":"2026-12-03T09:00:00Z"}}}}'}},
        "status": {"stepStates": {"a": {"phase": "Running"}}},
    }
    own = {"sleep": "sleepUntil", "gate": "gateTimeoutAt", "wait": "waitTimeoutAt", "executeStory": "deadlineAt"}
    assert steps_that_waited_for_something_else(plan, run) == (set() if own[kind] == word else {"a"})
