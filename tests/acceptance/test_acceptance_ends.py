"""StoryRun contract 26.2 (rows 21, 22, 25, 26, 31): timeouts, cancel, output, deletion, and what is kept afterwards."""

from __future__ import annotations

from functools import partial

import trio

from bubu_contract.instants import format_instant, parse_instant
from core.api.keys import ANNOTATION_CANCEL_REQUESTED, FINALIZER_STORY_RUN
from core.api.resource import JOB, POD, STEP_RUN, STORY, STORY_RUN
from fuzz.engine.worker import Act, Script
from tests.acceptance.acceptance_stand import (
    DONE,
    HANGS,
    Stand,
    annotation,
    condition,
    ended,
    engram,
    phases,
    primitive,
    reached,
    scenario,
    status_of,
)

RUN = {"storyRef": {"name": "story"}}
HOLD = "tests.bubustack.io/hold"
CANCEL = {"spec": {"cancelRequested": True}}


@scenario(disturbs=True)
async def test_26_2_21_a_story_whose_time_is_over(stand: Stand) -> None:
    stand.scripts["a"] = HANGS
    policy = {"timeouts": {"story": "1h", "step": "4h"}}
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", "a")], "policy": policy})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "a", "Running")
    await stand.until(partial(_is_at_work, stand, "run-a-"), "the container of a runs")  # else it may be skipped
    started = parse_instant(status_of(stand.find(STORY_RUN, "run"))["startedAt"])
    two_hours_ago = format_instant(type(started).fromtimestamp(started.timestamp() - 7200, started.tzinfo))
    async with stand.away():
        await stand.patch(STORY_RUN, "run", {"status": {"startedAt": two_hours_ago}}, "status")
    run = await ended(stand)
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Timeout", ("False", "TimedOut"))
    assert condition(run, "Degraded")[0] == "True"
    assert status_of(run)["error"]["type"] == "TimedOut"
    assert phases(run) == {"a": "Timeout", "b": "Skipped"}
    await stand.until(lambda: not stand.all(JOB), "nothing of it runs any more")


@scenario()
async def test_26_2_22_cancel_with_a_step_at_work(stand: Stand) -> None:
    stand.scripts.update({"a": HANGS, "stuck": (Script(Act.HANG, grace_seconds=20.0),)})
    for step in ("a", "stuck"):
        policy = {"timeouts": {"gracefulShutdownTimeout": "1s"}}
        nap = primitive("nap", "sleep", with_={"duration": "1h"})
        await stand.create(STORY, step, {"steps": [engram(step), engram("b", step), nap], "policy": policy})
        await stand.create(STORY_RUN, step, {"storyRef": {"name": step}})
        await reached(stand, step, "Running", step)
        await stand.until(partial(_is_at_work, stand, f"{step}-{step}-"), f"the container of {step} runs")
        await stand.patch(STORY_RUN, step, CANCEL)
        run = await ended(stand, step)
        assert (status_of(run)["phase"], condition(run, "Ready")) == ("Finished", ("False", "Canceled"))
        assert phases(run) == {step: "Canceled", "b": "Skipped", "nap": "Canceled"}
        await _was_told_to_end(stand, f"{step}-{step}")
    assert stand.all(POD), "the run did not wait longer than its drain timeout for a container that does not let go"
    assert "b" not in stand.ran


def _is_cleaned_up(stand: Stand, name: str) -> bool:
    return _is_gone(stand, name) or bool(status_of(stand.find(STORY_RUN, name)).get("childrenCleanedAt"))


def _is_gone(stand: Stand, name: str) -> bool:
    return stand.find(STORY_RUN, name) is None


def _is_at_work(stand: Stand, prefix: str) -> bool:
    """Whether a Pod with this prefix runs. The step says so earlier, as soon as there is a Job."""
    pods = [pod for pod in stand.all(POD) if pod["metadata"]["name"].startswith(prefix)]
    return any(status_of(pod).get("phase") == "Running" for pod in pods)


async def _was_told_to_end(stand: Stand, name: str) -> None:
    """Wait until the StepRun says so and its Job is gone. Each kind has its own watch, so these are two waits."""
    look = stand.find
    told = ANNOTATION_CANCEL_REQUESTED
    await stand.until(lambda: annotation(look(STEP_RUN, name), told) == "true", f"{name} is told to end")
    await stand.until(lambda: look(JOB, name) is None, f"the Job {name} is gone")


@scenario()
async def test_26_2_25_an_output_beyond_a_mebibyte(stand: Stand) -> None:
    stand.scripts["a"] = (Script(output={"n": "x" * 60_000}, after_seconds=0.0),)
    output = {f"n{number}": "{{ steps.a.output.n }}" for number in range(18)}
    await stand.create(STORY, "story", {"steps": [engram("a")], "output": output})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], "output" in status_of(run)) == ("Succeeded", False)
    assert condition(run, "Degraded") == ("True", "OutputResolutionFailed")
    assert (condition(run, "Ready"), condition(run, "Progressing")[0]) == (("True", "Completed"), "False")


@scenario()
async def test_26_2_26_an_output_that_violates_its_schema(stand: Stand) -> None:
    stand.scripts["a"] = (Script(output={"n": 1}, after_seconds=0.0),)
    schema = {"type": "object", "required": ["m"]}
    story = {"steps": [engram("a")], "output": {"n": "{{ steps.a.output.n }}"}, "outputsSchema": schema}
    await stand.create(STORY, "story", story)
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Failed", ("False", "OutputSchemaFailed"))
    assert "output" not in status_of(run)


