"""Steps by warm workers: what is written, who waits for room, and what ends before the next attempt starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api import keys
from core.api.objects import Object
from core.api.phases import Reason
from core.engine.errors import RejectedError
from core.engine.ports import WORKER
from core.engine.step.assignment import Assignment, assignment_of, worker_exit_of
from core.policy.retry import RetryPolicy
from fuzz.engine import model_workers
from fuzz.engine.adapters import Engram, ModelStepRuns
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.cluster import Write
from fuzz.engine.process import Fault
from fuzz.engine.warm_workers import (
    FENCE_SECONDS,
    HEARD_SECONDS,
    HEARS_WITHIN_SECONDS,
    OVERTIME_SECONDS,
    POOL,
    ROOM,
    WORKERS,
)
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

ONCE_MORE = RetryPolicy(max_retries=1, delay=timedelta(seconds=1))
WARM = {"work": Engram(executor=WORKER, retry=ONCE_MORE)}
FULL = [f"s{number}" for number in range(ROOM * WORKERS)]
"""Steps that take all the room."""
NAP = primitive("nap", "sleep", with_={"duration": "1s"})


def writes_of(world: World, step: str) -> list[Write]:
    """The operator's writes of the StepRun."""
    place = ("StepRun", "default", f"run-{step}")
    return [write for write in world.cluster.history if write.place == place and write.actor.startswith("operator")]


def status_of(world: World, step: str) -> Object:
    return dict((world.cluster.objects.get(("StepRun", "default", f"run-{step}")) or {}).get("status") or {})


def assigned(write: Write) -> bool:
    return assignment_of(write.object) is not None


async def test_a_short_step_is_created_with_its_attempt_and_then_only_its_end_is_recorded(
    autojump_clock: MockClock, scenario: Any
) -> None:
    script = Script(after_seconds=1.9, echo=True)
    async with open_world({"a": (script,)}, engrams=WARM) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()
        created, ended = writes_of(world, "a")

    found = assignment_of(created.object)
    assert found is not None
    assert (created.verb, found.attempt, found.environment["BUBU_TRIGGER_DATA"]) == ("create", 0, '{"n": 1}')
    labels = created.object["metadata"]["labels"]
    assert (labels[keys.LABEL_WORKER], labels[keys.LABEL_WORKER_POOL]) == (found.worker, POOL)
    assert ended.object["status"]["output"] == {"n": 1}
    assert ended.object["status"]["attempt"]["worker"] == found.worker
    assert ended.object["status"]["workerExit"]["exitCode"] == 0


