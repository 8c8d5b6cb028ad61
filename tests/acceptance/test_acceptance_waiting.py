"""StoryRun contract 26.2 (rows 14 to 16) and ``stop``: gates, waits and sleeps, and a run that ends itself."""

from __future__ import annotations

import json

from bubu_contract.instants import parse_instant
from core.api.keys import ANNOTATION_STEP_TIMERS
from core.api.resource import STORY, STORY_RUN
from tests.acceptance.acceptance_stand import (
    HANGS,
    Stand,
    annotation,
    condition,
    ended,
    engram,
    message,
    phases,
    primitive,
    reached,
    scenario,
    status_of,
)

RUN = {"storyRef": {"name": "story"}}


@scenario()
async def test_26_2_14_a_gate_without_settings(stand: Stand) -> None:
    await stand.create(STORY, "story", {"steps": [primitive("approve", "gate"), engram("b", "approve")]})
    for name, decision, phase in (("yes", "Approved", "Succeeded"), ("no", "Rejected", "Failed")):
        await stand.create(STORY_RUN, name, RUN)
        await reached(stand, "approve", "Paused", name)
        assert status_of(stand.find(STORY_RUN, name))["phase"] == "Running"
        gate = {"state": decision, "message": f"{name}, said Ann"}
        await stand.patch(STORY_RUN, name, {"status": {"gates": {"approve": gate}}}, "status")
        run = await ended(stand, name)
        assert (status_of(run)["phase"], phases(run)["approve"]) == (phase, phase)
        assert message(run, "approve") == f"{name}, said Ann"
    assert stand.ran == ["b"]


@scenario()
async def test_26_2_15_a_wait_whose_time_is_over(stand: Stand) -> None:
    for name, more, phase in (("skipping", {"onTimeout": "skip"}, "Skipped"), ("failing", {}, "Timeout")):
        wait = primitive("ready", "wait", with_={"until": "{{ inputs.go }}", "timeout": "3s", **more})
        await stand.create(STORY, name, {"steps": [wait]})
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}, "inputs": {"go": False}})
        await reached(stand, "ready", "Paused", name)
        run = await ended(stand, name)
        assert phases(run) == {"ready": phase}
        assert status_of(run)["phase"] == ("Succeeded" if more else "Failed")


@scenario(disturbs=True)
async def test_26_2_16_a_sleep_keeps_its_instant_over_a_restart(stand: Stand) -> None:
    await stand.create(STORY, "story", {"steps": [primitive("nap", "sleep", with_={"duration": "8s"})]})
    await stand.create(STORY_RUN, "run", RUN)
    await reached(stand, "nap", "Paused")
    timers = annotation(stand.find(STORY_RUN, "run"), ANNOTATION_STEP_TIMERS)
    assert timers is not None
    await stand.pause(4.0)
    async with stand.away():
        await stand.pause(0.5)
    run = await ended(stand)
    assert phases(run) == {"nap": "Succeeded"}
    due = parse_instant(json.loads(timers)["nap"]["sleepUntil"])
    late = parse_instant(status_of(run)["stepStates"]["nap"]["finishedAt"]) - due
    assert -1.0 < late.total_seconds() < 3.0, "the instant of the first start counts; what is stored is cut to seconds"


@scenario()
async def test_26_3_05_stop_ends_the_run_in_its_phase(stand: Stand) -> None:
    stand.scripts["c"] = HANGS
    for phase in ("Failed", "Finished"):
        name = phase.lower()
        halt = primitive("halt", "stop", "a", with_={"phase": phase, "message": "enough"})
        await stand.create(STORY, name, {"steps": [engram("a"), halt, engram("b", "halt"), engram("c")]})
        await stand.create(STORY_RUN, name, {"storyRef": {"name": name}})
        run = await ended(stand, name)
        assert (status_of(run)["phase"], status_of(run)["message"]) == (phase, "enough")
        assert condition(run, "Ready") == ("False", "Stopped")
        found = phases(run)
        assert (found["halt"], found["b"]) == (phase, "Skipped")
        assert found["c"] in ("Canceled", "Skipped")
    assert "b" not in stand.ran