@scenario()
async def test_26_2_31_a_run_deleted_with_steps_at_work(stand: Stand) -> None:
    stand.scripts["a"] = HANGS
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", "a")]})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "a", "Running")
    await stand.until(lambda: stand.ran == ["a"], "its container runs")
    await stand.delete(STORY_RUN, "run")
    await stand.until(lambda: stand.find(STORY_RUN, "run") is None, "the run is gone")
    await stand.until(lambda: not stand.all(STEP_RUN) and not stand.all(JOB) and not stand.all(POD), "all is gone")
    assert stand.ran == ["a"]


@scenario()
async def test_26_2_31_a_run_with_the_finalizer_deleted_with_steps_at_work(stand: Stand) -> None:
    """Runs with stored data have it, and all runs of earlier versions."""
    stand.scripts["a"] = HANGS
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", "a")]})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "a", "Running")
    await stand.until(lambda: stand.ran == ["a"], "its container runs")
    await stand.patch(STORY_RUN, "run", {"metadata": {"finalizers": [FINALIZER_STORY_RUN]}})
    await stand.patch(STEP_RUN, "run-a", {"metadata": {"finalizers": [HOLD]}})
    await stand.delete(STORY_RUN, "run")
    look = stand.find
    await stand.until(
        lambda: ((look(STEP_RUN, "run-a") or {}).get("metadata") or {}).get("deletionTimestamp"),
        "its StepRun is deleted",
    )
    await stand.pause(0.5)
    run = stand.find(STORY_RUN, "run")
    assert run is not None
    assert run["metadata"]["finalizers"] == [FINALIZER_STORY_RUN]
    await stand.patch(STEP_RUN, "run-a", {"metadata": {"finalizers": None}})
    await stand.until(lambda: stand.find(STORY_RUN, "run") is None, "the run is gone")
    await stand.until(lambda: not stand.all(STEP_RUN) and not stand.all(JOB) and not stand.all(POD), "all is gone")
    assert stand.ran == ["a"]


@scenario()
async def test_26_3_08_canceled_and_timed_out_runs_are_cleaned_up(stand: Stand) -> None:
    stand.scripts["a"] = HANGS
    kept = {"execution": {"job": {"ttlSecondsAfterFinished": 1, "storyRunRetentionSeconds": 6}}}
    await stand.create(STORY, "canceled", {"steps": [engram("a")], "policy": kept})
    await stand.create(STORY, "late", {"steps": [engram("a")], "policy": {**kept, "timeouts": {"story": "1s"}}})
    for name in ("canceled", "late"):
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}})
    found: dict[str, str] = {}

    async def see_the_end(name: str) -> None:
        found[name] = status_of(await ended(stand, name))["phase"]

    async with trio.open_nursery() as nursery:  # both at once: neither is there for long
        nursery.start_soon(see_the_end, "late")
        await reached(stand, "a", "Running", "canceled")
        await stand.patch(STORY_RUN, "canceled", CANCEL)
        nursery.start_soon(see_the_end, "canceled")
    assert found == {"canceled": "Finished", "late": "Timeout"}
    for name in ("canceled", "late"):
        await stand.until(partial(_is_cleaned_up, stand, name), f"the children of {name} are cleaned up")
    for name in ("canceled", "late"):
        await stand.until(partial(_is_gone, stand, name), f"{name} is gone")
    await stand.until(lambda: not stand.all(STEP_RUN), "StepRuns are gone")


@scenario()
async def test_26_3_09_retention_zero_keeps_the_run(stand: Stand) -> None:
    policy = {"execution": {"job": {"ttlSecondsAfterFinished": 0, "storyRunRetentionSeconds": 0}}}
    await stand.create(STORY, "story", {"steps": [engram("a")], "policy": policy})
    await stand.create(STORY_RUN, "run", RUN)
    await ended(stand)
    look = stand.find
    await stand.until(lambda: status_of(look(STORY_RUN, "run")).get("childrenCleanedAt"), "children cleaned")
    await stand.until(lambda: not stand.all(STEP_RUN), "StepRuns are gone")
    await stand.pause(1.0)
    assert status_of(stand.find(STORY_RUN, "run"))["phase"] == "Succeeded"


@scenario(disturbs=True)
async def test_26_3_12_a_lowered_limit_neither_fails_nor_holds_a_run(stand: Stand) -> None:
    stand.scripts["b"] = HANGS
    await stand.create(STORY, "over", {"steps": [engram("a")]})
    await stand.create(STORY, "going", {"steps": [engram("b"), engram("c", "b")]})
    for name in ("over", "going"):
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}, "inputs": {"x": "y" * 500}})
    await ended(stand, "over")
    await reached(stand, "b", "Running", "going")
    async with stand.away(max_inline_inputs_size_bytes=300):
        stand.scripts["c"] = DONE
    await stand.pause(0.5)
    assert status_of(stand.find(STORY_RUN, "over"))["phase"] == "Succeeded"
    assert status_of(stand.find(STORY_RUN, "going"))["phase"] == "Running"
    for name in ("over", "going"):
        await stand.delete(STORY_RUN, name)
    await stand.until(lambda: not stand.all(STORY_RUN) and not stand.all(STEP_RUN), "both are gone")
