"""Steps whose container has no SDK: the engine calls it with values, and reads its output once it has succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.errors import NoStoreError, RejectedError, UnavailableError
from core.engine.primitives.collect import RESULT_PATIENCE_SECONDS
from core.engine.settings import EngineSettings
from core.evaluation.evaluator import Evaluator
from core.policy.retry import RetryPolicy
from core.policy.settings import OffloadedDataPolicy
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.definitions import delete_template
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.stored import ModelPayloads, stored, value_of
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

PLAIN = Engram(container={"args": ["-n", "{{ inputs.n }}"]}, retry=RetryPolicy(max_retries=1))


def call_of(world: World, step: str) -> list[Any]:
    """What the last attempt of the step was called with."""
    jobs = [write.new for write in world.cluster.history if write.place[0] == "Job" and write.new is not None]
    args: list[Any] = [job["spec"]["args"] for job in jobs if job["spec"]["step"] == step][-1]
    return args


def status(world: World, one: Any, step: str = "a") -> Object:
    step_run = world.step_run(one.key, step)
    assert step_run is not None
    found: Object = step_run["status"]
    return found


def open_plain(work: Engram = PLAIN, **more: Any) -> Any:
    return open_world(engrams={"work": work}, **more)


def settings(policy: OffloadedDataPolicy) -> EngineSettings:
    return EngineSettings(jitter=lambda: 0.0, offloaded_data=lambda: policy)


async def test_the_output_is_read_checked_and_recorded_in_one_write(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_plain(scripts={"a": (Script(output={"n": 1}),)}) as world:
        steps = [engram("a", with_={"n": 7}), engram("b", with_={"n": "{{ steps.a.output.n }}"})]
        one = scenario(world, steps)
        await one.to_the_end()
        ends = [
            write
            for write in world.cluster.history
            if write.place[2] == "run-a" and write.new and (write.new.get("status") or {}).get("output")
        ]

        assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
        assert status(world, one)["output"] == {"n": 1}
        assert (call_of(world, "a"), call_of(world, "b")) == (["-n", 7], ["-n", 1])
        assert ends[0].new is not None
        assert ends[0].new["status"]["phase"] == "Succeeded"


async def test_the_real_evaluator_names_the_place_of_a_missing_value(autojump_clock: MockClock, scenario: Any) -> None:
    work = replace(PLAIN, container={"args": ["{{ step.name }}/{{ run.name }}", "{{ inputs.nothing }}"]})
    async with open_plain(work, evaluator=Evaluator()) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()

        assert "container.args[1]" in status(world, one)["lastFailureMsg"]
        assert status(world, one)["conditions"][0]["reason"] == "ExpressionFailed"


async def test_templates_read_step_and_run_and_a_value_is_not_evaluated_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    texts = ["{{ step.name }}-{{ step.attempt }}-{{ run.name }}-{{ run.story }}", "{{ inputs.text }}"]
    container = {"args": texts, "env": [{"name": "KEY", "value": "{{ step.idempotencyKey }}"}]}
    async with open_plain(replace(PLAIN, container=container), evaluator=Evaluator()) as world:
        one = scenario(
            world, [engram("a", with_={"text": "{{ inputs.text }}"})], {"inputs": {"text": "{{ run.name }}"}}
        )
        await one.to_the_end()

        assert call_of(world, "a") == ["a-0-run-story", "{{ run.name }}"]


async def test_a_larger_output_than_allowed_fails_the_step(autojump_clock: MockClock, scenario: Any) -> None:
    work = replace(PLAIN, max_inline_size_bytes=20)
    async with open_plain(work, scripts={"a": (Script(output={"text": "x" * 20}),)}) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()

        assert one.phases == {"a": "Failed"}
        assert status(world, one)["conditions"][0]["reason"] == "OutputTooLarge"
        assert status(world, one)["retries"] == 0, "another attempt would print as much"
        assert "output" not in status(world, one)


async def test_with_a_store_large_parts_of_the_output_go_there(autojump_clock: MockClock, scenario: Any) -> None:
    work = replace(PLAIN, max_inline_size_bytes=400, shares_store=True)
    async with open_plain(work, scripts={"a": (Script(output={"text": "x" * 900, "n": 1}),)}) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()

        output = status(world, one)["output"]
        assert one.phases == {"a": "Succeeded"}
        assert output["n"] == 1
        assert output["text"]["$bubuStorageRef"].startswith(f"outputs/default/{one.key.name}-a/text.sha256-")
        assert value_of(output, "default", "it", world.cluster.stored) == {"text": "x" * 900, "n": 1}


async def test_an_output_that_breaks_the_schema_is_refused(autojump_clock: MockClock, scenario: Any) -> None:
    work = replace(PLAIN, output_schema={"required": ["m"]})
    async with open_plain(work, scripts={"a": (Script(output={"n": 1}),)}) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()

        assert status(world, one)["conditions"][0]["reason"] == "OutputSchemaFailed"
        assert "output" not in status(world, one)


async def test_a_failure_is_retried_by_its_exit_code(autojump_clock: MockClock, scenario: Any) -> None:
    script = (Script(Act.EXIT, exit_code=137), Script(output={"n": 2}))
    async with open_plain(scripts={"a": script}) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()

        assert (status(world, one)["retries"], status(world, one)["output"]) == (1, {"n": 2})


def answer_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[float]:
    """Every read of a result fails; records their times."""
    times: list[float] = []

    async def refused(self: ModelJobExecutor, step_run: Object) -> Mapping[str, Any]:
        times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(ModelJobExecutor, "read_result", refused)
    return times


async def test_a_node_that_gives_no_log_is_waited_for_and_then_counts_as_gone(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = answer_with(monkeypatch, UnavailableError("no answer"))
    async with open_plain(replace(PLAIN, retry=RetryPolicy(max_retries=0))) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()

        assert (status(world, one)["phase"], status(world, one)["exitClass"]) == ("Failed", "unknown")
        assert "its result is lost" in status(world, one)["lastFailureMsg"]
    assert RESULT_PATIENCE_SECONDS <= times[-1] - times[0] < 2 * RESULT_PATIENCE_SECONDS
    assert len(times) < 40


async def test_a_result_that_the_template_does_not_declare_fails_the_step_at_once(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = answer_with(monkeypatch, RejectedError("no line that is JSON"))
    async with open_plain() as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        await one.to_the_end()

        assert (status(world, one)["phase"], status(world, one)["retries"], len(times)) == ("Failed", 0, 1)
        assert "no line that is JSON" in status(world, one)["lastFailureMsg"]


async def test_without_its_template_the_output_is_recorded_unchecked_when_the_time_is_over(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_plain(scripts={"a": (Script(after_seconds=3.0, output={"n": 1}),)}) as world:
        one = scenario(world, [engram("a", with_={"n": 1})])
        world.start(one.key)
        await trio.sleep(1)
        await world.kill()
        delete_template(world.cluster)
        world.start(one.key)
        assert await world.until_ended(one.key)

        assert status(world, one)["output"] == {"n": 1}
        assert any(reason == "OutputUnchecked" for _, reason, _ in world.events.told)


@pytest.mark.parametrize("policy", [OffloadedDataPolicy.INJECT, OffloadedDataPolicy.CONTROLLER])
async def test_data_in_object_storage_is_read_for_the_container(
    autojump_clock: MockClock, scenario: Any, policy: OffloadedDataPolicy
) -> None:
    scripts = {"a": (Script(output={"n": stored("record")}),)}
    engrams = {"sdk": Engram(), "work": PLAIN}
    async with open_world(engrams=engrams, scripts=scripts, settings=settings(policy)) as world:
        steps = [engram("a", ref="sdk"), engram("b", with_={"n": "{{ steps.a.output.n }}"})]
        one = scenario(world, steps)
        await one.to_the_end()

        assert call_of(world, "b") == ["-n", {"n": 2, "flag": True, "deep": [1, 2]}]


@pytest.mark.parametrize("is_branch", [False, True])
@pytest.mark.parametrize("template", ["{{ steps.a.output.n }}", '{{ printf "%v" steps.a.output.n.flag }}'])
async def test_without_a_store_the_message_names_the_setting(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch, is_branch: bool, template: str
) -> None:
    """A plain path passes the reference on; the other template needs the data, which an SDK could read instead."""

    async def nowhere(self: ModelPayloads, value: Any, **more: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise NoStoreError("the operator has no object store; name one with controller.storage.provider")

    monkeypatch.setattr(ModelPayloads, "fetch", nowhere)
    scripts, engrams = {"a": (Script(output={"n": stored("record")}),)}, {"sdk": Engram(), "work": PLAIN}
    async with open_world(engrams=engrams, scripts=scripts, evaluator=Evaluator()) as world:
        last = engram("b", with_={"n": template})
        fan = primitive("fan", "parallel", "a", with_={"steps": [last]})
        one = scenario(world, [engram("a", ref="sdk"), fan if is_branch else last])
        await one.to_the_end()

        name = "fan/b" if is_branch else "b"
        assert one.phases[name] == "Failed"
        assert "no object store; name one with controller.storage.provider" in one.status["stepStates"][name]["message"]
        of_a_branch_that_cannot_be_resolved = is_branch and "printf" in template
        assert (world.step_run(one.key, name) is None) == of_a_branch_that_cannot_be_resolved


async def test_a_policy_may_forbid_the_operator_to_read_it(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = {"a": (Script(output={"n": stored("record")}),)}
    forbidden = settings(OffloadedDataPolicy.ERROR)
    async with open_world(engrams={"sdk": Engram(), "work": PLAIN}, scripts=scripts, settings=forbidden) as world:
        one = scenario(world, [engram("a", ref="sdk"), engram("b", with_={"n": "{{ steps.a.output.n }}"})])
        await one.to_the_end()

        assert "templating.offloaded-data-policy" in one.status["stepStates"]["b"]["message"]


async def canceled_when_it_had_ended(world: World, scenario: Any) -> Any:
    """A run that was canceled after its container had succeeded, and before a process could read the output."""
    one = scenario(world, [engram("a", with_={"n": 1})], **{"finally": [engram("b", ref="sdk")]})
    world.start(one.key)
    await trio.sleep(0.5)
    await world.kill()
    await trio.sleep(1.0)
    world.cluster.force_patch("user", ("StoryRun", one.key.namespace, one.key.name), "spec", {"cancelRequested": True})
    world.start(one.key)
    assert await world.until_ended(one.key)
    assert world.crashes == []
    return one


async def test_an_output_that_was_there_before_the_cancel_is_kept(autojump_clock: MockClock, scenario: Any) -> None:
    engrams, scripts = {"sdk": Engram(), "work": PLAIN}, {"a": (Script(output={"n": 1}),)}
    async with open_world(engrams=engrams, scripts=scripts) as world:
        one = await canceled_when_it_had_ended(world, scenario)

        assert one.phases["a"] == "Succeeded"
        assert status(world, one)["output"] == {"n": 1}


async def test_an_output_that_cannot_be_read_does_not_hold_up_a_cancel(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = answer_with(monkeypatch, UnavailableError("no answer"))
    async with open_world(engrams={"sdk": Engram(), "work": PLAIN}) as world:
        one = await canceled_when_it_had_ended(world, scenario)

        assert one.phases["a"] == "Canceled", "it has no output that another step could rely on"
    assert times[-1] - times[0] < RESULT_PATIENCE_SECONDS
