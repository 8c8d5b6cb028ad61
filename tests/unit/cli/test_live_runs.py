"""The commands and the run that the operator keeps of a Story."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from cli.exit_code import ExitCode
from cli.live_runs import awaited_live_run, live_run_named, refuse_choices
from cli.problem import CommandError, UsageError
from cli.runs import find_run, run_manifest, start_run
from cli.session import Session
from cli.watching import Watched
from core.api.objects import Object
from core.api.resource import STORY

PLACE = "default"


async def a_story(session: Session, **spec: Any) -> Object:
    steps = [{"name": "listen", "ref": {"name": "ears"}}]
    spec = {"pattern": "realtime", "streamingStrategy": "PerStory", "steps": steps, **spec}
    typed = {"apiVersion": STORY.api_version, "kind": STORY.kind, "metadata": {"name": "talk"}, "spec": spec}
    return await session.client.create(STORY, typed, namespace=PLACE)


async def says(session: Session, story: Object, reason: str, run: str = "", *, generation: int = 1) -> None:
    condition = {
        "type": "LiveRun",
        "status": "True",
        "reason": reason,
        "message": f"it is {reason}",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    ready = {**condition, "type": "Ready"}
    status = {"conditions": [ready, condition], "liveRun": run or None}
    await session.client.patch(
        STORY, story["metadata"]["name"], {"status": status}, namespace=PLACE, subresource="status"
    )


async def test_a_story_that_is_always_on_names_its_run(session: Session) -> None:
    story = await a_story(session)
    for name in ("talk-live-1", "talk-live-2"):
        await start_run(session, run_manifest("talk", PLACE, {}, name=name))
    assert await live_run_named(session, "talk") is None
    with pytest.raises(CommandError, match="is a prefix of 2 runs"):
        await find_run(session, "talk")
    await says(session, story, "LiveRunRunning", "talk-live-1")
    assert (await find_run(session, "talk"))["metadata"]["name"] == "talk-live-1"
    assert (await find_run(session, "talk-live-2"))["metadata"]["name"] == "talk-live-2"


async def test_a_command_waits_until_the_operator_has_started_the_run_of_this_generation(session: Session) -> None:
    story = await a_story(session)
    await start_run(session, run_manifest("talk", PLACE, {}, name="talk-live-1"))
    await says(session, story, "LiveRunRunning", "talk-live-0", generation=0)
    found: list[Object] = []

    async def wait() -> None:
        found.append(await awaited_live_run(session, "talk", PLACE, seconds=60))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(0.3)
        assert found == []
        await says(session, story, "LiveRunEnding", "talk-live-1")
        await trio.sleep(0.3)
        assert found == []
        await says(session, story, "LiveRunRunning", "talk-live-1")
    assert [run["metadata"]["name"] for run in found] == ["talk-live-1"]


@pytest.mark.parametrize("reason", ["LiveRunNotStarted", "LiveRunNameConflict", "LiveRunRefused"])
async def test_a_command_says_why_there_will_be_no_run(session: Session, reason: str) -> None:
    await says(session, await a_story(session), reason)
    with pytest.raises(CommandError, match=f"it is {reason}"):
        await awaited_live_run(session, "talk", PLACE, seconds=60)


async def test_a_command_does_not_wait_for_ever(session: Session) -> None:
    await a_story(session)
    with pytest.raises(CommandError, match="the operator has not processed it yet") as caught:
        await awaited_live_run(session, "talk", PLACE, seconds=0.1)
    assert caught.value.code is ExitCode.WAIT_TIMED_OUT


def test_nobody_chooses_the_inputs_or_the_name_of_such_a_run() -> None:
    refuse_choices("talk", {}, "", None)
    for inputs, name in (({"room": 7}, ""), ({}, "mine")):
        with pytest.raises(UsageError, match="streamingStrategy: PerStory"):
            refuse_choices("talk", inputs, name, None)


async def test_whoever_detaches_is_told_that_the_operator_keeps_the_run_and_how_to_stop_it(session: Session) -> None:
    watched = Watched(always_on=True, streams=True)
    watched.begin(session, {"metadata": {"name": "talk-live-1"}})
    assert "the operator keeps it running" in watched.farewell()
    assert "bobrapet cancel talk-live-1" in watched.farewell()
