"""StoryRun contract 26.2 (rows 8 to 13): what a failed step means for other steps, for completed work, for the run."""

from __future__ import annotations

from core.api.resource import ENGRAM, STEP_RUN, STORY, STORY_RUN
from tests.acceptance.acceptance_stand import (
    ENGRAM_NAME,
    FAILS,
    Stand,
    condition,
    ended,
    engram,
    message,
    phases,
    reached,
    scenario,
    status_of,
)

RUN = {"storyRef": {"name": "story"}}
CONTINUE = {"retries": {"continueOnStepFailure": True}}
UNDO = {"compensations": [engram("undo", "a")], "finally": [engram("clean", "undo")]}


@scenario()
async def test_26_2_8_the_first_failure_skips_what_has_not_started(stand: Stand) -> None:
    stand.hold("a", FAILS[0])
    stand.hold("c")
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", "c"), engram("c")]})
    await stand.create(STORY_RUN, "run", RUN)
    await stand.until(lambda: sorted(stand.ran) == ["a", "c"], "both run")
    stand.let_go("a")
    await reached(stand, "b", "Skipped")
    assert "finishedAt" not in status_of(stand.find(STORY_RUN, "run"))
    stand.let_go("c")
    run = await ended(stand)
    assert phases(run) == {"a": "Failed", "b": "Skipped", "c": "Succeeded"}
    assert (status_of(run)["phase"], condition(run, "Ready")) == ("Failed", ("False", "DependencyFailed"))
    assert condition(run, "Degraded")[0] == "True"
    assert [step["name"] for step in status_of(run)["error"]["failedSteps"]] == ["a"]
    assert status_of(run)["triggerTokens"][-1] == "impulse-failed"


@scenario()
async def test_26_2_9_with_continue_only_dependents_are_skipped(stand: Stand) -> None:
    stand.scripts["a"] = FAILS
    steps = [engram("a"), engram("pause"), engram("b", "pause"), engram("d", "a")]
    stand.hold("pause")
    await stand.create(STORY, "story", {"steps": steps, "policy": CONTINUE})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "d", "Skipped")
    stand.let_go("pause")
    run = await ended(stand)
    assert phases(run) == {"a": "Failed", "pause": "Succeeded", "b": "Succeeded", "d": "Skipped"}
    assert (status_of(run)["phase"], condition(run, "Ready")[1]) == ("Failed", "DependencyFailed")


@scenario()
async def test_26_3_06_a_skip_for_a_failure_spreads(stand: Stand) -> None:
    stand.scripts["a"] = FAILS
    steps = [engram("a"), engram("b", "a"), engram("c", "b"), engram("d", if_="{{ steps.c.output.n }}")]
    await stand.create(STORY, "story", {"steps": steps, "policy": CONTINUE})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert phases(run) == {"a": "Failed", "b": "Skipped", "c": "Skipped", "d": "Skipped"}
    assert stand.ran == ["a"]


@scenario()
async def test_26_2_10_a_failure_that_is_allowed(stand: Stand) -> None:
    stand.scripts["a"] = FAILS
    await stand.create(STORY, "story", {"steps": [engram("a", allowFailure=True), engram("b", "a")]})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], phases(run)) == ("Succeeded", {"a": "Failed", "b": "Succeeded"})
    assert status_of(run)["message"].endswith("allowed to fail: a")
    assert status_of(run)["allowedFailures"] == ["a"]


@scenario()
async def test_26_2_11_what_was_done_is_undone_and_cleaned_up(stand: Stand) -> None:
    stand.scripts["b"] = FAILS
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", "a")], **UNDO})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert stand.ran == ["a", "b", "undo", "clean"]
    assert (status_of(run)["phase"], condition(run, "Ready")[1]) == ("Compensated", "Compensated")
    assert condition(run, "Degraded")[0] == "False"


@scenario()
async def test_26_2_12_a_compensation_or_finally_step_fails(stand: Stand) -> None:
    stand.scripts.update({"b": FAILS, "bad-undo": FAILS, "bad-clean": FAILS})
    for name, undo, clean, reason in (
        ("undoing", "bad-undo", "clean", "CompensationFailed"),
        ("cleaning", "undo", "bad-clean", "CleanupFailed"),
        ("both", "bad-undo", "bad-clean", "CleanupFailed"),
    ):
        cleanup = {"compensations": [engram(undo)], "finally": [engram(clean)]}
        await stand.create(STORY, name, {"steps": [engram("b")], **cleanup})
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}})
        run = await ended(stand, name)
        assert (status_of(run)["phase"], condition(run, "Ready")[1]) == ("Failed", reason)
        assert status_of(run)["error"]["type"] == reason


@scenario()
async def test_26_2_13_nothing_is_undone_when_nothing_failed(stand: Stand) -> None:
    await stand.create(STORY, "story", {"steps": [engram("a")], **UNDO})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert status_of(run)["phase"] == "Succeeded"
    assert phases(run) == {"a": "Succeeded", "undo": "Skipped", "clean": "Succeeded"}


@scenario()
async def test_26_3_11_a_missing_engram_fails_its_step_alone_at_the_end_of_its_time(stand: Stand) -> None:
    steps = [{"name": "a", "ref": {"name": "ghost"}, "execution": {"timeout": "1s"}}, engram("b")]
    await stand.create(STORY, "story", {"steps": steps, "policy": CONTINUE})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert phases(run) == {"a": "Timeout", "b": "Succeeded"}
    said = message(run, "a").replace(" (timeout from: Story step)", "")  # the model has no layers
    assert said.startswith("timed out after 1s: Engram ")
    assert [obj["metadata"]["name"] for obj in stand.all(STEP_RUN)] == ["run-b"]
    await stand.until(lambda: ("Warning", "EngramNotFound") in stand.told(), "the missing Engram is told of")


@scenario()
async def test_26_3_11_an_engram_that_is_applied_late_is_waited_for(stand: Stand) -> None:
    await stand.create(STORY, "story", {"steps": [{"name": "a", "ref": {"name": "late"}}, engram("b")]})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "b", "Succeeded")
    await reached(stand, "a", "Pending")
    state = status_of(stand.find(STORY_RUN, "run"))["stepStates"]["a"]
    assert (state["reason"], bool(state["reasonSince"])) == ("EngramNotFound", True)
    await stand.create(ENGRAM, "late", {"version": "1.0.0", "templateRef": {"name": ENGRAM_NAME}})
    run = await ended(stand)
    assert (phases(run), stand.ran) == ({"a": "Succeeded", "b": "Succeeded"}, ["b", "a"])
