"""Runs of a restored cluster that waited when the backup was made: they wait on, and their work is done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.api.objects import Object
from core.api.resource import STORY_RUN
from core.engine.clock import system_now
from tests.integration.backup_tool import Owners, backup
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OperatorCluster,
    status_of,
    step,
    step_phases,
)
from tests.integration.restore_scene import ONE_RETRY, RESUME, Scene, open_scene

APPROVED = {"status": {"gates": {"waits": {"state": "Approved"}}}}
WAITING = {"Pending", "Running", "Paused", "Blocked"}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("owners", [Owners.DROPPED, Owners.MAPPED])
async def test_gate_wait_sleep_loop_and_queue_go_on_where_they_were(scene: Scene, owners: Owners) -> None:
    """Of the loop, two of three items are at work. Of the runs that take turns, the second one has not begun."""
    async with scene.old.operator():
        before = await all_waiting(scene.old)
        saved = await backup(scene.old.client, NAMESPACE_NAME)
    scene.go.touch()
    async with scene.another(saved, owners=owners) as new, new.operator(RESUME):
        await new.client.patch(STORY_RUN, "gate", APPROVED, namespace=NAMESPACE_NAME, subresource="status")
        runs = {name: await new.finished(name) for name in before}

    assert {name: status_of(run)["phase"] for name, run in runs.items()} == dict.fromkeys(before, "Succeeded")
    for name in ("gate", "wait", "nap"):  # instants stay what they were
        state, then = (status_of(run)["stepStates"]["waits"] for run in (runs[name], before[name]))
        assert state["startedAt"] == then["startedAt"]
    one, two = status_of(runs["one"]), status_of(runs["two"])
    assert one["finishedAt"] <= two["startedAt"]
    assert scene.executions == {
        "gate/first": 1,
        "gate/after": 1,
        "wait/first": 1,
        "wait/after": 1,
        "nap/first": 1,
        "nap/after": 1,
        "loop/item-0": 2,  # its attempt was lost
        "loop/item-1": 2,
        "loop/item-2": 1,
        "loop/after": 1,
        "one/waits": 2,
        "two/waits": 1,
    }


async def all_waiting(cluster: OperatorCluster) -> dict[str, Object]:
    """Start the runs; return them once each of them waits."""
    later = f"{system_now() + timedelta(seconds=6):%Y%m%d%H%M%S}"
    primitives: dict[str, Object] = {
        "gate": {"type": "gate"},
        "wait": {"type": "wait", "with": {"until": f'{{{{ ge (now | date "20060102150405" | int) {later} }}}}'}},
        "nap": {"type": "sleep", "with": {"duration": "6s"}},
    }
    for name, primitive in primitives.items():
        waits = {"name": "waits", "needs": ["first"], **primitive}
        await cluster.story(name, step("first", "quick"), waits, step("after", "quick", needs=["waits"]))
    fan = {"forEach": [1, 2, 3], "maxConcurrency": 2, "steps": [step("item", "held", execution=ONE_RETRY)]}
    await cluster.story(
        "loop", {"name": "waits", "type": "parallel", "with": fan}, step("after", "quick", needs=["waits"])
    )
    await cluster.story("turns", step("waits", "held", execution=ONE_RETRY), concurrency={"mode": "serial"})
    for name in ("gate", "wait", "nap", "loop"):
        await cluster.run(name, name)
    await cluster.run("one", "turns")
    await cluster.step("one-waits", "Running")
    await cluster.run("two", "turns")
    for name in ("loop-waits-0", "loop-waits-1"):
        await cluster.step(name, "Running")
    for name in primitives:
        await cluster.until(STORY_RUN, name, lambda run: step_phases(run).get("waits") in WAITING)
    await cluster.until(STORY_RUN, "two", lambda run: bool(status_of(run).get("phase")))
    names = (*primitives, "loop", "one", "two")
    return {name: await cluster.client.get(STORY_RUN, name, NAMESPACE_NAME) for name in names}
