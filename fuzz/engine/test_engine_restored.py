"""Every backup of a run, consistent or not, restored into a new cluster: nothing is executed twice.

One execution has a history. A backup is a pair of its moments: the StoryRuns as they were at one, the StepRuns as they
were at the other. All pairs are restored, with new UIDs and without owners, and the operator continues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from trio.testing import MockClock

from core.api.objects import NamespacedName, Object
from core.engine.primitives import engram as engram_steps
from core.engine.run import restored
from core.engine.slots.queueing import SlotLimits
from core.engine.step import record
from core.policy.settings import OperatorSettings, RestoredRuns
from fuzz.engine.canonical import RETRYING, engram, primitive
from fuzz.engine.cluster import Place, Write
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import NAMESPACE, World, open_world

STORY: Final[Object] = {
    "steps": [
        engram("a"),
        primitive("nap", "sleep", "a", with_={"duration": "2s"}),
        engram("b", "a"),
        engram("c", "nap", "b", with_={"n": "{{ steps.b.output.n }}"}),
    ]
}
SCRIPTS: Final = {"b": (Script(Act.EXIT, 0.4, exit_code=137), Script(output={"n": 3}))}
ENDED: Final = OperatorSettings()
RESUMED: Final = replace(ENDED, runs=replace(ENDED.runs, restored=RestoredRuns.RESUME))
KINDS: Final = ("StepRun", "StoryRun")

Attempt = tuple[str, int]


def attempts(history: list[Write], until: int | None = None) -> Counter[Attempt]:
    """How often each attempt of each step was started, up to a write of the history."""
    return Counter(
        (write.object["spec"]["step"], write.object["spec"]["attempt"])
        for write in history
        if write.place[0] == "Job" and write.verb == "create" and (until is None or write.number <= until)
    )


@dataclass(frozen=True)
class Backup:
    runs_at: int
    """The last write before the StoryRuns were read."""
    step_runs_at: int
    objects: dict[Place, Object]
    done: Counter[Attempt]
    """The attempts that the backup knows of: those that were started before their StepRun was read."""

    @property
    def begun(self) -> set[str]:
        """Steps that had begun by the status of the run, and whose StepRun is not in the backup."""
        run = self.objects[("StoryRun", NAMESPACE, "run")]
        states = (run.get("status") or {}).get("stepStates") or {}
        step_runs = {obj["spec"]["stepId"] for place, obj in self.objects.items() if place[0] == "StepRun"}
        return {name for name, state in states.items() if state["phase"] != "Pending" and name not in step_runs}

    def is_safe(self, started: Counter[Attempt]) -> bool:
        """Whether the operator may have started these attempts after the restore."""
        repeated = [each for each in started if each in self.done]
        unknown = [each for each in started if each[0] in self.begun]
        return not repeated and not unknown and all(count == 1 for count in started.values())

    @property
    def is_whole(self) -> bool:
        """Whether it shows one moment, at which every object had a status: then the run can reach its end."""
        return self.runs_at == self.step_runs_at and all(obj.get("status") for obj in self.objects.values())


async def lived() -> World:
    """The world of the execution, which is over."""
    async with open_world(SCRIPTS, engrams=RETRYING) as world:
        world.house = ENDED
        world.add_story("story", STORY)
        key = world.add_run("run", "story")
        world.start(key)
        assert await world.until_ended(key)
        assert world.status(key)["phase"] == "Succeeded"
    return world


def backups(world: World) -> Iterator[Backup]:
    """All pairs of moments at which a StoryRun or a StepRun was written."""
    cluster = world.cluster
    moments = [write.number for write in cluster.history if write.place[0] in (*KINDS, "Job")]
    of_kind = {kind: {at: cluster.state_at(kind, at) for at in moments} for kind in KINDS}
    for runs_at in moments:
        for step_runs_at in moments:
            objects = of_kind["StepRun"][step_runs_at] | of_kind["StoryRun"][runs_at]
            if any(place[0] == "StoryRun" for place in objects):
                yield Backup(runs_at, step_runs_at, objects, attempts(cluster.history, step_runs_at))


async def restored_world(
    saved: Backup, settings: OperatorSettings, *, with_status: bool = True
) -> tuple[Counter[Attempt], Object]:
    """The attempts that are started after the restore, and the status of the run at its end."""
    async with open_world(SCRIPTS, engrams=RETRYING) as world:
        world.house = settings
        world.limits = SlotLimits(everywhere=1)  # what a restored StepRun held, nobody holds any more
        world.cluster.skip_numbers(10_000)  # UIDs are numbers, and those of the old cluster must not come again
        world.add_story("story", STORY)
        for place, obj in saved.objects.items():
            metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
            labels = {**(metadata.get("labels") or {}), "velero.io/restore-name": "r"}
            world.cluster.create("backup tool", {**obj, "metadata": {**metadata, "labels": labels}})
            if with_status and obj.get("status"):
                world.cluster.force_patch("backup tool", place, "status", obj["status"])
        key = NamespacedName(NAMESPACE, "run")
        world.start(key)
        assert await world.until_ended(key), saved
        await world.quiet()
        assert world.crashes == []
        return attempts(world.cluster.history), world.status(key)


async def first_broken() -> Backup | None:
    """The first backup after whose restore something ran twice, or a run did not succeed that could."""
    for saved in backups(await lived()):
        started, status = await restored_world(saved, RESUMED)
        if not saved.is_safe(started) or (saved.is_whole and status["phase"] != "Succeeded"):
            return saved
    return None


async def test_a_resumed_run_repeats_nothing_that_any_backup_knows(autojump_clock: MockClock) -> None:
    assert await first_broken() is None


@pytest.mark.parametrize("with_status", [True, False])
async def test_an_ended_run_executes_nothing(autojump_clock: MockClock, with_status: bool) -> None:
    world = await lived()
    for saved in list(backups(world))[:: 1 if with_status else 3]:
        started, status = await restored_world(saved, ENDED, with_status=with_status)
        assert started == {}, saved
        stored = saved.objects[("StoryRun", NAMESPACE, "run")].get("status") or {}
        kept = with_status and stored.get("finishedAt")
        assert status["phase"] == (stored["phase"] if kept else "Failed")
        assert (status.get("error") or {}).get("type") == (None if kept else "Restored")


@pytest.mark.parametrize(
    ("holder", "attribute", "wrong"),
    [
        pytest.param(record, "is_lost_in_backup", lambda _: False, id="a lost attempt is started again"),
        pytest.param(engram_steps, "why_missing_in_backup", lambda *_: None, id="what the backup lacks is begun anew"),
        pytest.param(restored, "own_children", lambda *_: [], id="StepRuns are not taken over"),
        pytest.param(restored, "_lost_attempt", lambda _: "0", id="every lost attempt is the first"),
    ],
)
async def test_a_bug_is_caught(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, holder: Any, attribute: str, wrong: Callable[..., Any]
) -> None:
    monkeypatch.setattr(holder, attribute, wrong)
    assert await first_broken() is not None
