"""A step whose Engram or template is missing: it waits, visibly, as long as its time allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.engine.slots.queueing import SlotLimits
from core.engine.step.record import is_final
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import UNBOUND_SECONDS, Engram
from fuzz.engine.canonical import engram
from fuzz.engine.definitions import apply_engram, apply_template, delete_engram, delete_template
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import EPOCH, NAMESPACE, World, open_world

CONTINUE = {"retries": {"continueOnStepFailure": True}}
TRIED_AGAIN = {"work": Engram(retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=6)))}
FAILS = Script(Act.FAIL, exit_code=1, exit_class="retry")


def instant(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


def state_of(one: Any, step: str = "a") -> Mapping[str, Any]:
    state: Mapping[str, Any] = one.status["stepStates"][step]
    return state


def apply(world: World, name: str = "late") -> None:
    apply_engram(world.cluster, name)


async def test_a_step_starts_as_soon_as_its_engram_is_applied(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")])
        world.start(one.key)
        await trio.sleep(7)
        waiting = state_of(one)
        apply(world)
        assert await world.until(lambda: world.step_run(one.key, "a") is not None, 0.01)
        assert await world.until_ended(one.key)
        assert world.crashes == []

    assert (waiting["phase"], waiting["reason"]) == ("Pending", "EngramNotFound")
    assert instant(waiting["reasonSince"]) == EPOCH
    assert waiting["message"] == "Waiting until 2026-01-02T03:04:25Z: Engram late does not exist"
    assert one.phases == {"a": "Succeeded"}
    assert instant(state_of(one)["startedAt"]) == EPOCH + timedelta(seconds=7), "it did not run while it waited"
    assert "reasonSince" not in state_of(one)
    assert ("Warning", "EngramNotFound", "step 'a' waits: Engram late does not exist") in world.events.told


async def test_nothing_is_written_and_nothing_polls_while_a_step_waits(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")])
        process = world.start(one.key)
        await trio.sleep(1)
        before = len(world.cluster.history), process.calls
        await trio.sleep(UNBOUND_SECONDS - 2)

        assert (len(world.cluster.history), process.calls) == before


async def test_a_step_waits_for_its_template_after_its_engram(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        delete_template(world.cluster)
        one = scenario(world, [engram("a", ref="late")])
        world.start(one.key)
        await trio.sleep(5)
        apply(world)
        await trio.sleep(5)
        waiting = state_of(one)
        apply_template(world.cluster)
        assert await world.until_ended(one.key)

    assert (waiting["phase"], waiting["reason"]) == ("Pending", "TemplateNotFound")
    assert instant(waiting["reasonSince"]) == EPOCH, "its time goes on"
    assert one.phases == {"a": "Succeeded"}


async def test_when_its_time_is_over_the_step_fails_and_says_what_was_missing(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late"), engram("b")], policy=CONTINUE)
        await one.to_the_end()

    assert one.phases == {"a": "Timeout", "b": "Succeeded"}
    assert trio.current_time() == pytest.approx(UNBOUND_SECONDS, abs=0.2)
    state = state_of(one)
    assert (state["reason"], state["message"]) == (
        "TimedOut",
        "timed out after 20s: Engram late does not exist",
    )
    assert one.status["error"]["failedSteps"][0]["message"] == state["message"]


async def test_the_step_itself_may_say_how_long_it_waits(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late", execution={"timeout": "90s"})])
        await one.to_the_end()

    assert state_of(one)["message"] == "timed out after 1m30s: Engram late does not exist"


@pytest.mark.parametrize("downtime", [0.0, 9.0, 30.0])
async def test_a_restart_keeps_the_time_that_a_step_has_waited(
    autojump_clock: MockClock, scenario: Any, downtime: float
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")])
        world.start(one.key)
        await trio.sleep(8)
        await world.kill()
        await trio.sleep(downtime)
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Timeout"}
    assert trio.current_time() == pytest.approx(max(UNBOUND_SECONDS, 8 + downtime), abs=0.2)


async def test_an_engram_that_was_applied_while_no_process_ran_is_found(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")])
        world.start(one.key)
        await trio.sleep(4)
        await world.kill()
        apply(world)
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Succeeded"}


async def test_a_step_that_waits_has_no_slot(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a", ref="late"), engram("b"), engram("c", "b")])
        world.start(one.key)
        await trio.sleep(9)
        assert one.phases == {"a": "Pending", "b": "Succeeded", "c": "Succeeded"}
        apply(world)
        assert await world.until_ended(one.key)

    assert one.phases["a"] == "Succeeded"


@pytest.mark.parametrize("killed_at", [None, 2.8, 8.0])
async def test_a_step_that_is_to_be_tried_again_has_no_slot_while_its_engram_is_gone(
    autojump_clock: MockClock, scenario: Any, killed_at: float | None
) -> None:
    """It gets a slot again before its next attempt, after the step that has it now; so it is after a restart, too."""
    async with open_world({"a": (FAILS, Script()), "b": (Script(after_seconds=9.0),)}, engrams=TRIED_AGAIN) as world:
        apply(world, "other")
        one = scenario(world, [engram("a"), engram("b", ref="other")], policy={"concurrency": 1})
        world.start(one.key)
        await trio.sleep(2)
        began = state_of(one)["startedAt"]
        delete_engram(world.cluster, "work")
        await world.kill()
        world.start(one.key)
        assert await world.until(lambda: world.step_run(one.key, "b") is not None, 0.5)
        assert (state_of(one)["phase"], state_of(one)["reason"]) == ("Pending", "EngramNotFound")
        apply(world, "work")
        if killed_at is not None:
            await trio.sleep(killed_at - trio.current_time())
            await world.kill()
            world.start(one.key)
        await trio.sleep(9 - trio.current_time())
        queued = state_of(one)
        assert await world.until_ended(one.key)
        assert world.crashes == []

    assert (queued["phase"], queued["reason"]) == ("Pending", "Queued")
    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
    assert state_of(one)["startedAt"] == began
    attempts = [write for write in world.cluster.history if write.place[0] == "Job" and write.verb == "create"]
    assert [write.object["spec"]["step"] for write in attempts] == ["a", "b", "a"]
    assert attempts[2].at >= instant(state_of(one, "b")["finishedAt"])


async def test_a_container_at_work_goes_on_while_its_engram_is_gone(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=10.0),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(2)
        delete_engram(world.cluster, "work")
        await world.kill()
        world.start(one.key)
        await trio.sleep(12)
        waiting = state_of(one)
        apply(world, "work")
        assert await world.until_ended(one.key)

    assert (waiting["phase"], waiting["reason"]) == ("Running", "EngramNotFound")
    assert one.phases == {"a": "Succeeded"}
    assert [place for place in world.cluster.objects if place[0] == "Job"] == [("Job", NAMESPACE, "run-a")]


async def test_a_restart_keeps_the_time_also_while_a_container_is_at_work(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=3.0),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(1)
        delete_engram(world.cluster, "work")
        for _ in range(3):
            await world.kill()
            world.start(one.key)
            await trio.sleep(4)
        waiting = state_of(one)
        assert await world.until_ended(one.key)

    assert instant(waiting["reasonSince"]) == EPOCH + timedelta(seconds=1)
    assert trio.current_time() == pytest.approx(1.0 + UNBOUND_SECONDS, abs=0.2)


async def test_a_container_at_work_has_its_own_time_while_its_engram_is_gone(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG),)}, engrams={"work": Engram(timeout_seconds=50.0)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(2)
        delete_engram(world.cluster, "work")
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)
        ended = world.step_run(one.key, "a")
        await trio.sleep(3)

    assert one.phases == {"a": "Timeout"}
    assert ended is not None
    assert (ended["status"]["phase"], ended["status"]["exitCode"]) == ("Timeout", 124)
    assert "Engram work does not exist" in ended["status"]["lastFailureMsg"]
    assert trio.current_time() == pytest.approx(50.0 + 3.0, abs=0.5)
    assert not [place for place in world.cluster.objects if place[0] == "Job"], "it was asked to end"


@pytest.mark.parametrize("good", [True, False])
async def test_a_success_stands_if_its_engram_does_not_come_back_in_time(
    autojump_clock: MockClock, scenario: Any, good: bool
) -> None:
    """Nobody knows any more what the template demanded; what the Story demands is still checked."""
    check = {"condition": "{{ steps.a.output.good }}"}
    async with open_world({"a": (Script(after_seconds=5.0, output={"good": good}),)}) as world:
        one = scenario(world, [engram("a", postExecution=check)])
        world.start(one.key)
        await trio.sleep(2)
        delete_engram(world.cluster, "work")
        await world.kill()
        world.start(one.key)
        await trio.sleep(10)
        waiting = state_of(one)
        assert await world.until_ended(one.key)

    assert (waiting["phase"], waiting["reason"]) == ("Running", "EngramNotFound")
    assert trio.current_time() == pytest.approx(2.0 + UNBOUND_SECONDS, abs=0.2)
    assert one.phases == {"a": "Succeeded" if good else "Failed"}
    assert "OutputUnchecked" in [reason for _, reason, _ in world.events.told]


@pytest.mark.parametrize(
    ("class_", "retry_on", "seconds"),
    [("terminal", "transient", 5.0), ("retry", "transient", 22.0), ("terminal", "any", 22.0), ("terminal", 2, 5.0)],
)
async def test_a_failure_is_recorded_at_once_if_the_stored_policy_does_not_cover_it(
    autojump_clock: MockClock, scenario: Any, class_: str, retry_on: int | str, seconds: float
) -> None:
    policy = replace(TRIED_AGAIN["work"].retry, retry_on=(retry_on,))
    script = Script(Act.FAIL, 5.0, exit_code=1, exit_class=class_, text="broken")
    async with open_world({"a": (script,)}, engrams={"work": Engram(retry=policy)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(2)
        delete_engram(world.cluster, "work")
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Failed"}
    assert trio.current_time() == pytest.approx(seconds, abs=0.2)
    last = "; no retry follows: Engram work does not exist"
    assert state_of(one)["message"].endswith(last) is (seconds > 5.0)


async def test_a_result_that_is_recorded_needs_no_engram(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(Act.FAIL, exit_code=1, exit_class="terminal"),)}) as world:
        one = scenario(world, [engram("a"), engram("b", ref="other")], policy=CONTINUE)
        world.start(one.key)
        assert await world.until(lambda: is_final((world.step_run(one.key, "a") or {}).get("status") or {}))
        delete_engram(world.cluster, "work")
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Failed", "b": "Timeout"}


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancel_ends_the_wait(autojump_clock: MockClock, scenario: Any, restart: bool) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")])
        world.start(one.key)
        await trio.sleep(3)
        if restart:
            await world.kill()
        world.cancel_run(one.key)
        if restart:
            world.start(one.key)
        assert await world.until_ended(one.key)

    assert trio.current_time() < 4
    assert one.phases == {"a": "Skipped"}
    assert state_of(one)["message"] == "Skipped: the run was canceled"
    assert "startedAt" not in state_of(one)
    assert one.status["phase"] == "Finished"


async def test_a_stop_and_the_time_of_the_story_end_the_wait(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")], policy={"timeouts": {"story": "5s"}})
        halt = {"name": "halt", "type": "stop", "needs": ["b"]}
        world.add_story("stops", {"steps": [engram("a", ref="late"), engram("b"), halt]})
        other = world.add_run("other", "stops")
        world.start(one.key, other)
        assert await world.until_ended(one.key, other)

    assert trio.current_time() == pytest.approx(5.0, abs=0.2)
    assert (one.status["phase"], one.phases) == ("Timeout", {"a": "Skipped"})
    missing = "Waiting until 2026-01-02T03:04:25Z: Engram late does not exist"
    over = "the Story's timeout of 5s is over"
    assert state_of(one)["message"] == f"Skipped: {over}; until then: {missing}"
    assert one.status["message"] == f"The run was ended: {over}; step a: {missing}"
    assert world.phases(other) == {"a": "Skipped", "b": "Succeeded", "halt": "Succeeded"}


async def test_a_step_that_was_ended_while_it_waited_runs_again_with_the_others(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late"), engram("b")], policy={"timeouts": {"story": "5s"}})
        world.start(one.key)
        assert await world.until_ended(one.key)
        apply(world)
        world.redrive_from(one.key, "b", "again")
        await trio.sleep(1)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


async def test_a_branch_waits_as_a_step_does(autojump_clock: MockClock, scenario: Any) -> None:
    fan = {"name": "fan", "type": "parallel", "with": {"steps": [engram("x", ref="late"), engram("y")]}}
    async with open_world() as world:
        one = scenario(world, [fan])
        world.start(one.key)
        await trio.sleep(5)
        waiting = one.phases
        apply(world)
        assert await world.until_ended(one.key)

    assert waiting == {"fan": "Running", "fan/x": "Pending", "fan/y": "Succeeded"}
    assert one.phases == {"fan": "Succeeded", "fan/x": "Succeeded", "fan/y": "Succeeded"}


async def test_the_wait_survives_the_loss_of_the_event(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="late")])
        world.start(one.key)
        await trio.sleep(3)
        world.take_server_down()
        apply(world)
        await trio.sleep(2)
        world.bring_server_up(forgetful=True)
        assert await world.until_ended(one.key, seconds=5)

    assert one.phases == {"a": "Succeeded"}
