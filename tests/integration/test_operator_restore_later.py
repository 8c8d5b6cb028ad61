"""A backup of runs that waited, restored hours later, or with the usual setting, which ends them. Nothing runs twice.

How they go on with ``storyrun.restored: resume`` at once is in ``test_operator_restore_waiting``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import orjson
import pytest

from bubu_contract.instants import format_instant, parse_instant
from core.api.objects import Object
from core.api.resource import STORY, STORY_RUN, TRANSPORT
from tests.integration.backup_tool import Backup, backup
from tests.integration.operator_cluster import NAMESPACE_NAME, status_of, step, step_phases
from tests.integration.restore_scene import ONE_RETRY, RESUME, USUAL, Scene, open_scene, reason_of, settled
from tests.integration.test_operator_live_runs import ALWAYS_ON, definitions, is_running, shown

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
NEVER: Final = '{{ gt (now | date "2006" | int) 9000 }}'


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        yield opened


async def saved_while(scene: Scene, holds: Callable[[Object], bool], *steps: Object) -> Backup:
    """The backup of run ``one`` of these steps, made when ``holds`` accepted it."""
    await scene.old.story("report", *steps)
    async with scene.old.operator():
        await scene.old.run("one", "report")
        await scene.old.until(STORY_RUN, "one", holds)
        return await backup(scene.old.client, NAMESPACE_NAME)


def waits_at(name: str) -> Callable[[Object], bool]:
    return lambda run: step_phases(run).get(name) == "Paused"


def aged(saved: Backup, by: timedelta) -> Backup:
    """The same backup, made so much earlier: every instant in the runs is."""

    def earlier(found: re.Match[str]) -> str:
        return format_instant(parse_instant(found[0]) - by)

    return {
        kind: [orjson.loads(_INSTANT.sub(earlier, orjson.dumps(obj).decode())) for obj in objects]
        for kind, objects in saved.items()
    }


GATE: Final = {"name": "ask", "type": "gate", "needs": ["a"], "with": {"timeout": "2h", "onTimeout": "fail"}}


async def test_a_decision_that_is_in_the_backup_counts(scene: Scene) -> None:
    """It was made when no operator was there any more to see it."""
    saved = await saved_while(scene, waits_at("ask"), step("a", "quick"), GATE, step("c", "quick", needs=["ask"]))
    [run] = saved[STORY_RUN]
    run["status"]["gates"] = {"ask": {"state": "Rejected"}}
    async with scene.another(saved) as new, new.operator(RESUME):
        run = await settled(new, "one")
    assert step_phases(run)["ask"] == "Failed"
    assert "reject" in status_of(run)["stepStates"]["ask"]["message"].lower()
    assert scene.executions == {"one/a": 1}


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        (GATE, "TimedOut"),
        ({"name": "ask", "type": "wait", "needs": ["a"], "with": {"until": NEVER, "timeout": "2h"}}, "TimedOut"),
        ({"name": "ask", "type": "sleep", "needs": ["a"], "with": {"duration": "2h"}}, ""),
    ],
    ids=["gate", "wait", "sleep"],
)
async def test_instants_stay_what_they_were(scene: Scene, waiting: Object, reason: str) -> None:
    """After three hours without a cluster, what was to last for two of them is over."""
    saved = await saved_while(scene, waits_at("ask"), step("a", "quick"), waiting, step("c", "quick", needs=["ask"]))
    async with scene.another(aged(saved, timedelta(hours=3))) as new, new.operator(RESUME):
        run = await settled(new, "one")
    assert status_of(run)["phase"] == ("Failed" if reason else "Succeeded")
    if reason:
        assert status_of(run)["stepStates"]["ask"]["reason"] == reason
    assert scene.executions == ({"one/a": 1} if reason else {"one/a": 1, "one/c": 1})


@pytest.mark.parametrize("kind", ["gate", "wait", "sleep"])
async def test_without_the_setting_a_run_that_waits_ends(scene: Scene, kind: str) -> None:
    options = {"gate": {"timeout": "2h"}, "wait": {"until": NEVER, "timeout": "2h"}, "sleep": {"duration": "2h"}}
    waiting = {"name": "ask", "type": kind, "needs": ["a"], "with": options[kind]}
    saved = await saved_while(scene, waits_at("ask"), step("a", "quick"), waiting, step("c", "quick", needs=["ask"]))
    async with scene.another(saved) as new, new.operator(USUAL):
        run = await settled(new, "one")
    assert (status_of(run)["phase"], reason_of(run)) == ("Failed", "Restored")
    assert step_phases(run) == {"a": "Succeeded", "ask": "Canceled"}
    assert scene.executions == {"one/a": 1}


async def test_without_the_setting_runs_that_wait_for_their_turn_end_too(scene: Scene) -> None:
    """The first was at work, the others had not begun."""
    names = ("one", "two", "three")
    await scene.old.story("turns", step("b", "held", execution=ONE_RETRY), concurrency={"mode": "serial"})
    async with scene.old.operator():
        for name in names:
            await scene.old.run(name, "turns")
            await scene.old.until(STORY_RUN, name, lambda run: bool(status_of(run).get("phase")))
        await scene.old.step("one-b", "Running")
        saved = await backup(scene.old.client, NAMESPACE_NAME)
    scene.go.touch()
    async with scene.another(saved) as new, new.operator(USUAL):
        runs = [await settled(new, name) for name in names]
    assert [reason_of(run) for run in runs] == ["Restored"] * 3
    assert scene.executions == {"one/b": 1}


@pytest.mark.parametrize("resumes", [True, False], ids=["resume", "end"])
async def test_a_story_that_is_always_on_gets_a_new_run(scene: Scene, resumes: bool) -> None:
    """A realtime run is not continued: its streams are gone."""
    await definitions(scene.old)
    async with scene.old.operator():
        await scene.old.story("talk", step("listen", "ears"), **ALWAYS_ON)
        first = await shown(scene.old, "LiveRunRunning")
        await scene.old.until(STORY_RUN, first, is_running)
        saved = await backup(scene.old.client, NAMESPACE_NAME)
    async with scene.another({kind: saved[kind] for kind in saved if kind is not STORY}) as new:
        spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
        await new.create(TRANSPORT, "hub", spec, namespaced=False)
        new.image("ears", "exit 0")
        [story] = saved[STORY]
        await new.create(STORY, "talk", story["spec"])
        async with new.operator(RESUME if resumes else USUAL):
            second = await shown(new, "LiveRunRunning", other_than=first)
            ended = await new.finished(first)
    assert second != first
    assert (status_of(ended)["phase"], reason_of(ended)) == ("Failed", "Restored")
