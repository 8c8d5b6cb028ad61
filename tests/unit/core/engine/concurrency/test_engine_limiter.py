"""Runs of a serial Story take turns: the next run begins only when the run before it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core.api.objects import NamespacedName, Object
from core.engine.calls import Pace
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.errors import StaleError, UnavailableError


@dataclass
class Runs:
    """The part of ``RunStore`` that turns need."""

    live: dict[str, Object] = field(default_factory=dict)
    looks: int = 0
    runs_seen: int = 0
    canceled: list[str] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)
    stories: dict[str, Object] = field(default_factory=dict)

    def add(self, name: str, created: int, parent: str = "", story: str = "report") -> Object:
        owners = [{"kind": "StoryRun", "name": parent, "uid": f"uid-{parent}", "controller": True}] if parent else []
        self.live[name] = {
            "metadata": {
                "namespace": "team",
                "name": name,
                "uid": f"uid-{name}",
                "creationTimestamp": f"2026-01-02T03:04:{created:02}Z",
                "ownerReferences": owners,
            },
            "spec": {"storyRef": {"name": story}},
        }
        return self.live[name]

    async def read_run(self, key: NamespacedName) -> Object | None:
        await trio.lowlevel.checkpoint()
        return self.live.get(key.name)

    async def read_story(self, namespace: str, name: str) -> Object | None:
        assert namespace == "team"
        await trio.lowlevel.checkpoint()
        return self.stories.get(name)

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        assert namespace == "team"
        self.looks += 1
        await trio.lowlevel.checkpoint()
        seen = [run for run in self.live.values() if run["spec"]["storyRef"]["name"] == name]
        self.runs_seen += len(seen)
        return seen

    async def request_cancel(self, run: Object) -> None:
        await trio.lowlevel.checkpoint()
        if self.troubles:
            raise self.troubles.pop()
        self.canceled.append(run["metadata"]["name"])
        run["spec"]["cancelRequested"] = True


@dataclass
class Stage:
    mode: str = "serial"
    runs: Runs = field(default_factory=Runs)
    story: Object = field(init=False)
    begun: list[str] = field(default_factory=list)
    told: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limiter = ConcurrencyLimiter(self.runs)
        self.edit(self.mode)

    def edit(self, mode: str) -> None:
        generation = self.story["metadata"]["generation"] + 1 if self.runs.stories else 1
        self.story = self.runs.stories["report"] = {
            "metadata": {"namespace": "team", "name": "report", "uid": "uid-report", "generation": generation},
            "spec": {"concurrency": {"mode": mode}},
        }

    async def enter(self, run: Object) -> None:
        name = run["metadata"]["name"]
        while not await self.limiter.wait(run, self.story, self.told.setdefault(name, []).append, Pace(lambda: 0.0)):
            pass
        self.begun.append(name)

    def end(self, name: str) -> None:
        self.limiter.ended(self.runs.live.pop(name)["metadata"]["uid"])


async def test_runs_go_one_after_the_other(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = Stage()
    await stage.enter(stage.runs.add("a", 0))
    for number, name in enumerate("bc", 1):
        nursery.start_soon(stage.enter, stage.runs.add(name, number))
    await wait_all_tasks_blocked()
    assert stage.begun == ["a"]
    assert stage.told["c"] == ["Waiting for StoryRun a to end; 2nd in line"]
    for following in ("b", "c"):
        stage.end(stage.begun[-1])
        await wait_all_tasks_blocked()
        assert stage.begun[-1] == following
    assert trio.current_time() == 0


async def test_an_end_wakes_one_run_however_many_wait(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = Stage()
    for number in range(50):
        nursery.start_soon(stage.enter, stage.runs.add(f"r{number:02}", number))
    await wait_all_tasks_blocked()
    looks = stage.runs.looks
    stage.end("r00")
    await wait_all_tasks_blocked()
    assert stage.begun == ["r00", "r01"]
    assert stage.runs.looks == looks + 1


async def test_a_run_of_the_same_second_waits_for_one_that_was_told_to_begin(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The start of ``z`` is not stored yet, and ``a`` comes first by name."""
    stage = Stage()
    await stage.enter(stage.runs.add("z", 1))
    nursery.start_soon(stage.enter, stage.runs.add("a", 1))
    await wait_all_tasks_blocked()
    assert stage.begun == ["z"]
    stage.end("z")
    await wait_all_tasks_blocked()
    assert stage.begun == ["z", "a"]


