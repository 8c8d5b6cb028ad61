"""Expressions over data in object storage: references are passed on where that is enough, else the data is fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.engine.errors import NoStoreError, StorageUnavailableError
from core.engine.settings import EngineSettings
from core.evaluation.evaluator import Evaluator
from core.policy.settings import OffloadedDataPolicy
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.stored import ModelPayloads, stored, value_of
from fuzz.engine.worker import Script
from fuzz.engine.world import open_world

A = {"flag": stored("yes"), "n": stored("two"), "record": stored("record"), "items": stored("list")}
SCRIPTS = {"a": (Script(output=A),), "b": (Script(echo=True),)}
READS_FLAG = "{{ steps.a.output.flag }}"


def settings(policy: OffloadedDataPolicy) -> EngineSettings:
    return EngineSettings(jitter=lambda: 0.0, offloaded_data=lambda: policy)


def condition(status: dict[str, Any], type_: str) -> tuple[str, str, str]:
    found = find_condition(status["conditions"], type_)
    assert found is not None
    return str(found["status"]), str(found["reason"]), str(found["message"])


def output_of(world: Any, key: Any, step: str) -> Any:
    return world.step_run(key, step)["status"]["output"]


def inputs_are_data(world: Any) -> dict[str, bool]:
    """For each step: whether its container got the flag that its inputs are data."""
    jobs = [write.new for write in world.cluster.history if write.new is not None and write.new["kind"] == "Job"]
    return {job["spec"]["step"]: job["spec"]["resolved"] for job in jobs}


def count_fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the fields that are fetched from now on."""
    fields: list[str] = []
    sound = ModelPayloads.fetch

    async def counted(
        self: ModelPayloads, value: Any, *, namespace: str, field: str, depth: int, below: str = ""
    ) -> Any:
        fields.append(field)
        return await sound(self, value, namespace=namespace, field=field, depth=depth, below=below)

    monkeypatch.setattr(ModelPayloads, "fetch", counted)
    return fields


def fetch_with(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any, str, str], Any]) -> None:
    async def fetch(self: ModelPayloads, value: Any, *, namespace: str, field: str, depth: int, below: str = "") -> Any:
        await trio.lowlevel.checkpoint()
        return answer(value, namespace, field)

    monkeypatch.setattr(ModelPayloads, "fetch", fetch)


def down_until(seconds: float) -> Callable[[Any, str, str], Any]:
    def answer(value: Any, namespace: str, field: str) -> Any:
        if trio.current_time() < seconds:
            raise StorageUnavailableError("store s3://data: connection refused")
        return value_of(value, namespace, field)

    return answer


def no_store(value: Any, namespace: str, field: str) -> Any:
    raise NoStoreError("the operator has no object store")


@pytest.mark.parametrize(("name", "phase"), [("yes", "Succeeded"), ("no", "Skipped")])
async def test_a_condition_decides_by_the_data_itself(
    autojump_clock: MockClock, scenario: Any, name: str, phase: str
) -> None:
    async with open_world({"a": (Script(output={"flag": stored(name)}),)}) as world:
        one = scenario(world, [engram("a"), engram("b", if_=READS_FLAG)])
        await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "b": phase}


