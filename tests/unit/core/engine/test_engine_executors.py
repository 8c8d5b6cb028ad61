"""Which executor carries out a step: the one that its StepRun records, even if its Engram has another by now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.errors import RejectedError
from core.engine.executor_port import ExecutorTraits, StopReason
from core.engine.executors import Executors
from core.engine.ports import WORKER, AttemptOrder, AttemptState, Binding
from core.engine.step.manifest import controller_reference
from core.engine.step.record import attempt_of, executor_of
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram
from fuzz.engine.model_workers import ModelWorkerExecutor
from fuzz.engine.warm_workers import MISSED_SECONDS
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

ONCE_MORE = RetryPolicy(max_retries=1, delay=timedelta(seconds=1))
WARM = {"work": Engram(executor=WORKER, retry=ONCE_MORE)}


def by_others(world: World, name: str) -> list[Object]:
    """Statuses of a StepRun after each write that did not come from the operator."""
    writes = (write for write in world.cluster.history if write.place == ("StepRun", "default", name))
    return [write.new["status"] for write in writes if write.new and not write.actor.startswith("operator")]


def kinds(world: World) -> set[str]:
    """Kinds of the objects that were created for a run."""
    return {write.place[0] for write in world.cluster.history if write.verb == "create"}


async def test_a_worker_takes_the_attempt_off_the_step_run_and_nothing_else_is_made(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(output={"n": 1}),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()
        stored = world.step_run(one.key, "a") or {}

    assert status["phase"] == "Succeeded"
    assert not kinds(world) & {"Job", "Pod"}
    assert (executor_of(stored), stored["status"]["output"]) == (WORKER, {"n": 1})
    assert one.writes("StepRun") == 2  # created with its attempt, ended


async def test_a_step_at_work_keeps_its_executor_when_its_engram_is_bound_to_another(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=9.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        await trio.sleep(1)
        await world.kill()
        world.bind(WORKER)
        status = await one.to_the_end()
        executors = [executor_of(world.step_run(one.key, step) or {}) for step in "ab"]

    assert status["phase"] == "Succeeded"
    assert executors == ["job", WORKER]
    assert world.worker.ran == [("a", 0, "ok"), ("b", 0, "ok")]


async def test_a_worker_that_vanishes_loses_its_attempt_which_is_tried_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG), Script())}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(1)
        world.warm.vanish(("StepRun", "default", "run-a"))
        await trio.sleep(MISSED_SECONDS + 0.1)
        seen = dict((world.step_run(one.key, "a") or {})["status"])
        assert await world.until_ended(one.key)

    assert (seen["retries"], seen["phase"], seen["attempt"]["number"]) == (1, "Pending", 0)
    assert "without an exit code and reported no result: WorkerLost" in seen["lastFailureMsg"]
    assert one.status["phase"] == "Succeeded"


async def test_a_result_that_comes_after_the_attempt_was_over_is_refused(
    autojump_clock: MockClock, scenario: Any
) -> None:
    slow = Script(after_seconds=2.4, grace_seconds=5.0, output={"n": 1})
    warm = {"work": replace(WARM["work"], timeout_seconds=2.0)}
    async with open_world({"a": (slow, Script(output={"n": 2}))}, engrams=warm) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        stored = world.step_run(one.key, "a") or {}

    assert (stored["status"]["output"], stored["status"]["retries"]) == ({"n": 2}, 1)
    assert [status.get("output") for status in by_others(world, "run-a")] == [None, {"n": 2}]
    assert world.worker.overlaps == []


async def test_a_step_of_an_executor_that_is_not_there_fails_and_says_so(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world(engrams={"work": Engram(executor="remote")}) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    why = "there is no executor 'remote'; this operator has: job, stream, worker"
    assert (status["phase"], one.phases) == ("Failed", {"a": "Failed"})
    assert status["stepStates"]["a"]["message"] == f"InvalidConfiguration: {why}"
    assert world.step_run(one.key, "a") is None


async def test_a_step_begun_by_an_executor_that_is_gone_fails_and_says_so(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(1)
        await world.kill()
        world.start()
        assert world.supervisor is not None
        context = world.supervisor._engine
        jobs = context.executors._by_name["job"]
        object.__setattr__(context, "executors", Executors([jobs]))
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
        stored = world.step_run(one.key, "a") or {}

    assert world.crashes == []
    assert (stored["status"]["phase"], stored["status"]["lastFailureMsg"]) == (
        "Failed",
        "InvalidConfiguration: there is no executor 'worker'; this operator has: job",
    )
    assert "JobRestarted" not in [told[1] for told in world.events.told]


async def test_a_step_run_that_names_no_executor_goes_on_as_a_job(autojump_clock: MockClock, scenario: Any) -> None:
    """An operator that knew only Jobs created it, and then died."""
    async with open_world({"a": (Script(after_seconds=3.0),)}) as world:
        one = scenario(world, [engram("a")])
        owner = world.cluster.objects["StoryRun", "default", "run"]
        spec = {"storyRunRef": {"name": "run"}, "stepId": "a", "engramRef": {"name": "work"}}
        spec["idempotencyKey"] = "ns/default/storyrun/run/step/a"
        metadata = {"name": "run-a", "namespace": "default", "ownerReferences": [controller_reference(owner)]}
        made = world.cluster.create("operator-x", {"kind": "StepRun", "metadata": metadata, "spec": spec})
        status = await one.to_the_end()
        stored = world.step_run(one.key, "a") or {}
        attempt = attempt_of(stored)

    assert status["phase"] == "Succeeded"
    assert made is not None
    assert stored["metadata"]["uid"] == made["metadata"]["uid"]
    assert attempt is not None
    assert (attempt.number, attempt.executor, attempt.worker) == (0, "job", "")


async def test_the_recorded_deadline_is_that_of_a_job_made_anew(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=9.0),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(3)
        first = attempt_of(world.step_run(one.key, "a") or {})
        world.delete_job(one.key, "a")
        await trio.sleep(3)
        second = attempt_of(world.step_run(one.key, "a") or {})
        job = world.cluster.objects["Job", "default", "run-a"]

    assert first is not None
    assert second is not None
    assert first.deadline_at is not None
    assert second.deadline_at is not None
    assert second.deadline_at.isoformat() == job["spec"]["deadlineAt"]
    assert second.deadline_at > first.deadline_at


async def test_what_one_executor_has_left_keeps_another_from_starting(autojump_clock: MockClock, scenario: Any) -> None:
    engrams = {"work": Engram(timeout_seconds=2.0)}
    async with open_world({"a": (Script(Act.HANG, grace_seconds=30.0),)}, engrams=engrams) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        world.bind(WORKER)
        world.redrive(one.key, "t")
        await trio.sleep(10)
        waiting = dict((world.step_run(one.key, "a") or {}).get("status") or {})
        await trio.sleep(30)
        started = attempt_of(world.step_run(one.key, "a") or {})

    assert waiting == {}
    assert started is not None
    assert started.executor == WORKER
    assert world.worker.overlaps == []


async def test_of_an_unknown_executor_nothing_is_known_and_nothing_starts() -> None:
    executors = Executors([])
    step_run = {"metadata": {"namespace": "default", "name": "run-a"}, "spec": {"executor": "stream"}}
    asked = AttemptOrder({}, {}, {}, step_run, cast("Binding", None), 0, {}, {}, None)

    assert executors.traits_of(step_run) == ExecutorTraits("stream")
    assert (await executors.look(step_run)).state is AttemptState.ABSENT
    for why in StopReason:
        await executors.stop(step_run, why)
    with pytest.raises(RejectedError, match="no executor 'stream'"):
        await executors.start(asked)
    with pytest.raises(RejectedError, match="no executor 'stream'"):
        await executors.read_result(step_run)


def test_the_executor_of_workers_is_the_port_and_what_it_hears() -> None:
    asked = {"traits", "prepare_run", "start", "observe", "read_result", "stop"}
    asked |= {"wake", "tell", "miss", "find"}

    assert {name for name in vars(ModelWorkerExecutor) if not name.startswith("_")} == asked
