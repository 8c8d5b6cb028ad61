"""Runs that start runs, Stories edited during their runs, redrives: with the whole operator."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from core.api import keys
from core.api.objects import Object
from core.api.resource import CONTROLLER_REVISION, STEP_RUN, STORY, STORY_RUN
from core.policy.settings import OperatorSettings, RunSettings
from reconcilers import story_revisions
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step, step_phases


def call(name: str, story: str, **with_: Any) -> Object:
    return {"name": name, "type": "executeStory", "with": {"storyRef": {"name": story}, **with_}}


async def held_by(world: OperatorCluster, gate: Path) -> None:
    """An Engram ``hold`` whose containers end when the file exists."""
    await world.engram("hold", f"while test ! -e {gate}; do sleep 0.05; done")


async def patched(world: OperatorCluster, name: str, patch: Object, resource: Any = STORY_RUN) -> None:
    await world.client.patch(resource, name, patch, namespace=NAMESPACE_NAME)


async def family(world: OperatorCluster, gate: Path) -> None:
    """A run ``one`` whose Story calls a Story, which calls a Story whose step is held."""
    await held_by(world, gate)
    await world.story("innermost", step("hold"))
    await world.story("inner", call("down", "innermost"))
    await world.story("outer", call("down", "inner"))
    await world.run("one", "outer")
    await world.step("one-down-down-hold", "Running")


async def test_the_end_of_a_run_is_the_end_of_the_step_that_started_it(world: OperatorCluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with world.operator():
        await family(world, gate)
        gate.touch()
        run = await world.finished("one")
        child = await world.finished("one-down")
    assert step_phases(run) == {"down": "Succeeded"}
    assert status_of(run)["stepStates"]["down"]["subStoryRunName"] == "one-down"
    assert status_of(run)["phase"] == status_of(child)["phase"] == "Succeeded"
    assert child["metadata"]["annotations"][keys.ANNOTATION_STEP_PATH] == "down"


async def test_a_canceled_run_takes_what_it_started_with_it(world: OperatorCluster, tmp_path: Path) -> None:
    async with world.operator():
        await family(world, tmp_path / "never")
        await patched(world, "one", {"spec": {"cancelRequested": True}})
        runs = [await world.finished(name, seconds=40) for name in ("one", "one-down", "one-down-down")]
        held = await world.step("one-down-down-hold", "Canceled")
    assert [status_of(run)["phase"] for run in runs] == ["Finished"] * 3
    assert held["metadata"]["annotations"][keys.ANNOTATION_CANCEL_REQUESTED] == "true"


async def test_a_deleted_run_takes_its_family_along(world: OperatorCluster, tmp_path: Path) -> None:
    async with world.operator():
        await family(world, tmp_path / "never")
        await world.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
        await world.gone(STORY_RUN, "one")
        await world.none_left(STORY_RUN)
        await world.none_left(STEP_RUN)


async def test_a_run_goes_on_with_its_story_as_it_was_whoever_takes_it_up(
    world: OperatorCluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await held_by(world, gate)
    await world.engram("noop")
    await world.story("report", step("hold"), step("old", "noop", needs=["hold"]))
    async with world.operator():
        await world.run("one", "report")
        await world.step("one-hold", "Running")
    steps = [step("hold"), step("new", "noop", needs=["hold"])]
    await patched(world, "report", {"spec": {"steps": steps}}, STORY)
    async with world.operator() as traffic:
        gate.touch()
        before = await world.finished("one")
        await world.run("two", "report")
        after = await world.finished("two")
    assert step_phases(before) == {"hold": "Succeeded", "old": "Succeeded"}
    assert step_phases(after) == {"hold": "Succeeded", "new": "Succeeded"}
    assert status_of(before)["storyRevision"] != status_of(after)["storyRevision"]
    assert len(await world.names(CONTROLLER_REVISION)) == 2
    assert traffic.requests.count("GET controllerrevisions") == 3  # a list, a watch, and the Story of the first run


async def test_a_branch_that_ends_is_heard_of(world: OperatorCluster) -> None:
    await world.engram("noop")
    branches = [step("a", "noop"), step("b", "noop")]
    await world.story("fan", {"name": "fan", "type": "parallel", "with": {"steps": branches}})
    async with world.operator():
        await world.run("one", "fan")
        run = await world.finished("one")
        branch = await world.step("one-fan-a", "Succeeded")
    assert status_of(run)["phase"] == "Succeeded"
    assert branch["spec"]["stepId"] == "a"
    assert branch["metadata"]["annotations"][keys.ANNOTATION_STEP_PATH] == "fan/a"


async def test_a_decision_about_a_gate_is_heard_of(world: OperatorCluster) -> None:
    await world.story("careful", {"name": "approve", "type": "gate"})
    async with world.operator():
        await world.run("one", "careful")
        await world.until(STORY_RUN, "one", lambda run: step_phases(run) == {"approve": "Paused"})
        decision = {"status": {"gates": {"approve": {"state": "Approved"}}}}
        await world.client.patch(STORY_RUN, "one", decision, namespace=NAMESPACE_NAME, subresource="status")
        run = await world.finished("one")
    assert status_of(run)["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("annotation", "value", "again"),
    [(keys.ANNOTATION_REDRIVE_TOKEN, "1", ["a", "b"]), (keys.ANNOTATION_REDRIVE_FROM_STEP, "b:1", ["b"])],
)
async def test_a_finished_run_runs_again(world: OperatorCluster, annotation: str, value: str, again: list[str]) -> None:
    await world.engram("noop")
    await world.story("twice", step("a", "noop"), step("b", "noop", needs=["a"]))
    async with world.operator():
        await world.run("one", "twice")
        await world.finished("one")
        before = {name: await world.step(f"one-{name}", "Succeeded") for name in ("a", "b")}
        await patched(world, "one", {"metadata": {"annotations": {annotation: value}}})
        run = await world.until(STORY_RUN, "one", lambda run: _ended_again(run))
        after = {name: await world.step(f"one-{name}", "Succeeded") for name in ("a", "b")}
    assert step_phases(run) == {"a": "Succeeded", "b": "Succeeded"}
    changed = [name for name in ("a", "b") if before[name]["metadata"]["uid"] != after[name]["metadata"]["uid"]]
    assert changed == again


def _ended_again(run: Object) -> bool:
    return bool(status_of(run).get("attempts") == 2 and status_of(run).get("finishedAt"))


async def test_a_request_that_says_nothing_is_answered_once_and_changes_nothing(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("once", step("a", "noop"))
    async with world.operator():
        await world.run("one", "once")
        await world.finished("one")
        await patched(world, "one", {"metadata": {"annotations": {keys.ANNOTATION_REDRIVE_FROM_STEP: "nonsense"}}})
        observed = keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED
        run = await world.until(STORY_RUN, "one", lambda run: observed in run["metadata"]["annotations"])
    assert run["metadata"]["annotations"][observed] == "nonsense"
    assert (status_of(run)["phase"], status_of(run)["attempts"]) == ("Succeeded", 1)


async def test_runs_that_take_turns_follow_each_other(world: OperatorCluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await held_by(world, gate)
    await world.story("turns", step("hold"), concurrency={"mode": "serial"})
    async with world.operator():
        for name in ("one", "two", "three"):
            await world.run(name, "turns")
            await world.until(STORY_RUN, name, lambda run: bool(status_of(run).get("phase")))
        await world.step("one-hold", "Running")
        assert await world.names(STEP_RUN) == ["one-hold"]
        gate.touch()
        runs = [await world.finished(name) for name in ("one", "two", "three")]
    assert [status_of(run)["phase"] for run in runs] == ["Succeeded"] * 3


def is_queued(run: Object) -> bool:
    state = (status_of(run).get("stepStates") or {}).get("hold") or {}
    queued = str(state.get("message")).startswith("Queued due to global concurrency limit (1 running, limit 1)")
    return queued and state["phase"] == "Pending"


async def test_a_limit_counts_over_all_runs_and_for_whoever_takes_them_up(
    world: OperatorCluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await held_by(world, gate)
    await world.story("busy", step("hold"))
    settings = OperatorSettings(runs=RunSettings(global_concurrency=1))
    async with world.operator(settings):
        await world.run("one", "busy")
        await world.step("one-hold", "Running")
    async with world.operator(settings):
        await world.run("two", "busy")
        await world.until(STORY_RUN, "two", is_queued)
        assert await world.names(STEP_RUN) == ["one-hold"]
        gate.touch()
        runs = [await world.finished(name) for name in ("one", "two")]
    assert [status_of(run)["phase"] for run in runs] == ["Succeeded"] * 2


async def test_a_story_as_it_was_goes_once_no_run_needs_it(
    world: OperatorCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story_revisions, "GRACE", timedelta(milliseconds=300))
    gate = tmp_path / "gate"
    await held_by(world, gate)
    await world.story("report", step("hold"))
    async with world.operator():
        await world.run("one", "report")
        run = await world.until(STORY_RUN, "one", lambda run: "storyRevision" in status_of(run))
        await world.step("one-hold", "Running")
        await patched(world, "report", {"spec": {"version": "2"}}, STORY)
        await trio.sleep(1)
        assert await world.names(CONTROLLER_REVISION) == [status_of(run)["storyRevision"]]
        gate.touch()
        await world.finished("one")
        await world.none_left(CONTROLLER_REVISION)
        await world.run("two", "report")
        await world.finished("two")
        await trio.sleep(1)
        assert len(await world.names(CONTROLLER_REVISION)) == 1
        await world.client.delete(STORY, "report", NAMESPACE_NAME)
        await world.none_left(CONTROLLER_REVISION)
