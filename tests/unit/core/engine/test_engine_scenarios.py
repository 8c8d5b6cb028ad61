"""The acceptance scenarios of StoryRun contract 26.2 and 26.3 that belong to the supported features."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.engine.primitives.engram import NAME_CONFLICT_GRACE_SECONDS
from core.policy.retry import RetryPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.texts import text_of
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import open_world

FAILS = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal"),)


def condition(status: dict[str, Any], type_: str) -> tuple[str, str]:
    found = find_condition(status["conditions"], type_)
    assert found is not None
    return found["status"], found["reason"]


async def test_26_1_two_steps_in_a_row_take_exactly_their_own_time(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        status = await scenario(world, [engram("a"), engram("b", "a")]).to_the_end()

    assert trio.current_time() == 2.0
    assert status["phase"] == "Succeeded"
    assert (status["startedAt"], status["finishedAt"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:04:07Z")
    assert (status["duration"], status["attempts"]) == ("2s", 1)
    assert status["triggerTokens"] == ["story", "impulse", "impulse-success"]
    assert condition(status, "Ready") == ("True", "Completed")
    assert condition(status, "Progressing")[0] == condition(status, "Degraded")[0] == "False"
    assert (status["stepsTotal"], status["stepsComplete"], status["completed"]) == (2, 2, ["a", "b"])


async def test_26_2_1_inputs_beyond_the_limit_fail_the_run_before_it_starts(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")], run={"inputs": {"x": "y" * 1017}})
        status = await one.to_the_end()

    assert condition(status, "Ready") == ("False", "InputTooLarge")
    assert "1025 bytes" in status["message"]
    assert world.step_run(one.key, "a") is None
    assert "startedAt" not in status


async def test_26_2_2_schema_defaults_reach_templates(autojump_clock: MockClock, scenario: Any) -> None:
    schema = {"properties": {"region": {"type": "string", "default": "eu"}}}
    async with open_world() as world:
        one = scenario(world, [engram("a", with_={"region": "{{ inputs.region }}"})], inputsSchema=schema)
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    job = next(w.new for w in world.cluster.history if w.place[0] == "Job" and w.new is not None)
    assert job["spec"]["inputs"] == {"region": "eu"}
    assert status["inputSchemaRef"] == {"ref": "bubu://story/default/story/inputs"}


async def test_26_2_3_inputs_that_break_the_schema_fail_the_run(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")], run={"inputs": {"n": "x"}}, inputsSchema={"required": ["m"]})
        status = await one.to_the_end()

    assert condition(status, "Ready") == ("False", "InputSchemaFailed")
    assert status["error"]["type"] == "InputSchemaFailed"


async def test_26_2_4_a_run_waits_for_its_story_and_then_starts_properly(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        key = world.add_run("run", "late")
        world.start(key)
        await trio.sleep(60)
        waiting = world.status(key)
        writes = len(world.cluster.history)
        await trio.sleep(3600)
        assert len(world.cluster.history) == writes
        world.add_story("late", {"steps": [engram("a")]})
        assert await world.until_ended(key)
        status = world.status(key)

    assert (waiting["phase"], condition(waiting, "Ready")) == ("Pending", ("False", "StoryNotFound"))
    assert (status["phase"], status["attempts"], status["duration"]) == ("Succeeded", 1, "1s")
    assert [told[1] for told in world.events.told].count("StoryNotFound") == 1


@pytest.mark.parametrize(
    ("seconds", "phases"),
    [pytest.param(1.5, ["Succeeded"], id="short"), pytest.param(3.0, ["Running", "Succeeded"], id="longer")],
)
async def test_a_step_that_ends_at_once_is_not_announced_first(
    autojump_clock: MockClock, scenario: Any, seconds: float, phases: list[str]
) -> None:
    async with open_world({"a": (Script(after_seconds=seconds),)}) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    ours = [w for w in world.cluster.history if w.actor.startswith("operator") and w.place[0] in ("StepRun", "Job")]
    assert [(w.place[0], (w.new.get("status") or {}).get("phase")) for w in ours if w.new is not None] == [
        ("StepRun", None),
        ("Job", None),
        *(("StepRun", phase) for phase in phases),
    ]
    assert status["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([engram("a", "ghost")], "a->ghost"),
        ([engram("a", "b"), engram("b", "a")], "a -> b -> a"),
        ([engram("a", with_={"x": "{{ steps.nobody.output.n }}"})], "a->nobody"),
    ],
    ids=["unknown need", "cycle", "unknown reference"],
)
async def test_26_2_5_an_impossible_graph_is_refused(
    autojump_clock: MockClock, scenario: Any, steps: list[Any], text: str
) -> None:
    async with open_world() as world:
        status = await scenario(world, steps).to_the_end()

    assert condition(status, "Ready") == ("False", "InvalidConfiguration")
    assert status["error"]["type"] == "InvalidConfiguration"
    assert text in status["message"]


async def test_26_2_6_a_step_whose_if_is_false_is_skipped_and_its_dependents_run(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", if_="{{ inputs.go }}"), engram("b", "a")], run={"inputs": {"go": False}})
        status = await one.to_the_end()

    assert one.phases == {"a": "Skipped", "b": "Succeeded"}
    assert (status["stepsSkipped"], status["phase"]) == (1, "Succeeded")


async def test_26_2_7_an_if_waits_for_the_step_it_reads(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=5, output={"go": True}),)}) as world:
        one = scenario(world, [engram("a"), engram("b", if_="{{ steps.a.output.go }}")])
        world.start(one.key)
        await trio.sleep(4)
        assert one.phases == {"a": "Running"}
        assert await world.until_ended(one.key)

    assert trio.current_time() == 6.0
    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


async def test_26_2_8_the_first_failure_skips_what_has_not_started(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": FAILS, "c": (Script(after_seconds=3),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "c"), engram("c")])
        status = await one.to_the_end()

    assert trio.current_time() == 3.0
    assert one.phases == {"a": "Failed", "b": "Skipped", "c": "Succeeded"}
    assert condition(status, "Ready") == ("False", "DependencyFailed")
    assert condition(status, "Degraded")[0] == "True"
    assert status["error"] == {
        "type": "DependencyFailed",
        "message": f"step a failed: {text_of('a', 0)}",
        "failedSteps": [{"name": "a", "phase": "Failed", "message": text_of("a", 0)}],
    }
    assert status["triggerTokens"][-1] == "impulse-failed"


async def test_26_2_9_with_continue_on_failure_only_dependents_are_skipped_transitively(
    autojump_clock: MockClock, scenario: Any
) -> None:
    policy = {"retries": {"continueOnStepFailure": True}}
    async with open_world({"a": FAILS}) as world:
        one = scenario(world, [engram("a"), engram("b"), engram("d", "a"), engram("e", "d")], policy=policy)
        status = await one.to_the_end()

    assert one.phases == {"a": "Failed", "b": "Succeeded", "d": "Skipped", "e": "Skipped"}
    assert status["message"] == f"step a failed: {text_of('a', 0)}"


async def test_26_2_10_an_allowed_failure_lets_the_run_succeed_and_is_named(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": FAILS}) as world:
        one = scenario(world, [engram("a", allowFailure=True), engram("b", "a")])
        status = await one.to_the_end()

    assert (status["phase"], one.phases) == ("Succeeded", {"a": "Failed", "b": "Succeeded"})
    assert status["message"] == "All steps completed; allowed to fail: a"
    assert (status["allowedFailures"], status["completed"], status["stepsFailed"]) == (["a"], ["a", "b"], 1)


async def test_26_2_16_a_sleep_keeps_its_instant_over_a_restart(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("nap", "sleep", with_={"duration": "10s"})])
        world.start(one.key)
        await trio.sleep(5)
        assert one.phases == {"nap": "Paused"}
        await world.kill()
        await one.to_the_end()

    assert trio.current_time() == 10.0
    assert one.phases == {"nap": "Succeeded"}


async def test_a_sleep_whose_process_died_before_it_said_so_says_how_long_it_sleeps(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("nap", "sleep", with_={"duration": "1h"})])
        timers = '{"nap":{"sleepUntil":"2026-01-02T04:04:05Z"}}'
        world.cluster.force_patch(
            "operator", ("StoryRun", *one.key), "metadata", {"annotations": {"runs.bubustack.io/step-timers": timers}}
        )
        world.start(one.key)
        await trio.sleep(5)
        state = one.status["stepStates"]["nap"]

    assert (state["phase"], state["message"]) == ("Paused", "Sleeping until 2026-01-02T04:04:05Z")


async def test_26_2_16_a_sleep_that_was_over_while_no_engine_ran_ends_at_once(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("nap", "sleep", with_={"duration": "10s"})])
        world.start(one.key)
        await trio.sleep(5)
        await world.kill()
        await trio.sleep(3600)
        await one.to_the_end()

    assert trio.current_time() == 3605.0


async def test_26_2_21_the_story_timeout_ends_the_run_and_what_is_still_running(
    autojump_clock: MockClock, scenario: Any
) -> None:
    policy = {"timeouts": {"story": "1h"}}
    async with open_world({"a": (Script(Act.HANG, grace_seconds=2),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], policy=policy)
        world.engrams["work"] = Engram(timeout_seconds=7200)
        status = await one.to_the_end()

    assert trio.current_time() == 3602.0
    assert (status["phase"], condition(status, "Ready")) == ("Timeout", ("False", "TimedOut"))
    assert condition(status, "Degraded")[0] == "True"
    assert status["error"]["type"] == "TimedOut"
    assert one.phases == {"a": "Timeout", "b": "Skipped"}
    assert ("Job", "default", "run-a") not in world.cluster.objects


async def test_26_2_21_a_timeout_that_passed_while_no_engine_ran_starts_nothing(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=5),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], policy={"timeouts": {"story": "1m"}})
        world.start(one.key)
        await trio.sleep(2)
        await world.kill()
        await trio.sleep(100)
        status = await one.to_the_end()

    assert (status["phase"], one.phases) == ("Timeout", {"a": "Succeeded", "b": "Skipped"})
    assert world.step_run(one.key, "b") is None


async def test_26_2_22_a_canceled_run_signals_its_steps_and_waits_for_them(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG, grace_seconds=7),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a"), primitive("nap", "sleep", with_={"duration": "1h"})])
        world.start(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    step_run = world.step_run(one.key, "a")
    assert step_run is not None
    assert trio.current_time() == 10.0
    assert step_run["metadata"]["annotations"]["bubustack.io/cancel-requested"] == "true"
    assert (one.status["phase"], condition(one.status, "Ready")) == ("Finished", ("False", "Canceled"))
    assert one.phases == {"a": "Canceled", "b": "Skipped", "nap": "Canceled"}
    assert step_run["status"]["phase"] == "Canceled"


async def test_26_2_22_a_step_that_does_not_let_go_is_given_up_when_the_drain_time_is_over(
    autojump_clock: MockClock, scenario: Any
) -> None:
    policy = {"timeouts": {"gracefulShutdownTimeout": "5s"}}
    async with open_world({"a": (Script(Act.HANG, grace_seconds=600),)}) as world:
        one = scenario(world, [engram("a")], policy=policy)
        world.start(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert trio.current_time() == pytest.approx(8.0)
    assert one.phases == {"a": "Canceled"}


async def test_26_2_22_a_step_that_succeeds_while_draining_keeps_its_success(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=0.0, exit_lag_seconds=5),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("a") == "Succeeded")
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert one.phases["a"] == "Succeeded"
    assert one.status["phase"] == "Finished"


async def test_cancelling_a_run_that_has_ended_changes_nothing(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        before = one.status
        world.cancel_run(one.key)
        world.supervisor.adopt(one.key)
        await trio.sleep(60)

    assert one.status == before


async def test_cancelling_a_run_whose_story_is_missing_ends_it(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        key = world.add_run("run", "never")
        world.start(key)
        await trio.sleep(1)
        world.cancel_run(key)
        assert await world.until_ended(key)

    assert world.status(key)["phase"] == "Finished"


async def test_a_cancel_that_came_while_no_engine_ran_ends_the_steps_that_run(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        await trio.sleep(1)
        await world.kill()
        world.cancel_run(one.key)
        world.delete_story("story")
        world.delete_revisions()
        await one.to_the_end()

    assert one.status["phase"] == "Finished"
    assert one.phases == {"a": "Canceled"}
    assert ("Job", "default", "run-a") not in world.cluster.objects


async def test_a_run_canceled_before_its_start_was_recorded_says_when_its_steps_started(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """The process died between the first StepRun and the first status. The Story counts the run nevertheless."""
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        assert await world.until(lambda: world.step_run(one.key, "a") is not None)
        assert "startedAt" not in one.status
        await world.kill()
        world.cancel_run(one.key)
        await trio.sleep(30)
        status = await one.to_the_end()

    step_run = world.step_run(one.key, "a")
    assert step_run is not None
    assert (status["phase"], one.phases) == ("Finished", {"a": "Canceled"})
    assert status["startedAt"] <= step_run["status"]["startedAt"]
    assert (status["attempts"], status["triggerTokens"]) == (1, ["story", "impulse"])
    assert status["duration"] not in ("", "0s")


async def test_26_2_25_an_output_too_large_is_left_out_and_told(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(output={"n": "x" * (1 << 20)}),)}) as world:
        world.cluster.has_store = False
        status = await scenario(world, [engram("a")], output={"n": "{{ steps.a.output.n }}"}).to_the_end()

    assert (status["phase"], "output" in status) == ("Succeeded", False)
    assert condition(status, "Ready") == ("True", "Completed")
    assert condition(status, "Degraded") == ("True", "OutputResolutionFailed")
    assert condition(status, "Progressing")[0] == "False"


async def test_26_2_26_an_output_that_breaks_its_schema_fails_the_run(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(output={"n": 1}),)}) as world:
        status = await scenario(
            world, [engram("a")], output={"n": "{{ steps.a.output.n }}"}, outputsSchema={"required": ["m"]}
        ).to_the_end()

    assert condition(status, "Ready") == ("False", "OutputSchemaFailed")


async def test_the_output_goes_with_the_same_write_as_success(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(output={"n": 1}),)}) as world:
        status = await scenario(world, [engram("a")], output={"n": "{{ steps.a.output.n }}"}).to_the_end()

    assert (status["phase"], status["output"]) == ("Succeeded", {"n": 1})
    assert status["triggerTokens"][-1] == "impulse-success"


async def test_an_output_that_reads_a_skipped_step_ends_the_run_with_a_reason(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        steps = [engram("a", if_="false")]
        status = await scenario(world, steps, output={"n": "{{ steps.a.output.n }}"}).to_the_end()

    assert condition(status, "Ready") == ("False", "OutputResolutionFailed")


async def test_26_2_29_an_input_beyond_the_limit_fails_the_step_with_a_reason(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", with_={"x": "y" * 4089})])
        status = await one.to_the_end()

    assert one.phases == {"a": "Failed"}
    assert status["stepStates"]["a"]["message"].startswith("InputTooLarge: with, merged over the Engram's, has 4097")
    assert world.step_run(one.key, "a") is None


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{{ inputs.ghost }}", "ns/default/storyrun/run/step/a"),
        ("  ", "ns/default/storyrun/run/step/a"),
        ("{{ inputs.order }}", "order-7"),
    ],
    ids=["failing", "blank", "rendered"],
)
async def test_26_2_30_a_key_that_cannot_be_rendered_is_the_automatic_one(
    autojump_clock: MockClock, scenario: Any, template: str, key: str
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a", idempotencyKeyTemplate=template)], run={"inputs": {"order": " order-7 "}})
        await one.to_the_end()

    assert (world.step_run(one.key, "a") or {})["spec"]["idempotencyKey"] == key


async def test_26_3_a_missing_engram_fails_its_step_at_the_end_of_its_time_while_others_proceed(
    autojump_clock: MockClock, scenario: Any
) -> None:
    policy = {"retries": {"continueOnStepFailure": True}}
    async with open_world() as world:
        one = scenario(world, [engram("a", ref="ghost"), engram("b")], policy=policy)
        status = await one.to_the_end()

    assert one.phases == {"a": "Timeout", "b": "Succeeded"}
    text = "timed out after 20s: Engram ghost does not exist"
    assert status["stepStates"]["a"]["message"] == text
    assert ("Warning", "TimedOut", f"step 'a': {text}") in world.events.told


async def test_26_3_the_consumer_of_a_step_without_output_fails_with_a_reason(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", with_={"x": "{{ steps.a.output.n }}"})])
        status = await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "b": "Failed"}
    assert status["stepStates"]["b"]["message"].startswith("ExpressionFailed: with: ")


@pytest.mark.parametrize(
    ("phase", "ends_as"),
    [
        ("Failed", "Failed"),
        ("Finished", "Finished"),
        ("success", "Succeeded"),
        ("failure", "Failed"),
        (None, "Succeeded"),
    ],
)
async def test_26_3_stop_ends_the_run_in_the_phase_it_asks_for(
    autojump_clock: MockClock, scenario: Any, phase: str | None, ends_as: str
) -> None:
    parameters = {"message": "enough"} | ({"phase": phase} if phase else {})
    async with open_world({"c": (Script(Act.HANG),)}) as world:
        one = scenario(
            world, [engram("a"), primitive("halt", "stop", "a", with_=parameters), engram("b", "halt"), engram("c")]
        )
        status = await one.to_the_end()

    assert (status["phase"], status["message"], condition(status, "Ready")[1]) == (ends_as, "enough", "Stopped")
    assert one.phases == {"a": "Succeeded", "halt": ends_as, "b": "Skipped", "c": "Canceled"}


async def test_stop_with_a_phase_that_ends_nothing_fails_its_step(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        status = await scenario(world, [primitive("halt", "stop", with_={"phase": "Running"})]).to_the_end()

    assert "InvalidConfiguration: with.phase cannot end a run" in status["stepStates"]["halt"]["message"]


async def test_a_story_of_another_namespace_is_refused(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        world.add_story("story", {"steps": [engram("a")]})
        manifest = {"kind": "StoryRun", "metadata": {"name": "run", "namespace": "elsewhere"}}
        spec = {"storyRef": {"name": "story", "namespace": "default"}}
        world.cluster.create("user", manifest | {"spec": spec})
        key = type(world.add_run("other", "story"))("elsewhere", "run")
        world.start(key)
        assert await world.until_ended(key)

    assert condition(world.status(key), "Ready") == ("False", "StoryReferenceInvalid")


async def test_retries_happen_at_their_exact_instants_and_are_counted(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = (
        Script(Act.FAIL, 1.0, exit_code=1, exit_class="retry"),
        Script(Act.EXIT, 1.0, exit_code=137),
        Script(after_seconds=1.0, output={"n": 1}),
    )
    retry = RetryPolicy(max_retries=2, delay=timedelta(seconds=1.5))
    async with open_world({"a": scripts}, engrams={"work": Engram(retry=retry)}) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    assert trio.current_time() == 1 + 1.5 + 1 + 3 + 1
    step_run = world.step_run(one.key, "a") or {}
    assert (status["phase"], step_run["status"]["retries"]) == ("Succeeded", 2)
    assert "nextRetryAt" not in step_run["status"]
    assert "lastFailureMsg" not in step_run["status"]
    assert [told[1] for told in world.events.told].count("JobRetryScheduled") == 2
    retries = [text for _, reason, text in world.events.told if reason == "StepRetryScheduled"]
    assert [text.partition(" s: ")[0] for text in retries] == [
        "step 'a': retry 1 of 2 in 1.5",
        "step 'a': retry 2 of 2 in 3",
    ]


async def test_each_failed_step_has_one_event_with_its_cause(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = {"a": (Script(Act.EXIT, 1.0, exit_code=3),), "b": (Script(after_seconds=1.0),)}
    async with open_world(scripts) as world:
        one = scenario(world, [engram("a"), engram("b"), engram("c", needs=["a"])])
        await one.to_the_end()

    failed = [(kind, reason, text) for kind, reason, text in world.events.told if text.startswith("step '")]
    assert [event[:2] for event in failed] == [("Warning", "ExecutionFailed")]
    assert failed[0][2].startswith("step 'a': the container exited with code 3")


async def test_a_retry_starts_when_the_container_asked_for_it_and_not_before(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """For example when another attempt holds an effect of the step until then."""
    scripts = (
        Script(Act.FAIL, 1.0, exit_code=1, exit_class="retry", retry_after_seconds=600.0),
        Script(Act.FAIL, 1.0, exit_code=1, exit_class="retry", retry_after_seconds=0.5),
        Script(after_seconds=1.0, output={"n": 1}),
    )
    retry = RetryPolicy(max_retries=2, delay=timedelta(seconds=2))
    async with open_world({"a": scripts}, engrams={"work": Engram(retry=retry)}) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert trio.current_time() == 1 + 600 + 1 + 4 + 1


async def test_a_failure_of_a_terminal_class_is_not_retried(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": FAILS}, engrams={"work": Engram(retry=RetryPolicy(max_retries=5))}) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()

    assert trio.current_time() == 1.0
    step_run = world.step_run(one.key, "a") or {}
    assert (step_run["status"]["phase"], step_run["status"]["retries"]) == ("Failed", 0)


async def test_a_step_timeout_ends_the_attempt_at_its_deadline(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(Act.HANG),)}, engrams={"work": Engram(timeout_seconds=90)}) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()

    assert trio.current_time() == 90.0
    assert one.phases == {"a": "Timeout"}
    step_run = world.step_run(one.key, "a") or {}
    assert (step_run["status"]["exitCode"], step_run["status"]["error"]["type"]) == (124, "timeout")
    assert step_run["status"]["error"]["details"] == {"timeout": "1m30s", "timeoutFrom": ""}
    assert one.status["message"] == "step a failed: timed out after 1m30s"
    assert ("Job", "default", "run-a") not in world.cluster.objects


async def test_the_run_names_the_reason_of_the_step_that_failed_first(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = {"late": (Script(Act.EXIT, 9.0, exit_code=3),), "early": (Script(Act.EXIT, 4.0, exit_code=2),)}
    async with open_world(scripts) as world:
        one = scenario(world, [engram("late"), engram("early")], policy={"retries": {"continueOnStepFailure": True}})
        status = await one.to_the_end()

    why = status["stepStates"]["early"]["message"]
    assert status["message"] == f"steps late, early failed, first early: {why}"


async def test_a_step_run_deleted_by_hand_is_made_again(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=10),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(4)
        world.cluster.delete("user", ("StepRun", "default", "run-a"))
        assert await world.until_ended(one.key)

    assert trio.current_time() == 14.0
    assert one.status["phase"] == "Succeeded"


async def test_a_job_deleted_by_hand_is_started_again(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=10),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(4)
        world.cluster.delete("user", ("Job", "default", "run-a"))
        assert await world.until_ended(one.key)

    assert trio.current_time() == 14.0
    assert (world.step_run(one.key, "a") or {})["status"]["retries"] == 0
    assert "JobRestarted" in [told[1] for told in world.events.told]


async def test_somebody_elses_step_run_is_neither_adopted_nor_touched(autojump_clock: MockClock, scenario: Any) -> None:
    foreign = {"kind": "StepRun", "metadata": {"name": "run-a", "namespace": "default"}}
    async with open_world() as world:
        world.cluster.create("user", foreign | {"spec": {"storyRunRef": {"name": "x"}, "stepId": "a"}})
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    assert status["stepStates"]["a"]["message"].startswith("NameConflict: ")
    assert trio.current_time() == pytest.approx(NAME_CONFLICT_GRACE_SECONDS, abs=0.2), "no pause lasts longer"
    assert "status" not in (world.step_run(one.key, "a") or {})


async def test_the_step_run_of_a_deleted_run_of_this_name_is_waited_for(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """Without a finalizer, a run may be gone before the garbage collector has deleted what belonged to it."""
    gone = {"apiVersion": "v1", "kind": "StoryRun", "name": "run", "uid": "of-a-deleted-run", "controller": True}
    metadata = {"name": "run-a", "namespace": "default", "ownerReferences": [gone], "finalizers": ["x/held"]}
    async with open_world() as world:
        spec = {"storyRunRef": {"name": "run"}, "stepId": "a"}
        left = world.cluster.create("user", {"kind": "StepRun", "metadata": metadata, "spec": spec})
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(60)
        assert left is not None
        assert (world.step_run(one.key, "a") or {})["metadata"]["uid"] == left["metadata"]["uid"]
        world.cluster.delete("user", ("StepRun", "default", "run-a"))
        world.cluster.merge("user", ("StepRun", "default", "run-a"), {"metadata": {"finalizers": None}}, "")
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Succeeded"}


async def test_an_output_that_breaks_the_template_schema_fails_the_step(
    autojump_clock: MockClock, scenario: Any
) -> None:
    engrams = {"work": Engram(output_schema={"required": ["n"]}, declared_output_keys=frozenset({"n"}))}
    async with open_world({"a": (Script(output={"m": 1}),)}, engrams=engrams) as world:
        one = scenario(world, [engram("a")])
        status = await one.to_the_end()

    assert status["stepStates"]["a"]["message"].startswith("OutputSchemaFailed: ")
    assert (world.step_run(one.key, "a") or {})["status"]["output"] == {"m": 1}


@pytest.mark.parametrize(("flag", "phase"), [(True, "Succeeded"), (False, "Failed")])
async def test_post_execution_decides_about_an_sdk_written_success(
    autojump_clock: MockClock, scenario: Any, flag: bool, phase: str
) -> None:
    check = {"condition": "{{ steps.a.output.good }}", "failureMessage": "not good enough"}
    async with open_world({"a": (Script(output={"good": flag}),)}) as world:
        one = scenario(world, [engram("a", postExecution=check)])
        status = await one.to_the_end()

    assert one.phases == {"a": phase}
    if not flag:
        assert status["stepStates"]["a"]["message"] == "ExpressionFailed: not good enough"


async def test_a_required_path_without_value_fails_the_step(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        status = await scenario(world, [engram("a", requires=["inputs.token"])]).to_the_end()

    assert status["stepStates"]["a"]["message"] == "DependencyFailed: requires: inputs.token has no value"


@pytest.mark.parametrize(
    ("engram_", "step", "reason"),
    [
        ({"input_schema": {"required": ["n"]}}, {}, "InputSchemaFailed"),
        ({"output_schema": {"required": ["n"]}}, {}, "OutputSchemaFailed"),
        ({}, {"requires": ["inputs.token"]}, "DependencyFailed"),
        ({}, {"with_": {"n": "{{ inputs.ghost }}"}}, "ExpressionFailed"),
        ({}, {"postExecution": {"condition": "{{ steps.a.output.good }}"}}, "ExpressionFailed"),
    ],
)
async def test_what_no_retry_can_mend_is_terminal_and_final(
    autojump_clock: MockClock, scenario: Any, engram_: dict[str, Any], step: dict[str, Any], reason: str
) -> None:
    retry = RetryPolicy(max_retries=3, delay=timedelta(seconds=1))
    script = Script(output={"good": False})
    async with open_world({"a": (script,)}, engrams={"work": Engram(retry=retry, **engram_)}) as world:
        one = scenario(world, [engram("a", **step)])
        await one.to_the_end()
        step_run = world.step_run(one.key, "a") or {}

    status = step_run["status"]
    assert (status["phase"], status["exitClass"], status["retries"]) == ("Failed", "terminal", 0)
    assert status["lastFailureMsg"].startswith(f"{reason}: ")
    assert not status.get("exitCode")


async def test_two_steps_that_read_whatever_step_there_is_do_not_wait_for_each_other(
    autojump_clock: MockClock, scenario: Any
) -> None:
    anywhere = {"n": "{{ (index .steps inputs.which).output.n }}"}
    async with open_world() as world:
        one = scenario(
            world, [engram("a", with_=anywhere), engram("b", with_=anywhere)], run={"inputs": {"which": "z"}}
        )
        await one.to_the_end()

    assert set(one.phases.values()) <= {"Failed", "Skipped"}
    assert trio.current_time() < 1


async def test_a_step_that_reads_whatever_step_there_is_waits_for_the_others(
    autojump_clock: MockClock, scenario: Any
) -> None:
    anywhere = {"n": "{{ (index .steps inputs.which).output.n }}"}
    async with open_world({"a": (Script(output={"n": 5}),)}) as world:
        one = scenario(world, [engram("b", with_=anywhere), engram("a")], run={"inputs": {"which": "a"}})
        await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
    assert trio.current_time() == 2.0


async def test_two_steps_that_read_what_they_like_share_one_slot(autojump_clock: MockClock, scenario: Any) -> None:
    """The first step finds no value and fails. Then the second step, which was in the queue, gets the slot."""
    anywhere = {"n": "{{ (index .steps inputs.which).output.n }}"}
    async with open_world() as world:
        steps = [engram("a", with_=anywhere), engram("c", with_=anywhere)]
        policy = {"concurrency": 1, "retries": {"continueOnStepFailure": True}}
        one = scenario(world, steps, {"inputs": {"which": "a"}}, policy=policy)
        world.start(one.key)
        assert await world.until_ended(one.key, seconds=60)

    assert one.phases == {"a": "Failed", "c": "Failed"}
