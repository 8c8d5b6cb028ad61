"""Expressions and schemas made to hang or exhaust the operator cost only their own step; everything else continues."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.api.resource import STORY_RUN
from core.policy.settings import OperatorSettings, TemplatingSettings
from core.telemetry import metrics
from tests.integration.operator_cluster import OperatorCluster, status_of, step, step_phases

SETTINGS = OperatorSettings(
    templating=TemplatingSettings(worker_timeout=timedelta(seconds=2), worker_memory_bytes=256 << 20)
)
UNHURRIED = replace(SETTINGS, templating=replace(SETTINGS.templating, worker_timeout=timedelta(minutes=5)))
"""On a slow machine, an evaluation that needs much memory would reach two seconds first."""


def _grown(levels: int, condition: str) -> str:
    """A condition with ``v1``, ``v2`` and so on, each four times as long as the one before. ``v0`` is ``inputs.s``."""
    for level in range(levels, 0, -1):
        before = f"v{level - 1}"
        condition = f"cel.bind(v{level}, {before} + {before} + {before} + {before}, {condition})"
    return condition.replace("v0", "inputs.s")


HUNGRY = _grown(10, "size(v10) > 0")
ENDLESS = _grown(7, "v7.contains(v6 + v6 + 'b')")
SILENT = "{{ range until 9999 }}{{ range 9999 }}{{ end }}{{ end }}"
DOUBLING = {
    "$ref": "#/definitions/d0",
    "definitions": {
        **{f"d{number}": {"allOf": [{"$ref": f"#/definitions/d{number + 1}"}] * 2} for number in range(40)},
        "d40": {"type": "object"},
    },
}


async def _run(world: OperatorCluster, name: str, story: str, **inputs: Any) -> None:
    await world.create(STORY_RUN, name, {"storyRef": {"name": story}, "inputs": inputs})


@pytest.mark.slow
async def test_poison_costs_its_own_step_and_nothing_else(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("sound", step("a", "noop"), step("b", "noop", **{"if": "inputs.n == 1"}))
    await world.story(
        "poisoned",
        step("endless", "noop", **{"if": ENDLESS}),
        step("silent", "noop", **{"with": {"x": SILENT}}),
        step("well", "noop", **{"if": "size(inputs.s) == 200"}),
        step("after", "noop", needs=["well"]),
        policy={"retries": {"continueOnStepFailure": True}},
    )
    await world.story("unchecked", step("a", "noop"), inputsSchema=DOUBLING)
    with metrics.recording() as recorder:
        async with world.operator(SETTINGS):
            await _run(world, "bad", "poisoned", s="a" * 200)
            await _run(world, "worse", "unchecked")
            await _run(world, "good", "sound", n=1)
            good = await world.finished("good")
            # On a slow machine the namespace uses up its processor time for a minute.
            bad, worse = await world.finished("bad", seconds=120), await world.finished("worse", seconds=120)
            await _run(world, "later", "sound", n=1)
            later = await world.finished("later")
        ended = _ended_workers(recorder)

    assert [status_of(run)["phase"] for run in (good, bad, worse, later)] == [
        *("Succeeded", "Failed", "Failed", "Succeeded")
    ]
    assert step_phases(bad) == {
        "endless": "Failed",
        "silent": "Failed",
        "well": "Succeeded",
        "after": "Succeeded",
    }
    states = status_of(bad)["stepStates"]
    assert "if: the expression takes longer than 2 s (line 1, column 1)" in states["endless"]["message"]
    assert "x: the expression needs more than 100000 steps (line 1, column" in states["silent"]["message"]
    assert "takes longer than 2 s; simplify the schema" in status_of(worse)["message"]
    assert ended == {"time": 2.0, "memory": None}


@pytest.mark.slow
async def test_an_evaluation_that_needs_much_memory_ends_at_its_limit(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("poisoned", step("hungry", "noop", **{"if": HUNGRY}))
    with metrics.recording() as recorder:
        async with world.operator(UNHURRIED):
            await _run(world, "bad", "poisoned", s="a" * 200)
            bad = await world.finished("bad", seconds=300)
        ended = _ended_workers(recorder)

    message = status_of(bad)["stepStates"]["hungry"]["message"]
    assert "needs more memory than allowed" in message
    assert "templating.worker-memory-bytes" in message
    assert ended == {"time": None, "memory": 1.0}


def _ended_workers(recorder: metrics.Recorder) -> dict[str, float | None]:
    """How many processes were ended by each limit."""
    return {
        limit: recorder.registry.get_sample_value("bobrapet_evaluation_workers_ended_total", {"limit": limit})
        for limit in ("time", "memory")
    }


async def test_a_changed_limit_counts_from_the_next_evaluation(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("story", step("a", "noop", **{"with": {"x": "{{ repeat 100 `x` }}"}}))
    current = replace(SETTINGS, templating=replace(SETTINGS.templating, max_output_bytes=50))
    async with world.operator(lambda: current):
        await world.run("one", "story")
        one = await world.finished("one")
        current = SETTINGS
        await world.run("two", "story")
        two = await world.finished("two")

    assert (status_of(one)["phase"], status_of(two)["phase"]) == ("Failed", "Succeeded")
    assert "templating.max-output-bytes allows 50" in status_of(one)["stepStates"]["a"]["message"]