async def test_an_attempt_that_is_refused_with_the_creation_is_refused_in_its_step_run(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(assignment: Assignment) -> Object:
        raise RejectedError("too large", reason=Reason.INPUT_TOO_LARGE)

    monkeypatch.setattr(model_workers, "assignment_patch", refused)
    async with open_world(engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        created, ended = writes_of(world, "a")

    assert (created.verb, assignment_of(created.object)) == ("create", None)
    assert ended.object["status"]["lastFailureMsg"] == "InputTooLarge: too large"


async def test_a_step_run_that_is_refused_with_its_attempt_is_not_created_without_it(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool] = []

    async def refused(self: ModelStepRuns, run: Object, manifest: Object, again: bool = False) -> Object:
        tried.append(assignment_of(manifest) is not None)
        raise RejectedError("a policy forbids it")

    monkeypatch.setattr(ModelStepRuns, "create_step_run", refused)
    async with open_world(engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    assert tried == [True]
    assert "a policy forbids it" in status["stepStates"]["a"]["message"]


async def test_of_a_longer_step_it_is_recorded_that_it_runs(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=5.0),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        created, running, ended = writes_of(world, "a")

    assert (running.at - created.at).total_seconds() == 2.0
    assert (running.object["status"]["phase"], running.object["status"]["attempt"]["number"]) == ("Running", 0)
    assert ended.object["status"]["phase"] == "Succeeded"


async def test_a_retry_is_assigned_and_found_pending(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = (Script(Act.EXIT, 0.4, exit_code=137), Script(output={"n": 2}))
    async with open_world({"a": scripts}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        _, counted, again, ended = writes_of(world, "a")

    found = assignment_of(again.object)
    assert (counted.object["status"]["phase"], counted.object["status"]["retries"]) == ("Pending", 1)
    assert found is not None
    assert (again.verb, found.attempt, again.object["status"]["phase"]) == ("patch", 1, "Pending")
    assert (ended.object["status"]["phase"], ended.object["status"]["output"]) == ("Succeeded", {"n": 2})


async def test_a_step_without_room_waits_and_takes_the_room_of_another(
    autojump_clock: MockClock, scenario: Any
) -> None:
    scripts: dict[str, tuple[Script, ...]] = {name: (Script(Act.HANG),) for name in FULL}
    scripts["s1"] = (Script(after_seconds=20.0),)
    async with open_world(scripts, engrams=WARM) as world:
        one = scenario(world, [*map(engram, FULL), NAP, engram("late", "nap")])
        world.start(one.key)
        await trio.sleep(5)
        late = world.step_run(one.key, "late") or {}
        assert late["metadata"]["labels"][keys.LABEL_WORKER_POOL] == POOL
        assert assignment_of(late) is None
        assert one.status["stepStates"]["late"]["reason"] == "Running"  # waits are mostly short
        await trio.sleep(9)
        state = one.status["stepStates"]["late"]
        assert (state["phase"], state["reason"]) == ("Running", "AwaitingWorker")
        assert f"all workers of pool {POOL} are at work" in state["message"]
        written = len(world.cluster.history)
        await trio.sleep(4)
        assert len(world.cluster.history) == written
        assert await world.until(lambda: one.phases.get("late") == "Succeeded")
        first = next(write.at for write in writes_of(world, "late") if assigned(write))
        ended = next(
            write.at for write in world.cluster.history if worker_exit_of((write.new or {}).get("status") or {})
        )
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert first == ended
    assert "AwaitingWorker" not in str(one.status)
    assert world.crashes == []


async def test_a_step_that_waits_for_room_is_canceled_and_the_next_one_gets_it(
    autojump_clock: MockClock, scenario: Any
) -> None:
    scripts: dict[str, tuple[Script, ...]] = {name: (Script(Act.HANG),) for name in FULL}
    scripts["s0"] = (Script(after_seconds=9.0),)
    async with open_world(scripts, engrams=WARM) as world:
        one = scenario(world, list(map(engram, FULL)))
        world.add_story("more", {"steps": [engram("x")]})
        first, second = world.add_run("first", "more"), world.add_run("second", "more")
        world.start(one.key)
        await trio.sleep(1)
        world.supervisor.adopt(first)
        await trio.sleep(1)
        world.supervisor.adopt(second)
        await trio.sleep(1)
        world.cancel_run(first)
        world.supervisor.wake(first)
        assert await world.until_ended(first)
        assert await world.until_ended(second)
        ended_at = world.status(second)["finishedAt"]
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert world.phases(first) == {"x": "Canceled"}
    assert world.phases(second) == {"x": "Succeeded"}
    assert ended_at == "2026-01-02T03:04:15Z"  # a second after the first room
    assert ("x", 0, "ok") in world.worker.ran


async def test_a_wait_for_room_continues_after_a_restart(autojump_clock: MockClock, scenario: Any) -> None:
    scripts: dict[str, tuple[Script, ...]] = {name: (Script(after_seconds=30.0),) for name in FULL}
    async with open_world(scripts, engrams=WARM) as world:
        one = scenario(world, [*map(engram, FULL), NAP, engram("late", "nap")])
        world.start(one.key)
        await trio.sleep(15)
        before = one.status["stepStates"]["late"]
        await world.kill()
        world.start(one.key)
        await trio.sleep(1)
        assert one.status["stepStates"]["late"] == before
        assert await world.until_ended(one.key)

    assert before["reason"] == "AwaitingWorker"
    assert one.status["phase"] == "Succeeded"


async def test_when_the_answer_to_a_creation_is_lost_the_attempt_runs_once(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(output={"n": 1}),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key, faults=dict.fromkeys(range(12), Fault.LOST_ANSWER))
        assert await world.until_ended(one.key)
        created = [write for write in writes_of(world, "a") if assigned(write) and write.verb == "create"]

    assert len(created) == 1
    assert world.worker.ran == [("a", 0, "ok")]
    assert one.status["phase"] == "Succeeded"


@pytest.mark.parametrize(("grace_seconds", "ended_after"), [(5.4, 5.4), (600.0, 15.0)], ids=["late", "never"])
async def test_the_end_of_a_canceled_step_is_recorded_when_its_worker_has_ended_it(
    autojump_clock: MockClock, scenario: Any, grace_seconds: float, ended_after: float
) -> None:
    """The worker ends a function that does not stop at the end of the drain, which may take a moment."""
    policy = {"timeouts": {"gracefulShutdownTimeout": "5s"}}
    script = Script(Act.HANG, grace_seconds=grace_seconds)
    async with open_world({"a": (script,)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")], policy=policy)
        world.start(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        exit_ = worker_exit_of(status_of(world, "a"))

    assert trio.current_time() - 3 == pytest.approx(ended_after, abs=0.1)
    assert one.phases == {"a": "Canceled"}
    assert (exit_ is not None) == (grace_seconds < ended_after + 1)


@pytest.mark.parametrize(
    ("engrams", "reported_after", "operator_after", "phase"),
    [
        pytest.param(WARM, 4.0, 0.0, "Failed", id="warm, in time"),
        pytest.param(WARM, 5.5, 0.0, "Canceled", id="warm, late"),
        pytest.param(None, 4.0, 0.0, "Failed", id="Job, in time"),
        pytest.param(None, 4.0, 20.0, "Failed", id="Job, in time, and the operator comes late"),
    ],
)
async def test_a_failure_that_a_canceled_step_reports_counts_before_the_end_of_its_drain(
    autojump_clock: MockClock, scenario: Any, engrams: Any, reported_after: float, operator_after: float, phase: str
) -> None:
    """Afterwards it fails because the worker ends it. A Job has no time beyond the drain, so its report came before."""
    policy = {"timeouts": {"gracefulShutdownTimeout": "5s"}}
    async with open_world({"a": (Script(Act.HANG, grace_seconds=30.0),)}, engrams=engrams) as world:
        one = scenario(world, [engram("a")], policy=policy)
        world.start(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        if operator_after:
            await trio.sleep(1)
            await world.kill()
            reported_after -= 1
        await trio.sleep(reported_after)
        report = {"phase": "Failed", "lastFailureMsg": "it broke", "exitCode": 1}
        world.cluster.force_patch("sdk", ("StepRun", "default", "run-a"), "status", report)
        if operator_after:
            await trio.sleep(operator_after)
            world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": phase}


async def test_a_step_that_is_canceled_before_its_worker_begins_never_runs(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=0.001),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(HEARD_SECONDS / 2)
        world.warm.cut_off(("StepRun", "default", "run-a"), FENCE_SECONDS - 0.1)  # it hears all of it later
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        exit_ = worker_exit_of(status_of(world, "a"))

    assert world.worker.ran == []
    assert exit_ is not None
    assert exit_.exit_code == 143
    assert one.phases == {"a": "Canceled"}


async def test_a_worker_that_comes_back_after_its_loss_lets_go_of_what_it_has_ended(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG), Script())}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(1)
        world.warm.cut_off(("StepRun", "default", "run-a"), FENCE_SECONDS + 0.1)
        await trio.sleep(FENCE_SECONDS + 0.4)
        exit_ = worker_exit_of(status_of(world, "a"))
        assert await world.until_ended(one.key)

    assert exit_ is not None
    assert (exit_.attempt, exit_.exit_code) == (0, 137)
    assert one.status["phase"] == "Succeeded"
    assert world.worker.overlaps == []


async def test_after_the_deadline_a_worker_ends_a_step_that_no_operator_ends(
    autojump_clock: MockClock, scenario: Any
) -> None:
    scripts = (Script(Act.HANG, grace_seconds=1.0), Script(output={"n": 1}))
    hasty = {"work": replace(WARM["work"], timeout_seconds=5.0)}
    async with open_world({"a": scripts}, engrams=hasty) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(4)
        await world.kill()
        assert await world.until(lambda: worker_exit_of(status_of(world, "a")) is not None)
        let_go_at = trio.current_time()
        reported = status_of(world, "a")
        await trio.sleep(20)
        assert status_of(world, "a") == reported, "nobody records the end but the operator"
        world.start(one.key)
        assert await world.until_ended(one.key)
        counts = [(write.object.get("status") or {}).get("retries", 0) for write in writes_of(world, "a")]

    assert let_go_at == pytest.approx(5.0 + OVERTIME_SECONDS + 1.0, abs=0.1)
    assert (reported["phase"], reported["exitCode"], reported["workerExit"]["exitCode"]) == ("Timeout", 124, 124)
    assert world.warm.overdue == [("run-a", 0)]
    assert one.status["phase"] == "Succeeded"
    assert world.worker.ran == [("a", 1, "ok")]
    assert counts == sorted(counts)
    assert counts[-1] == 1, "the timeout is counted once"


async def test_while_the_operator_works_no_worker_decides_about_a_deadline(
    autojump_clock: MockClock, scenario: Any
) -> None:
    hasty = {"work": replace(WARM["work"], timeout_seconds=5.0, retry=RetryPolicy(max_retries=0))}
    async with open_world({"a": (Script(Act.HANG, grace_seconds=9.0),)}, engrams=hasty) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        assert await world.until(lambda: worker_exit_of(status_of(world, "a")) is not None)

    assert world.warm.overdue == []
    assert status_of(world, "a")["workerExit"]["exitCode"] == 143
    assert one.phases == {"a": "Timeout"}


async def test_a_worker_that_comes_back_soon_goes_on_and_reports(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=1.2),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(1)
        world.warm.cut_off(("StepRun", "default", "run-a"), FENCE_SECONDS - 0.1)
        assert await world.until_ended(one.key)

    assert world.worker.ran == [("a", 0, "ok")]


async def test_before_a_step_runs_again_its_worker_lets_go_and_then_its_step_run_is_deleted(
    autojump_clock: MockClock, scenario: Any
) -> None:
    scripts = (Script(Act.HANG, grace_seconds=7.0), Script())
    async with open_world({"a": scripts}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(3)
        world.redrive(one.key, "t")
        await trio.sleep(1)
        asked = world.step_run(one.key, "a") or {}
        assert keys.ANNOTATION_CANCEL_REQUESTED in asked["metadata"]["annotations"]
        assert await world.until(lambda: world.step_run(one.key, "a") is None)
        gone_at = trio.current_time()
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        deleted = next(write for write in writes_of(world, "a") if write.verb == "delete")

    assert gone_at == pytest.approx(10.0 + HEARD_SECONDS)
    assert deleted.old is not None
    assert worker_exit_of(deleted.old["status"]) is not None
    assert world.worker.overlaps == []


async def test_a_redrive_that_another_request_replaces_deletes_what_it_has_asked_to_end(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """The StepRun that was asked to end could not go on, whatever the newer request says."""
    scripts = {"a": (Script(Act.HANG, grace_seconds=7.0),), "b": (Script(after_seconds=0.5),)}
    async with open_world(scripts, engrams=WARM) as world:
        one = scenario(world, [engram("a"), engram("b")])
        world.start(one.key)
        await trio.sleep(3)
        before = world.step_run(one.key, "a") or {}
        world.redrive_from(one.key, "a", "t")
        await trio.sleep(1)
        world.redrive_from(one.key, "nowhere", "u")
        assert await world.until(lambda: world.step_run(one.key, "a") is None)
        assert await world.until(lambda: status_of(world, "a").get("phase") == "Running")
        after = world.step_run(one.key, "a") or {}
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert keys.ANNOTATION_CANCEL_REQUESTED not in after["metadata"]["annotations"]
    assert world.worker.overlaps == []


async def test_after_a_user_has_deleted_a_step_run_the_next_attempt_waits_for_the_worker(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=9.0),)}, engrams=WARM) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(3)
        world.delete_step_run(one.key, "a")
        await trio.sleep(HEARS_WITHIN_SECONDS - 0.1)
        waiting = world.step_run(one.key, "a") or {}
        await trio.sleep(0.2)
        started = world.step_run(one.key, "a") or {}
        assert await world.until_ended(one.key)

    assert waiting["metadata"]["uid"] == started["metadata"]["uid"]
    assert assignment_of(waiting) is None
    assert assignment_of(started) is not None
    assert world.worker.overlaps == []


async def test_with_a_cache_nothing_is_assigned_before_it_was_looked_up(
    autojump_clock: MockClock, scenario: Any
) -> None:
    cached = {"work": replace(WARM["work"], cache={"enabled": True}, shares_store=True)}
    async with open_world({"a": (Script(output={"n": 1}),)}, engrams=cached) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        created, *later = writes_of(world, "a")

    assert not assigned(created)
    assert any(assigned(write) for write in later)


async def test_an_attempt_that_cannot_be_prepared_fails_in_its_step_run(
    autojump_clock: MockClock, scenario: Any
) -> None:
    strict = {"work": replace(WARM["work"], input_schema={"required": ["n"]})}
    async with open_world(engrams=strict) as world:
        one = scenario(world, [engram("a", with_={"m": 1})])
        await one.to_the_end()
        created, ended = writes_of(world, "a")

    assert not assigned(created)
    assert ended.object["status"]["phase"] == "Failed"
    assert world.worker.ran == []


async def test_too_many_variables_for_an_assignment_fail_the_step_with_the_remedy(
    autojump_clock: MockClock, scenario: Any
) -> None:
    wide = {"work": replace(WARM["work"], max_inline_size_bytes=0)}
    async with open_world(engrams=wide) as world:
        one = scenario(world, [engram("a", with_={"text": "x" * 200_000})])
        await one.to_the_end()
        created, ended = writes_of(world, "a")

    assert not assigned(created)
    assert ended.object["status"]["lastFailureMsg"].startswith("InputTooLarge: ")
    assert "storage" in ended.object["status"]["lastFailureMsg"]
