"""Compensations and ``finally``: when they run, in which order, for how long, and which phase the run gets."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

FAILS = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal"),)
SLOW = (Script(after_seconds=5000.0),)
UNDO = {"compensations": [engram("undo", "a")], "finally": [engram("clean", "undo")]}


def reason(status: dict[str, Any], type_: str = "Ready") -> str:
    found = find_condition(status["conditions"], type_)
    assert found is not None
    return str(found["reason"])


def order(world: World) -> list[str]:
    return [
        w.new["spec"]["stepId"]
        for w in world.cluster.history
        if w.verb == "create" and w.place[0] == "StepRun" and w.new
    ]


async def test_26_2_11_what_was_done_is_undone_and_cleaned_up(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"b": FAILS}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], **UNDO)
        status = await one.to_the_end()

    assert order(world) == ["a", "b", "undo", "clean"]
    assert (status["phase"], reason(status)) == ("Compensated", "Compensated")
    degraded = find_condition(status["conditions"], "Degraded")
    assert degraded is not None
    assert degraded["status"] == "False"
    assert (status["stepsTotal"], status["stepsComplete"], status["stepsFailed"]) == (4, 3, 1)
    assert status["error"]["failedSteps"][0]["name"] == "b"


@pytest.mark.parametrize(
    ("failing", "why"),
    [("undo", "CompensationFailed"), ("clean", "CleanupFailed"), (("undo", "clean"), "CleanupFailed")],
)
async def test_26_2_12_a_failed_cleanup_is_what_the_run_failed_of(
    autojump_clock: MockClock, scenario: Any, failing: Any, why: str
) -> None:
    names = (failing,) if isinstance(failing, str) else failing
    async with open_world({"b": FAILS, **dict.fromkeys(names, FAILS)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], **UNDO)
        status = await one.to_the_end()

    assert (status["phase"], reason(status), status["error"]["type"]) == ("Failed", why, why)
    assert one.phases["clean"] == ("Failed" if "clean" in names else "Succeeded")
    assert one.phases["undo"] == ("Failed" if "undo" in names else "Succeeded")


async def test_26_2_13_nothing_is_undone_when_nothing_failed(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")], **UNDO)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert one.phases == {"a": "Succeeded", "undo": "Skipped", "clean": "Succeeded"}


async def test_work_is_undone_in_the_reverse_order_of_its_dependencies(
    autojump_clock: MockClock, scenario: Any
) -> None:
    steps = [engram("a"), engram("b", "a"), engram("c", "b"), engram("bad", "c")]
    undo = [engram("undo-a", "a"), engram("undo-b", "b"), engram("undo-c", "c")]
    async with open_world({"bad": FAILS}) as world:
        await scenario(world, steps, compensations=undo).to_the_end()

    assert order(world)[4:] == ["undo-c", "undo-b", "undo-a"]


async def test_a_failed_compensation_keeps_no_other_from_running(autojump_clock: MockClock, scenario: Any) -> None:
    undo = [engram("one"), engram("two", "one")]
    async with open_world({"a": FAILS, "one": FAILS}) as world:
        one = scenario(world, [engram("a")], compensations=undo)
        status = await one.to_the_end()

    assert one.phases["two"] == "Succeeded"
    assert reason(status) == "CompensationFailed"


@pytest.mark.parametrize("how", ["cancel", "timeout", "stop"])
async def test_finally_runs_however_the_main_steps_ended_and_nothing_else_does(
    autojump_clock: MockClock, scenario: Any, how: str
) -> None:
    steps = [engram("a"), engram("b", "a")]
    policy: dict[str, Any] = {}
    if how == "stop":
        steps.append(primitive("halt", "stop", "nap", with_={"phase": "Finished", "message": "enough"}))
        steps.append(primitive("nap", "sleep", with_={"duration": "10s"}))
    if how == "timeout":
        policy = {"timeouts": {"story": "10s"}}
    async with open_world({"b": SLOW}) as world:
        one = scenario(world, steps, policy=policy, **UNDO)
        world.start(one.key)
        if how == "cancel":
            await trio.sleep(10)
            world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        status = one.status

    assert order(world) == ["a", "b", "clean"]
    assert one.phases["undo"] == "Skipped"
    assert one.phases["b"] == ("Timeout" if how == "timeout" else "Canceled")
    assert (status["phase"], reason(status)) == {
        "cancel": ("Finished", "Canceled"),
        "timeout": ("Timeout", "TimedOut"),
        "stop": ("Finished", "Stopped"),
    }[how]


async def test_a_stop_that_is_a_failure_undoes_what_was_done_and_keeps_its_phase(
    autojump_clock: MockClock, scenario: Any
) -> None:
    steps = [engram("a"), primitive("halt", "stop", "a", with_={"phase": "failure"}), engram("b", "halt")]
    async with open_world() as world:
        one = scenario(world, steps, **UNDO)
        status = await one.to_the_end()

    assert order(world) == ["a", "undo", "clean"]
    assert (status["phase"], reason(status)) == ("Failed", "Stopped")


async def test_an_early_end_keeps_its_phase_when_finally_fails_and_says_so(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": SLOW, "clean": FAILS}) as world:
        one = scenario(world, [engram("a")], **{"finally": [engram("clean")]})
        world.start(one.key)
        await trio.sleep(5)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        status = one.status

    assert status["phase"] == "Finished"
    assert reason(status, "Degraded") == "CleanupFailed"
    assert "clean-up step clean failed" in status["message"]


@pytest.mark.parametrize("restart", [False, True])
async def test_cleanup_has_a_deadline_of_its_own(autojump_clock: MockClock, scenario: Any, restart: bool) -> None:
    policy = {"timeouts": {"story": "60s", "cleanup": "100s"}}
    async with open_world({"b": FAILS, "undo": SLOW}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], policy=policy, **UNDO)
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("undo") == "Running")
        if restart:
            await world.kill()
            await trio.sleep(500)
            world.start(one.key)
        assert await world.until_ended(one.key)
        status = one.status

    assert one.phases["undo"] == "Timeout"
    assert one.phases["clean"] == "Succeeded"
    assert reason(status) == "CompensationFailed"
    if not restart:
        assert 102.0 <= trio.current_time() <= 105.0


async def test_nothing_is_cleaned_up_after_a_run_in_which_nothing_had_begun(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", if_="{{ inputs.no }}")], {"inputs": {"no": False}}, **UNDO)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert one.phases == {"a": "Skipped", "undo": "Skipped", "clean": "Skipped"}


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancel_during_compensations_ends_them_and_finally_still_runs(
    autojump_clock: MockClock, scenario: Any, restart: bool
) -> None:
    async with open_world({"b": FAILS, "undo": SLOW}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], **UNDO)
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("undo") == "Running")
        if restart:
            await world.kill()
        world.cancel_run(one.key)
        if restart:
            world.start(one.key)
        assert await world.until_ended(one.key)
        status = one.status

    assert (one.phases["undo"], one.phases["clean"]) == ("Canceled", "Succeeded")
    assert (status["phase"], reason(status)) == ("Finished", "Canceled")


async def test_compensations_at_work_that_a_cancel_and_a_crash_end_have_time_to_drain(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"b": FAILS, "undo": (Script(Act.HANG, grace_seconds=7.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], **UNDO)
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("undo") == "Running")
        world.cancel_run(one.key)
        await trio.sleep(0.5)
        await world.kill()
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("undo") == "Canceled")
        alive = [pod["metadata"]["name"] for pod in world.cluster.list_all("Pod") if not ended(pod)]
        assert await world.until_ended(one.key)

    assert alive == []
    assert (one.phases["undo"], one.phases["clean"]) == ("Canceled", "Succeeded")


def ended(pod: dict[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


async def test_what_is_cleaned_up_after_a_cancel_and_a_crash_still_sees_the_inputs_of_its_run(
    autojump_clock: MockClock, scenario: Any
) -> None:
    last = {"compensations": [], "finally": [engram("clean", with_={"where": "{{ inputs.where }}"})]}
    async with open_world({"a": SLOW, "clean": (Script(after_seconds=50.0),)}) as world:
        one = scenario(world, [engram("a")], {"inputs": {"where": "here"}}, **last)
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("a") == "Running")
        world.cancel_run(one.key)
        assert await world.until(lambda: one.phases.get("a") == "Canceled")
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)
        inputs = [job["spec"]["inputs"] for job in world.cluster.list_all("Job")]

    assert one.phases["clean"] == "Succeeded"
    assert inputs == [{"where": "here"}]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancel_once_only_finally_is_left_changes_nothing(
    autojump_clock: MockClock, scenario: Any, restart: bool
) -> None:
    async with open_world({"clean": (Script(after_seconds=50.0),)}) as world:
        one = scenario(world, [engram("a")], **UNDO)
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("clean") == "Running")
        if restart:
            await world.kill()
        world.cancel_run(one.key)
        if restart:
            world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.status["phase"] == "Succeeded"
    assert one.phases["clean"] == "Succeeded"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_stop_among_the_finally_steps_stops_nothing(
    autojump_clock: MockClock, scenario: Any, restart: bool
) -> None:
    last = [primitive("halt", "stop", with_={"phase": "Failed"}), engram("after", "halt"), engram("slow")]
    async with open_world({"slow": (Script(after_seconds=9.0),)}) as world:
        one = scenario(world, [engram("a")], **{"finally": last})
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("after") == "Succeeded")
        if restart:
            await world.kill()
            world.start(one.key)
        assert await world.until_ended(one.key)
        assert world.crashes == []

    assert (one.status["phase"], reason(one.status)) == ("Failed", "CleanupFailed")
    assert one.phases["slow"] == "Succeeded"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_stop_in_a_branch_ends_the_run(autojump_clock: MockClock, scenario: Any, restart: bool) -> None:
    nap = primitive("nap", "sleep", with_={"duration": "5s"})
    halt = primitive("halt", "stop", if_="{{ inputs.yes }}", with_={"phase": "Finished", "message": "enough"})
    inner = primitive("inner", "parallel", "nap", with_={"steps": [halt, engram("b")]})
    async with open_world({"b": (Script(after_seconds=500.0, grace_seconds=8.0),)}) as world:
        one = scenario(world, [nap, inner], {"inputs": {"yes": True}})
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("inner/halt") == "Finished")
        if restart:
            await world.kill()
            world.start(one.key)
        assert await world.until_ended(one.key, seconds=60)

    assert (one.status["phase"], one.status["message"]) == ("Finished", "enough")
    assert one.phases["inner/b"] == "Canceled"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("stopped_before", [False, True])
async def test_a_stop_among_the_compensations_ends_them(
    autojump_clock: MockClock, scenario: Any, stopped_before: bool, restart: bool
) -> None:
    """The first ``stop`` decides the phase of the run."""
    first = primitive("b", "stop", "a", with_={"phase": "Failed"}) if stopped_before else engram("b", "a")
    undo = [primitive("enough", "stop", with_={"phase": "Compensated"}), engram("undo", "enough")]
    async with open_world({"b": FAILS}) as world:
        one = scenario(world, [engram("a"), first], compensations=undo, **{"finally": [engram("clean")]})
        world.start(one.key)
        if restart:
            assert await world.until(lambda: "enough" in one.phases)
            await world.kill()
            world.start(one.key)
        assert await world.until_ended(one.key)
        status = one.status

    assert status["phase"] == ("Failed" if stopped_before else "Compensated")
    assert (one.phases["undo"], one.phases["clean"]) == ("Skipped", "Succeeded")
    assert world.crashes == []


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancel_while_is_undone_what_a_stop_has_ended_ends_that(
    autojump_clock: MockClock, scenario: Any, restart: bool
) -> None:
    async with open_world({"undo": SLOW}) as world:
        one = scenario(world, [engram("a"), primitive("b", "stop", "a", with_={"phase": "Failed"})], **UNDO)
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("undo") == "Running")
        if restart:
            await world.kill()
        world.cancel_run(one.key)
        if restart:
            world.start(one.key)
        assert await world.until_ended(one.key)
        status = one.status

    assert (one.phases["undo"], one.phases["clean"]) == ("Canceled", "Succeeded")
    assert (status["phase"], reason(status)) == ("Finished", "Canceled")
    assert trio.current_time() < 100.0