async def test_a_plain_path_passes_the_reference_on_and_a_larger_template_is_looked_into(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = count_fetches(monkeypatch)
    with_ = {"deep": "{{ steps.a.output.record.n }}", "plain": READS_FLAG}
    async with open_world(SCRIPTS) as world:
        one = scenario(
            world, [engram("a"), engram("b", with_=with_), engram("c", with_={"x": f"{{{{ not {READS_FLAG[3:]}"})]
        )
        await one.to_the_end()

    assert output_of(world, one.key, "b") == {"deep": stored("record", "n"), "plain": stored("yes")}
    assert one.phases["c"] == "Succeeded"
    assert fields == ["steps.a.output"]


@pytest.mark.parametrize("by_annotation", [True, False])
async def test_where_the_operator_is_to_look_into_everything_nothing_is_passed_on(
    autojump_clock: MockClock, scenario: Any, by_annotation: bool
) -> None:
    policy = OffloadedDataPolicy.ERROR if by_annotation else OffloadedDataPolicy.CONTROLLER
    async with open_world(SCRIPTS, settings=settings(policy)) as world:
        one = scenario(world, [engram("a"), engram("b", with_={"x": "{{ steps.a.output.record }}"})])
        if by_annotation:
            annotations = {"annotations": {"bubustack.io/controller-resolve": " True "}}
            world.cluster.force_patch("user", ("Story", "default", "story"), "metadata", annotations)
        await one.to_the_end()

    assert output_of(world, one.key, "b") == {"x": {"n": 2, "flag": True, "deep": [1, 2]}}


@pytest.mark.parametrize(
    "step",
    [
        engram("b", if_=READS_FLAG),
        engram("b", with_={"x": READS_FLAG}),
        primitive("b", "wait", "a", with_={"until": READS_FLAG}),
        primitive("b", "parallel", with_={"forEach": "{{ steps.a.output.items }}", "steps": [engram("x")]}),
    ],
    ids=["if", "with", "wait", "forEach"],
)
async def test_where_the_policy_forbids_it_a_step_fails_and_names_the_policy(
    autojump_clock: MockClock, scenario: Any, step: dict[str, Any]
) -> None:
    async with open_world(SCRIPTS, settings=settings(OffloadedDataPolicy.ERROR)) as world:
        one = scenario(world, [engram("a"), step, engram("c")])
        status = await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "b": "Failed", "c": "Succeeded"}
    assert "templating.offloaded-data-policy: error" in status["stepStates"]["b"]["message"]


async def test_wait_looks_into_the_data(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a"), primitive("w", "wait", "a", with_={"until": READS_FLAG})])
        await one.to_the_end()

    assert one.phases["w"] == "Succeeded"


async def test_a_list_in_storage_is_run_for_each_of_its_items(autojump_clock: MockClock, scenario: Any) -> None:
    fan = {"forEach": "{{ steps.a.output.items }}", "steps": [engram("b", with_={"x": "{{ item }}"})]}
    async with open_world({"a": (Script(output=A),)}) as world:
        one = scenario(world, [engram("a"), primitive("fan", "parallel", with_=fan)])
        await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "fan": "Succeeded", "fan/0": "Succeeded", "fan/1": "Succeeded"}


async def test_the_output_of_a_run_keeps_references_and_looks_into_what_it_computes_with(
    autojump_clock: MockClock, scenario: Any
) -> None:
    output = {"kept": "{{ steps.a.output.record }}"}
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a")], output=output)
        plain = (await one.to_the_end())["output"]
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a")], output=output | {"not": "{{ not steps.a.output.flag }}"})
        computed = (await one.to_the_end())["output"]

    assert plain == {"kept": stored("record")}
    assert computed == {"kept": stored("record"), "not": False}


async def test_the_output_of_a_called_story_is_looked_into_by_its_caller(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"k": (Script(output=A),)}) as world:
        world.add_story("child", {"steps": [engram("k")], "output": {"flag": "{{ steps.k.output.flag }}"}})
        call = primitive("call", "executeStory", with_={"storyRef": {"name": "child"}})
        one = scenario(world, [call, engram("b", if_="{{ steps.call.output.flag }}")])
        await one.to_the_end()

    assert one.phases == {"call": "Succeeded", "b": "Succeeded"}


async def test_what_post_execution_checks_is_fetched(autojump_clock: MockClock, scenario: Any) -> None:
    check = {"condition": READS_FLAG, "failureMessage": "no flag"}
    async with open_world({"a": (Script(output={"flag": stored("no")}),)}) as world:
        one = scenario(world, [engram("a", postExecution=check)])
        status = await one.to_the_end()

    assert status["stepStates"]["a"]["message"] == "ExpressionFailed: no flag"


@pytest.mark.parametrize(
    ("name", "phase", "reason"),
    [
        ("record", "Succeeded", "Completed"),
        ("list", "Failed", "InputSchemaFailed"),
        ("gone", "Failed", "ValidationFailed"),
    ],
)
async def test_inputs_are_checked_with_what_they_refer_to(
    autojump_clock: MockClock, scenario: Any, name: str, phase: str, reason: str
) -> None:
    schema = {"properties": {"x": {"type": "object"}}}
    async with open_world() as world:
        run = {"inputs": {"x": stored(name)}}
        status = await scenario(world, [engram("a")], run, inputsSchema=schema).to_the_end()

    assert (status["phase"], condition(status, "Ready")[1]) == (phase, reason)