async def test_a_place_is_told_again_when_somebody_before_has_gone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = Stage()
    await stage.enter(stage.runs.add("a", 0))
    async with trio.open_nursery() as canceled:
        canceled.start_soon(stage.enter, stage.runs.add("b", 1))
        for number, name in enumerate("cd", 2):
            nursery.start_soon(stage.enter, stage.runs.add(name, number))
        await wait_all_tasks_blocked()
        canceled.cancel_scope.cancel()
    stage.end("b")
    await trio.sleep(30)
    assert stage.begun == ["a"]
    assert stage.told["d"] == [f"Waiting for StoryRun a to end; {place} in line" for place in ("3rd", "2nd")]


async def test_an_end_that_nobody_told_is_noticed_within_ten_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = Stage()
    await stage.enter(stage.runs.add("a", 1))
    nursery.start_soon(stage.enter, stage.runs.add("b", 2))
    await wait_all_tasks_blocked()
    del stage.runs.live["a"]
    await trio.sleep(10.1)
    assert stage.begun == ["a", "b"]


async def test_an_end_during_the_look_is_not_missed(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    await stage.enter(stage.runs.add("a", 1))
    look = stage.runs.live_runs_of_story

    async def slow_look(namespace: str, name: str) -> list[Object]:
        seen = await look(namespace, name)
        if "a" in stage.runs.live:
            stage.end("a")
        return seen

    monkeypatch.setattr(stage.runs, "live_runs_of_story", slow_look)
    await stage.enter(stage.runs.add("b", 2))
    assert trio.current_time() == 0


async def test_the_newest_ends_those_before_it_and_begins_after_them(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = Stage("cancelPrevious")
    await stage.enter(stage.runs.add("a", 1))
    nursery.start_soon(stage.enter, stage.runs.add("b", 2))
    await wait_all_tasks_blocked()
    assert (stage.begun, stage.runs.canceled) == (["a"], ["a"])
    await trio.sleep(25)
    stage.end("a")
    await wait_all_tasks_blocked()
    assert (stage.begun, stage.runs.canceled) == (["a", "b"], ["a"])
    assert stage.told["b"] == ["Waiting for StoryRun a to end, canceled for this newer one"]


@pytest.mark.parametrize("trouble", [UnavailableError("busy"), StaleError("changed")])
async def test_a_cancel_that_did_not_arrive_is_asked_for_again(
    autojump_clock: MockClock, nursery: trio.Nursery, trouble: Exception
) -> None:
    stage = Stage("cancelPrevious")
    await stage.enter(stage.runs.add("a", 1))
    stage.runs.troubles = [trouble]
    nursery.start_soon(stage.enter, stage.runs.add("b", 2))
    await trio.sleep(11)
    assert stage.runs.canceled == ["a"]


async def test_a_child_of_a_child_does_not_wait_for_its_ancestor(autojump_clock: MockClock) -> None:
    """The ancestor's own child belongs to another Story."""
    stage = Stage()
    await stage.enter(stage.runs.add("a", 1))
    stage.runs.add("between", 2, parent="a", story="other")
    with trio.fail_after(1):
        await stage.enter(stage.runs.add("c", 3, parent="between"))


async def test_a_namesake_of_the_parent_is_no_ancestor(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = Stage()
    await stage.enter(stage.runs.add("a", 1))
    middle = stage.runs.add("between", 2, parent="a", story="other")
    middle["metadata"]["uid"] = "uid-somebody-else"
    nursery.start_soon(stage.enter, stage.runs.add("c", 3, parent="between"))
    await wait_all_tasks_blocked()
    assert stage.begun == ["a"]


async def test_a_canceled_wait_leaves_nothing(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.enter(stage.runs.add("a", 1))
    with trio.move_on_after(35):
        await stage.enter(stage.runs.add("b", 2))
    assert stage.begun == ["a"]
    assert dict(stage.limiter._waiting) == {}


async def test_stories_without_turns_are_not_looked_at(autojump_clock: MockClock) -> None:
    stage = Stage("parallel")
    await stage.enter(stage.runs.add("a", 1))
    await stage.enter(stage.runs.add("b", 1))
    assert (stage.begun, stage.runs.looks) == (["a", "b"], 0)


@pytest.mark.parametrize("count", [100, 1_000])
async def test_after_a_restart_one_look_places_all_who_wait(
    autojump_clock: MockClock, nursery: trio.Nursery, count: int
) -> None:
    """The number of runs that are read grows with the number that wait, not with its square."""
    stage = Stage()
    stage.runs.add("at-work", 0)["status"] = {"startedAt": "2026-01-02T03:04:00Z"}
    waiting = [stage.runs.add(f"r{number:04}", 1) for number in range(count)]
    for run in reversed(waiting):
        nursery.start_soon(stage.enter, run)
    await wait_all_tasks_blocked()
    assert stage.runs.runs_seen == count + 1
    assert stage.told["r0000"] == ["Waiting for StoryRun at-work to end; 1st in line"]
    assert stage.told["r0041"] == ["Waiting for StoryRun at-work to end; 42nd in line"]
    assert stage.begun == []


async def test_places_are_told_anew_without_a_look_for_each(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = Stage()
    stage.runs.add("at-work", 0)["status"] = {"startedAt": "2026-01-02T03:04:00Z"}
    for number in range(300):
        nursery.start_soon(stage.enter, stage.runs.add(f"r{number:04}", 1))
    await wait_all_tasks_blocked()
    await trio.sleep(60)
    assert stage.runs.looks <= 1 + 60


async def test_an_older_run_that_comes_late_goes_first(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The stored wait line does not contain the older run."""
    stage = Stage()
    await stage.enter(stage.runs.add("a", 0))
    for name, created in (("c", 3), ("d", 4)):
        nursery.start_soon(stage.enter, stage.runs.add(name, created))
    await wait_all_tasks_blocked()
    nursery.start_soon(stage.enter, stage.runs.add("b", 2))
    for following in ("b", "c", "d"):
        stage.end(stage.begun[-1])
        await wait_all_tasks_blocked()
        assert stage.begun[-1] == following
    assert stage.begun == ["a", "b", "c", "d"]


async def test_a_run_that_has_not_asked_yet_keeps_its_place(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """This happens after a restart: ``b`` exists, but asks last."""
    stage = Stage()
    await stage.enter(stage.runs.add("a", 0))
    nursery.start_soon(stage.enter, stage.runs.add("c", 3))
    await wait_all_tasks_blocked()
    late = stage.runs.add("b", 2)
    stage.end("a")
    await wait_all_tasks_blocked()
    assert stage.begun == ["a"]
    nursery.start_soon(stage.enter, late)
    await wait_all_tasks_blocked()
    assert stage.begun == ["a", "b"]


async def test_many_who_begin_at_once_begin_one_at_a_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """All runs ask at the same moment, and no run is at work."""
    stage = Stage()
    for number in range(40):
        nursery.start_soon(stage.enter, stage.runs.add(f"r{number:02}", number))
    for number in range(40):
        await wait_all_tasks_blocked()
        assert stage.begun == [f"r{before:02}" for before in range(number + 1)]
        stage.end(stage.begun[-1])
    assert stage.limiter._lines == {} or all(len(line) == 0 for _, line in stage.limiter._lines.values())


async def test_runs_that_wait_go_by_what_the_story_says_now(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Otherwise the older run would wait for the newest, and the newer run for the oldest, for ever."""
    stage = Stage("cancelPrevious")
    old, new = stage.runs.add("old", 0), stage.runs.add("new", 1)
    nursery.start_soon(stage.enter, old)
    await wait_all_tasks_blocked()
    assert stage.told["old"] == ["Superseded by StoryRun new, which is newer"]
    stage.edit("serial")
    nursery.start_soon(stage.enter, new)
    await trio.sleep(11)
    assert stage.begun == ["old"]
    stage.end("old")
    await wait_all_tasks_blocked()

    assert stage.begun == ["old", "new"]


async def test_a_turn_by_a_rule_of_the_past_is_given_back(autojump_clock: MockClock) -> None:
    stage = Stage()
    before = stage.story
    stage.edit("serial")
    late = stage.runs.add("late", 1)

    assert not await stage.limiter.wait(late, before, lambda message: None, Pace(lambda: 0.0))

    with trio.fail_after(1):
        await stage.enter(stage.runs.add("early", 0))
