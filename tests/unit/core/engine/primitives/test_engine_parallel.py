"""``parallel``: branches of every kind, their order, limit, outputs and failures; and ``forEach``."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.evaluation.evaluator import Evaluator
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

FAILS = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal"),)


def fan(*branches: Any, name: str = "fan", **with_: Any) -> dict[str, Any]:
    return primitive(name, "parallel", with_={"steps": list(branches), **with_})


def inputs_of(world: World) -> dict[str, Any]:
    jobs = (w.new for w in world.cluster.history if w.place[0] == "Job" and w.verb == "create" and w.new is not None)
    return {job["metadata"]["name"]: job["spec"]["inputs"] for job in jobs}


def step_run(world: World, name: str) -> dict[str, Any]:
    found = world.cluster.get("StepRun", "default", name)
    assert found is not None
    return found


async def test_26_3_branches_run_at_the_same_time_and_the_step_ends_with_the_last(
    autojump_clock: MockClock, scenario: Any
) -> None:
    scripts = {"a": (Script(after_seconds=3.0, output={"n": 1}),), "b": (Script(after_seconds=5.0, output={"n": 2}),)}
    steps = [
        fan(engram("a"), engram("b")),
        engram("sum", with_={"a": "{{ steps.a.output.n }}", "both": "{{ steps.fan.output }}"}),
    ]
    async with open_world(scripts) as world:
        one = scenario(world, steps)
        status = await one.to_the_end()
        made = step_run(world, "run-fan-a")

    assert trio.current_time() == pytest.approx(6.0, abs=0.1)
    assert status["phase"] == "Succeeded"
    assert one.phases == dict.fromkeys(("fan", "fan/a", "fan/b", "sum"), "Succeeded")
    assert status["primitiveChildren"] == {"fan": ["run-fan-a", "run-fan-b"]}
    assert (status["stepsTotal"], status["stepsComplete"]) == (2, 2)
    assert inputs_of(world)["run-sum"] == {"a": 1, "both": {"a": {"n": 1}, "b": {"n": 2}}}
    assert made["spec"]["stepId"] == "a"
    assert made["metadata"]["labels"]["bubustack.io/parent-step"] == "fan"
    assert made["metadata"]["annotations"]["runs.bubustack.io/step-path"] == "fan/a"


async def test_a_branch_sees_its_resolved_input_once_and_data_is_never_evaluated(
    autojump_clock: MockClock, scenario: Any
) -> None:
    engrams = {"work": Engram(default_with={"base": "{{ inputs.x }}"})}
    steps = [fan(engram("a", with_={"own": "{{ inputs.x }}"}))]
    async with open_world(engrams=engrams) as world:
        one = scenario(world, steps, run={"inputs": {"x": "{{ steps.evil }}"}})
        await one.to_the_end()
        made = step_run(world, "run-fan-a")

    assert made["spec"]["input"] == {"base": "{{ steps.evil }}", "own": "{{ steps.evil }}"}
    assert inputs_of(world)["run-fan-a"] == made["spec"]["input"]


async def test_a_branch_may_be_any_primitive_even_a_parallel_step(autojump_clock: MockClock, scenario: Any) -> None:
    branches = [
        primitive("nap", "sleep", with_={"duration": "20s"}),
        primitive("ok", "gate"),
        primitive("skip", "condition", if_="{{ inputs.no }}"),
        fan(engram("deep"), primitive("deeper", "condition"), name="inner"),
    ]
    async with open_world() as world:
        one = scenario(world, [fan(*branches)], run={"inputs": {"no": False}})
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("fan/ok") == "Paused")
        world.approve(one.key, "fan/ok", "Approved", "")
        assert await world.until_ended(one.key)

    assert one.phases == {
        "fan": "Succeeded",
        "fan/nap": "Succeeded",
        "fan/ok": "Succeeded",
        "fan/skip": "Skipped",
        "fan/inner": "Succeeded",
        "fan/inner/deep": "Succeeded",
        "fan/inner/deeper": "Succeeded",
    }
    assert trio.current_time() == pytest.approx(20.0, abs=0.3)


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_failed_branch_fails_the_step_once_all_have_ended_unless_it_may_fail(
    autojump_clock: MockClock, scenario: Any, allowed: bool
) -> None:
    async with open_world({"a": FAILS, "b": (Script(after_seconds=30.0),)}) as world:
        one = scenario(world, [fan(engram("a", allowFailure=allowed), engram("b"))])
        status = await one.to_the_end()

    assert one.phases["fan/b"] == "Succeeded"
    assert one.phases["fan"] == ("Succeeded" if allowed else "Failed")
    failed = f"branch a failed: {status['stepStates']['fan/a']['message']}"
    assert status["stepStates"]["fan"]["message"] == ("Allowed to fail: a" if allowed else failed)
    assert allowed or status["message"] == f"step fan failed: {failed}"
    assert status["phase"] == ("Succeeded" if allowed else "Failed")


async def test_an_item_without_output_is_not_like_one_with_an_empty_output(
    autojump_clock: MockClock, scenario: Any
) -> None:
    item = engram("one", with_={"n": "{{ item }}"}, allowFailure=True, **{"if": "item != 3"})
    each = fan(item, name="each", forEach="{{ inputs.numbers }}")
    steps = [each, engram("all", with_={"results": "{{ steps.each.output.items }}"})]
    scripts = {"each/0": (Script(echo=True),), "each/1": FAILS, "each/2": (Script(),), "each/3": (Script(echo=True),)}
    async with open_world(scripts, evaluator=Evaluator()) as world:
        one = scenario(world, steps, run={"inputs": {"numbers": [1, 2, 0, 3]}})
        await one.to_the_end()

    assert one.phases["each/1"] == "Failed"
    assert one.phases["each/3"] == "Skipped"
    assert inputs_of(world)["run-all"] == {"results": [{"n": 1}, None, {}, None]}


async def test_no_more_branches_are_at_work_than_the_bound_allows(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [fan(*(engram(f"b{n}") for n in range(7)), maxConcurrency=3)])
        world.start(one.key)
        most = 0
        while not one.status.get("finishedAt"):
            most = max(most, sum(pod.alive for pods in world.worker.pods.values() for pod in pods))
            await trio.sleep(0.1)

    assert most == 3
    assert trio.current_time() == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize(
    "with_",
    [
        {},
        {"steps": "x"},
        {"steps": [{"ref": {}}]},
        {"maxConcurrency": 0, "steps": []},
        {"maxConcurrency": 2**31, "steps": []},
    ],
)
async def test_settings_that_make_no_sense_fail_the_step(
    autojump_clock: MockClock, scenario: Any, with_: dict[str, Any]
) -> None:
    async with open_world() as world:
        status = await scenario(world, [primitive("fan", "parallel", with_=with_)]).to_the_end()

    assert status["stepStates"]["fan"]["message"].startswith("InvalidConfiguration: with.")


async def test_a_parallel_step_without_branches_succeeds_at_once(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        status = await scenario(world, [fan()]).to_the_end()

    assert status["stepStates"]["fan"]["phase"] == "Succeeded"


async def test_each_item_is_a_branch_and_results_keep_the_order_of_the_list(
    autojump_clock: MockClock, scenario: Any
) -> None:
    each = fan(
        engram("one", with_={"url": "{{ item.url }}", "n": "{{ itemIndex }}"}),
        name="each",
        forEach="{{ inputs.pages }}",
        maxConcurrency=2,
    )
    steps = [each, engram("all", with_={"results": "{{ steps.each.output.items }}"})]
    pages = [{"url": "x"}, {"url": "y"}, {"url": "z"}]
    async with open_world({f"each/{n}": (Script(echo=True),) for n in range(3)}, evaluator=Evaluator()) as world:
        one = scenario(world, steps, run={"inputs": {"pages": pages}})
        await one.to_the_end()
        made = step_run(world, "run-each-2")

    assert one.phases == dict.fromkeys(("each", "each/0", "each/1", "each/2", "all"), "Succeeded")
    assert made["spec"]["stepId"] == "one-2"
    wanted = [{"url": page["url"], "n": number} for number, page in enumerate(pages)]
    assert inputs_of(world)["run-all"] == {"results": wanted}


@pytest.mark.parametrize(
    ("items", "words"), [("text", "is not a list"), ([1] * 1001, "has 1001 items"), ({"a": 1}, "is not a list")]
)
async def test_what_is_no_list_or_too_long_fails_the_step(
    autojump_clock: MockClock, scenario: Any, items: Any, words: str
) -> None:
    async with open_world() as world:
        one = scenario(world, [fan(engram("one"), forEach=items)])
        status = await one.to_the_end()

    assert words in status["stepStates"]["fan"]["message"]


async def test_an_empty_list_succeeds_with_an_empty_result(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(
            world,
            [fan(engram("one"), forEach="{{ inputs.none }}")],
            run={"inputs": {"none": []}},
            output={"all": "{{ steps.fan.output.items }}"},
        )
        status = await one.to_the_end()

    assert status["output"] == {"all": []}


async def test_a_restart_in_the_middle_goes_on_with_what_is_left(autojump_clock: MockClock, scenario: Any) -> None:
    scripts = {f"b{n}": (Script(after_seconds=10.0 * (n + 1), output={"n": n}),) for n in range(3)}
    steps = [
        fan(*(engram(f"b{n}") for n in range(3))),
        engram("sum", with_={"first": "{{ steps.b0.output.n }}", "all": "{{ steps.fan.output }}"}),
    ]
    async with open_world(scripts) as world:
        one = scenario(world, steps)
        world.start(one.key)
        await trio.sleep(15)
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert len(world.worker.ran) == 4
    assert inputs_of(world)["run-sum"] == {"first": 0, "all": {f"b{n}": {"n": n} for n in range(3)}}


async def test_cancel_ends_branches_and_everything_inside_them(autojump_clock: MockClock, scenario: Any) -> None:
    steps = [fan(engram("a"), fan(engram("b"), primitive("g", "gate"), name="inner")), engram("later", "fan")]
    async with open_world({"a": (Script(after_seconds=500.0),), "b": (Script(after_seconds=500.0),)}) as world:
        one = scenario(world, steps)
        world.start(one.key)
        await trio.sleep(5)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert one.status["phase"] == "Finished"
    assert one.phases == {
        **dict.fromkeys(("fan", "fan/a", "fan/inner", "fan/inner/b", "fan/inner/g"), "Canceled"),
        "later": "Skipped",
    }


async def test_a_branch_that_follows_another_counts_as_at_work_at_once(
    autojump_clock: MockClock, scenario: Any
) -> None:
    steps = [
        engram("reader", with_={"n": "{{ (index .steps inputs.which).output.n }}"}),
        fan(engram("x"), engram("y"), maxConcurrency=1),
    ]
    async with open_world({"y": (Script(output={"n": 5}),)}) as world:
        one = scenario(world, steps, run={"inputs": {"which": "y"}})
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert inputs_of(world)["run-reader"] == {"n": 5}