async def test_data_that_is_not_there_fails_the_step_that_needs_it(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(output={"flag": stored("gone")}),)}) as world:
        one = scenario(world, [engram("a"), engram("b", if_=READS_FLAG), engram("c")])
        status = await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "b": "Failed", "c": "Succeeded"}
    assert "has no object 'outputs/default/gone'" in status["stepStates"]["b"]["message"]


async def test_without_a_store_inputs_are_left_to_the_container_and_conditions_fail(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_with(monkeypatch, no_store)
    template = "{{ not steps.a.output.flag }}"
    fan = {"steps": [engram("b", with_={"x": template})]}
    async with open_world({"a": SCRIPTS["a"], "b": SCRIPTS["b"], "fan/b": SCRIPTS["b"]}) as world:
        steps = [engram("a"), engram("b", with_={"x": template}), primitive("fan", "parallel", with_=fan)]
        one = scenario(world, [*steps, engram("c", if_=READS_FLAG)])
        status = await one.to_the_end()

    assert output_of(world, one.key, "b") == {"x": template}
    assert output_of(world, one.key, "fan/b") == {"x": template}
    assert inputs_are_data(world) == {"a": True, "b": False, "fan/b": False}
    assert one.phases["c"] == "Failed"
    assert "the operator has no object store" in status["stepStates"]["c"]["message"]


async def test_braces_in_data_are_no_templates(autojump_clock: MockClock, scenario: Any) -> None:
    """A branch that may read any step settles its input early. It does not evaluate the input a second time."""
    data = "{{ steps.never.output.token }}"
    some = "{{ (index steps inputs.n).output.n }}"
    fan = {"steps": [engram("b", with_={"x": "{{ inputs.x }}", "some": some})]}
    scripts = {"a": (Script(output={"n": 1}),), "b": SCRIPTS["b"], "fan/b": SCRIPTS["b"]}
    async with open_world(scripts, evaluator=Evaluator()) as world:
        steps = [engram("a"), engram("b", with_={"x": "{{ inputs.x }}"}), primitive("fan", "parallel", with_=fan)]
        nap = primitive("never", "sleep", with_={"duration": "1h"})
        one = scenario(world, [*steps, nap], {"inputs": {"x": data, "n": "a"}})
        world.start(one.key)
        await trio.sleep(60)
        done = dict.fromkeys(("a", "b", "fan", "fan/b"), "Succeeded")
        assert one.phases == {**done, "never": "Paused"}

    assert output_of(world, one.key, "b")["x"] == output_of(world, one.key, "fan/b")["x"] == data
    assert inputs_are_data(world) == {"a": True, "b": True, "fan/b": True}


async def test_a_short_outage_is_waited_out_in_silence(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_with(monkeypatch, down_until(4.0))
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a"), engram("b", if_=READS_FLAG)])
        await one.to_the_end()

    assert one.phases["b"] == "Succeeded"
    assert not any("StorageUnavailable" in str(write.new) for write in world.cluster.history)


async def test_a_longer_one_is_told_and_others_go_on(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_with(monkeypatch, down_until(100.0))
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a"), engram("b", if_=READS_FLAG), engram("c", "a"), engram("d", "c")])
        world.start(one.key)
        await trio.sleep(30)
        told = one.status
        assert one.phases == {"a": "Succeeded", "c": "Succeeded", "d": "Succeeded"}
        assert await world.until_ended(one.key)
        await world.quiet()

    text = "step b: store s3://data: connection refused"
    assert told["message"] == text
    assert condition(told, "Ready") == ("False", "StorageUnavailable", text)
    assert condition(told, "Degraded") == ("True", "StorageUnavailable", text)
    assert one.phases["b"] == "Succeeded"
    assert condition(one.status, "Degraded")[0] == "False"
    assert 100.0 < trio.current_time() < 140.0


async def test_an_outage_makes_no_wait_longer_than_it_may_be(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_with(monkeypatch, down_until(1000.0))
    async with open_world(SCRIPTS) as world:
        until = {"until": READS_FLAG, "timeout": "20s"}
        one = scenario(world, [engram("a"), primitive("w", "wait", "a", with_=until)])
        await one.to_the_end()

    assert one.phases["w"] == "Timeout"
    assert 20.0 <= trio.current_time() < 25.0


async def test_a_wait_goes_on_when_the_store_answers_again(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_with(monkeypatch, down_until(50.0))
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a"), primitive("w", "wait", "a", with_={"until": READS_FLAG})])
        await one.to_the_end()

    assert one.phases["w"] == "Succeeded"
    assert 50.0 <= trio.current_time() < 80.0


async def test_a_required_path_may_lead_into_storage(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SCRIPTS) as world:
        one = scenario(world, [engram("a"), engram("b", "a", requires=["steps.a.output.record.n"])])
        await one.to_the_end()

    assert one.phases["b"] == "Succeeded"


async def test_both_dialects_look_into_the_data(autojump_clock: MockClock, scenario: Any) -> None:
    with_ = {"sum": "{{ add steps.a.output.n 1 }}", "kept": "{{ steps.a.output.record.n }}"}
    async with open_world(SCRIPTS, evaluator=Evaluator()) as world:
        cel = engram("b", if_='steps.a.output.n == 2 && steps["a"].output.flag', with_=with_)
        template = engram("c", if_="{{ and steps.a.output.flag (eq (len steps.a.output.items) 3) }}")
        path = engram("d", if_="{{ steps.a.output.record.flag }}")
        one = scenario(world, [engram("a"), cel, template, path])
        await one.to_the_end()

    assert one.phases == {"a": "Succeeded", "b": "Succeeded", "c": "Skipped", "d": "Succeeded"}
    assert output_of(world, one.key, "b") == {"sum": "3", "kept": stored("record", "n")}


async def test_inputs_in_storage_are_looked_into(autojump_clock: MockClock, scenario: Any) -> None:
    with_ = {
        "plain": "{{ inputs.x }}",
        "inside": "{{ inputs.x.n }}",
        "mode": '{{ default "none" inputs.x.mode }}',
        "sum": "{{ add inputs.x.n 1 }}",
    }
    async with open_world({"b": (Script(echo=True),)}, evaluator=Evaluator()) as world:
        steps = [engram("b", with_=with_), engram("c", if_="{{ inputs.x.flag }}"), engram("d", if_="inputs.x.n > 2")]
        one = scenario(world, steps, {"inputs": {"x": stored("record"), "y": 1}})
        await one.to_the_end()

    assert output_of(world, one.key, "b") == {"plain": stored("record"), "inside": 2, "mode": "none", "sum": "3"}
    assert one.phases == {"b": "Succeeded", "c": "Succeeded", "d": "Skipped"}


async def test_without_a_store_inputs_beside_the_stored_ones_are_read(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_with(monkeypatch, no_store)
    async with open_world({"b": (Script(echo=True),)}, evaluator=Evaluator()) as world:
        steps = [
            engram("b", with_={"sum": "{{ add inputs.n 1 }}"}, if_="{{ gt inputs.n 0.5 }}"),
            engram("c", if_="{{ gt (len inputs.x) 3 }}", allowFailure=True),
        ]
        one = scenario(world, steps, {"inputs": {"x": stored("record"), "n": 1}})
        status = await one.to_the_end()

    assert output_of(world, one.key, "b") == {"sum": "2"}
    assert "the operator has no object store" in status["stepStates"]["c"]["message"]


async def test_a_store_that_hangs_makes_no_wait_longer_than_it_may_be(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(self: ModelPayloads, value: Any, *, namespace: str, field: str, depth: int, below: str = "") -> Any:
        await trio.sleep(1000)

    monkeypatch.setattr(ModelPayloads, "fetch", hang)
    async with open_world(SCRIPTS) as world:
        until = {"until": READS_FLAG, "timeout": "20s"}
        one = scenario(world, [engram("a"), primitive("w", "wait", "a", with_=until)])
        await one.to_the_end()

    assert one.phases["w"] == "Timeout"
    assert 20.0 <= trio.current_time() < 23.5
