"""StoryRun contract 26.2 (rows 17 to 20): runs that start runs."""

from __future__ import annotations

from core.api.resource import STORY, STORY_RUN
from fuzz.engine.worker import Script
from tests.acceptance.acceptance_stand import (
    FAILS,
    HANGS,
    Stand,
    call,
    ended,
    engram,
    message,
    phases,
    reached,
    reference,
    scenario,
    status_of,
)

RUN = {"storyRef": {"name": "story"}}


@scenario()
async def test_26_2_17_a_step_mirrors_the_child_it_waits_for(stand: Stand) -> None:
    stand.scripts.update({"good": (Script(after_seconds=0.3),), "bad": FAILS})
    for name, phase in (("good", "Succeeded"), ("bad", "Failed")):
        await stand.create(STORY, f"child-{name}", {"steps": [engram(name)]})
        steps = [call("sub", story=f"child-{name}", waitForCompletion=True)]
        await stand.create(STORY, name, {"steps": steps})
        parent = await stand.create(STORY_RUN, name, {"storyRef": {"name": name}})
        run = await ended(stand, name)
        child = stand.find(STORY_RUN, f"{name}-sub")
        assert child is not None
        assert (phases(run), status_of(run)["phase"]) == ({"sub": phase}, phase)
        assert status_of(child)["phase"] == phase
        assert message(run, "sub") == status_of(child)["message"]
        [owner] = child["metadata"]["ownerReferences"]
        assert {key: owner[key] for key in ("kind", "name", "uid", "controller")} == {
            key: reference(parent)[key] for key in ("kind", "name", "uid", "controller")
        }
        assert child["metadata"]["namespace"] == stand.namespace


@scenario()
async def test_26_2_18_without_waiting_the_step_succeeds_at_once(stand: Stand) -> None:
    stand.scripts["work"] = HANGS
    await stand.create(STORY, "child", {"steps": [engram("work")]})
    await stand.create(STORY, "story", {"steps": [call("sub", waitForCompletion=False)]})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert status_of(run)["phase"] == "Succeeded"
    assert status_of(run)["stepStates"]["sub"]["subStoryRunName"] == "run-sub"
    await reached(stand, "work", "Running", "run-sub")
    assert "finishedAt" not in status_of(stand.find(STORY_RUN, "run-sub"))


@scenario()
async def test_26_2_19_a_foreign_run_of_the_name_is_not_adopted(stand: Stand) -> None:
    await stand.create(STORY, "child", {"steps": [engram("work")]})
    foreign = await stand.create(STORY_RUN, "run-sub", {"storyRef": {"name": "child"}})
    await stand.create(STORY, "story", {"steps": [call("sub")]})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert phases(run) == {"sub": "Failed"}
    await stand.until(lambda: ("Warning", "SubStoryRunSpoofed") in stand.told(), "the stranger is told of")
    left = stand.find(STORY_RUN, "run-sub")
    assert left is not None
    assert left["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert not left["metadata"].get("ownerReferences")


@scenario()
async def test_26_2_20_inputs_of_both_sides_are_merged(stand: Stand) -> None:
    await stand.create(STORY, "child", {"steps": [engram("work")], "policy": {"with": {"a": 1, "s": "x"}}})
    await stand.create(STORY, "story", {"steps": [call("sub", with_={"b": 2, "s": "y"})]})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert status_of(run)["phase"] == "Succeeded"
    child = stand.find(STORY_RUN, "run-sub")
    assert child is not None
    assert child["spec"]["inputs"] == {"a": 1, "b": 2, "s": "y"}


@scenario()
async def test_26_3_02_an_omitted_wait_waits(stand: Stand) -> None:
    stand.scripts["work"] = (Script(after_seconds=0.5),)
    await stand.create(STORY, "child", {"steps": [engram("work")]})
    await stand.create(STORY, "story", {"steps": [call("sub"), engram("next", "sub")]})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], phases(run)) == ("Succeeded", {"sub": "Succeeded", "next": "Succeeded"})
    assert stand.ran == ["work", "next"]


@scenario()
async def test_26_3_03_the_output_of_a_child_that_is_the_last_step(stand: Stand) -> None:
    stand.scripts["work"] = (Script(after_seconds=0.2, output={"n": 7}),)
    await stand.create(STORY, "child", {"steps": [engram("work")], "output": {"n": "{{ steps.work.output.n }}"}})
    await stand.create(STORY, "story", {"steps": [call("sub")], "output": {"n": "{{ steps.sub.output.n }}"}})
    await stand.create(STORY_RUN, "run", RUN)
    run = await ended(stand)
    assert (status_of(run)["phase"], status_of(run)["output"]) == ("Succeeded", {"n": 7})
    assert status_of(run)["stepStates"]["sub"]["subStoryRunName"] == "run-sub"
