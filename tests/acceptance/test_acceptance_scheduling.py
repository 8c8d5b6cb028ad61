"""StoryRun contract 26.2 (rows 27 and 28): limits, priorities and aging."""

from __future__ import annotations

from core.api.resource import STEP_RUN, STORY, STORY_RUN
from fuzz.engine.worker import Script
from tests.acceptance.acceptance_stand import (
    AGING,
    ALSO_NARROW,
    NARROW,
    Stand,
    ended,
    engram,
    message,
    phases,
    scenario,
    status_of,
)

STORY_LIMIT = "Queued due to story concurrency limit"
QUEUE_LIMIT = "Queued due to queue concurrency limit"
OUTRANKED = "Queued due to higher-priority work"


@scenario()
async def test_26_2_27_a_story_at_its_limit(stand: Stand) -> None:
    for step in ("a", "b"):  # either may get the slot
        stand.hold(step)
    await stand.create(STORY, "story", {"steps": [engram("a"), engram("b")], "policy": {"concurrency": 1}})
    await stand.create(STORY_RUN, "first", {"storyRef": {"name": "story"}})
    await stand.until(lambda: len(stand.ran) == 1, "the first step runs")
    [running] = stand.ran
    await stand.create(STORY_RUN, "second", {"storyRef": {"name": "story"}})
    for step in ("a", "b"):
        await _queued(stand, "second", step, STORY_LIMIT)
    assert "(1 running, limit 1)" in message(stand.find(STORY_RUN, "second"), "a")
    assert {obj["metadata"]["name"] for obj in stand.all(STEP_RUN)} == {f"first-{running}"}
    for step in ("a", "b"):
        stand.let_go(step)
    for name in ("first", "second"):
        assert status_of(await ended(stand, name))["phase"] == "Succeeded"
    assert stand.at_once == 1


@scenario()
async def test_26_2_28_work_of_a_higher_priority_goes_first(stand: Stand) -> None:
    await _with_priorities(stand, NARROW, {"holder": 0, "low": 0, "high": 5})
    await stand.create(STORY_RUN, "holder", {"storyRef": {"name": "holder"}})
    await stand.until(lambda: stand.ran == ["holder"], "the slot is taken")
    await stand.create(STORY_RUN, "low", {"storyRef": {"name": "low"}})
    await _queued(stand, "low", "low", QUEUE_LIMIT)
    await stand.create(STORY_RUN, "high", {"storyRef": {"name": "high"}})
    await _queued(stand, "high", "high", QUEUE_LIMIT)
    stand.let_go("holder")
    for name in ("holder", "low", "high"):
        assert status_of(await ended(stand, name))["phase"] == "Succeeded"
    assert stand.ran == ["holder", "high", "low"]
    assert stand.at_once == 1


@scenario()
async def test_26_2_28_whoever_waits_behind_higher_priority_work_says_so(stand: Stand) -> None:
    await _with_priorities(stand, ALSO_NARROW, {"holder": 0, "high": 5, "low": 0})
    await stand.create(STORY_RUN, "holder", {"storyRef": {"name": "holder"}})
    await stand.until(lambda: stand.ran == ["holder"], "the slot is taken")
    await stand.create(STORY_RUN, "high", {"storyRef": {"name": "high"}})
    await _queued(stand, "high", "high", QUEUE_LIMIT)
    await stand.create(STORY_RUN, "low", {"storyRef": {"name": "low"}})
    await _queued(stand, "low", "low", OUTRANKED)
    stand.let_go("holder")
    for name in ("holder", "low", "high"):
        assert status_of(await ended(stand, name))["phase"] == "Succeeded"
    assert stand.ran == ["holder", "high", "low"]


@scenario()
async def test_26_2_28_waiting_lifts_the_priority(stand: Stand) -> None:
    await _with_priorities(stand, AGING, {"holder": 0, "low": 0, "high": 1})
    await stand.create(STORY_RUN, "holder", {"storyRef": {"name": "holder"}})
    await stand.until(lambda: stand.ran == ["holder"], "the slot is taken")
    await stand.create(STORY_RUN, "low", {"storyRef": {"name": "low"}})
    await _queued(stand, "low", "low", QUEUE_LIMIT)
    await stand.pause(2.2)
    await stand.create(STORY_RUN, "high", {"storyRef": {"name": "high"}})
    await _queued(stand, "high", "high", "Queued due to ")
    stand.let_go("holder")
    for name in ("holder", "low", "high"):
        assert status_of(await ended(stand, name))["phase"] == "Succeeded"
    assert stand.ran == ["holder", "low", "high"]


@scenario()
async def test_26_3_10_a_burst_never_exceeds_a_limit_of_one(stand: Stand) -> None:
    stand.scripts.update({name: (Script(after_seconds=0.1),) for name in "abc"})
    await stand.create(STORY, "story", {"steps": [engram(name) for name in "abc"], "policy": {"concurrency": 1}})
    names = [f"run-{number}" for number in range(3)]
    for name in names:
        await stand.create(STORY_RUN, name, {"storyRef": {"name": "story"}})
    for name in names:
        assert status_of(await ended(stand, name, seconds=40.0))["phase"] == "Succeeded"
    assert stand.at_once == 1
    assert sorted(stand.ran) == sorted("abc" * 3)


async def _with_priorities(stand: Stand, queue: str, priorities: dict[str, int]) -> None:
    """A Story for each name, with one step of that name, in a queue with a single slot."""
    stand.hold("holder")
    for name, priority in priorities.items():
        policy = {"queue": queue, "priority": priority}
        await stand.create(STORY, name, {"steps": [engram(name)], "policy": policy})


async def _queued(stand: Stand, run: str, step: str, prefix: str) -> None:
    def waits() -> bool:
        found = stand.find(STORY_RUN, run)
        return phases(found).get(step) == "Pending" and message(found, step).startswith(prefix)

    await stand.until(waits, f"{step} of {run} is queued: {prefix}")
