"""StoryRun contract 26.2 (rows 23 and 24): redrives."""

from __future__ import annotations

from core.api.keys import (
    ANNOTATION_REDRIVE_FROM_STEP,
    ANNOTATION_REDRIVE_FROM_STEP_OBSERVED,
    ANNOTATION_REDRIVE_OBSERVED,
    ANNOTATION_REDRIVE_TOKEN,
)
from core.api.resource import STEP_RUN, STORY, STORY_RUN
from fuzz.engine.worker import Script
from tests.acceptance.acceptance_stand import (
    DONE,
    FAILS,
    HANGS,
    Stand,
    annotation,
    ended,
    engram,
    phases,
    reached,
    scenario,
    status_of,
    succeeded,
)

RUN = {"storyRef": {"name": "story"}}


@scenario()
async def test_26_2_23_a_full_redrive(stand: Stand) -> None:
    stand.scripts["b"] = FAILS
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b", "a"), engram("c", "b")]})
    await stand.create(STORY_RUN, "run", RUN)
    failed = await ended(stand)
    assert (status_of(failed)["phase"], status_of(failed)["attempts"]) == ("Failed", 1)
    before = _uids(stand)
    run = await _mended(stand, ANNOTATION_REDRIVE_TOKEN, "again")
    assert succeeded(run)
    assert status_of(run)["attempts"] == 2
    assert phases(run) == {"a": "Succeeded", "b": "Succeeded", "c": "Succeeded"}
    assert stand.ran == ["a", "b", "a", "b", "c"]
    assert before.isdisjoint(_uids(stand)), "children were deleted before anything started again"
    assert annotation(run, ANNOTATION_REDRIVE_OBSERVED) == "again"
    assert "error" not in status_of(run)


@scenario()
async def test_26_2_24_a_redrive_from_a_step(stand: Stand) -> None:
    stand.scripts.update({"a": (Script(output={"n": 5}, after_seconds=0.0),), "b": FAILS})
    steps = [engram("a"), engram("x"), engram("b", "a"), engram("c", "b", with_={"n": "{{ steps.a.output.n }}"})]
    await stand.create(STORY, "story", {"steps": steps, "output": {"n": "{{ steps.a.output.n }}"}})
    await stand.create(STORY_RUN, "run", RUN)
    kept = status_of(await ended(stand))["stepStates"]["a"]
    ran = len(stand.ran)
    run = await _mended(stand, ANNOTATION_REDRIVE_FROM_STEP, "b:1")
    assert stand.ran[ran:] == ["b", "c"]
    assert (status_of(run)["phase"], status_of(run)["attempts"]) == ("Succeeded", 2)
    assert status_of(run)["output"] == {"n": 5}
    assert status_of(run)["stepStates"]["a"] == kept
    assert annotation(run, ANNOTATION_REDRIVE_FROM_STEP_OBSERVED) == "b:1"


@scenario()
async def test_26_3_13_a_malformed_redrive_does_not_block_cancel(stand: Stand) -> None:
    stand.scripts["a"] = HANGS
    await stand.create(STORY, "story", {"steps": [engram("a")]})
    for value in ("nonsense", "ghost:1"):
        name = value.partition(":")[0]
        await stand.create(STORY_RUN, name, RUN)
        await reached(stand, "a", "Running", name)
        await stand.patch(STORY_RUN, name, {"metadata": {"annotations": {ANNOTATION_REDRIVE_FROM_STEP: value}}})
        await stand.patch(STORY_RUN, name, {"spec": {"cancelRequested": True}})
        run = await ended(stand, name)
        assert (status_of(run)["phase"], phases(run)) == ("Finished", {"a": "Canceled"})
    await stand.until(lambda: ("Warning", "RedriveInvalid") in stand.told(), "the bad request is told of")


def _uids(stand: Stand) -> set[str]:
    return {obj["metadata"]["uid"] for obj in stand.all(STEP_RUN)}


async def _mended(stand: Stand, request: str, value: str) -> dict[str, object]:
    """Remove the cause of the failure, request a redrive, and wait for the end of the second attempt."""
    stand.scripts["b"] = DONE
    await stand.patch(STORY_RUN, "run", {"metadata": {"annotations": {request: value}}})
    look = stand.find
    await stand.until(lambda: status_of(look(STORY_RUN, "run")).get("attempts") == 2, "a second attempt")
    return await ended(stand)
