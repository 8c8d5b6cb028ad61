"""Callers take turns, and a flood harms only its own caller."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from core.fairness.turns import ALONE_SECONDS, CrowdedError, Turns


class Scene:
    """Callers that take turns. Records what happened to each, in order."""

    def __init__(self, turns: Turns, nursery: trio.Nursery) -> None:
        self._turns = turns
        self._nursery = nursery
        self.begun: list[str] = []
        self.sent_away: list[str] = []
        self._ends: dict[str, trio.Event] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    async def comes(self, *names: str) -> None:
        """Let each wait for a turn. ``anna1`` is the first request of anna."""
        for name in names:
            self._nursery.start_soon(self._turn, name)
            await wait_all_tasks_blocked()

    async def ends(self, name: str) -> None:
        self._ends[name].set()
        await wait_all_tasks_blocked()

    async def leaves(self, name: str) -> None:
        self._scopes[name].cancel()
        await wait_all_tasks_blocked()

    async def _turn(self, name: str) -> None:
        self._ends[name] = trio.Event()
        with trio.CancelScope() as self._scopes[name]:
            try:
                async with self._turns.turn(name.rstrip("0123456789")):
                    self.begun.append(name)
                    await self._ends[name].wait()
            except CrowdedError:
                self.sent_away.append(name)


async def test_a_turn_is_free_when_nobody_is_there(nursery: trio.Nursery) -> None:
    scene = Scene(Turns(2, 2, 5, 5), nursery)
    await scene.comes("anna1", "anna2", "anna3")

    assert scene.begun == ["anna1", "anna2"]
    nursery.cancel_scope.cancel()


async def test_who_asks_once_does_not_wait_behind_who_asks_often(nursery: trio.Nursery) -> None:
    scene = Scene(Turns(1, 1, 20, 20), nursery)
    await scene.comes("anna1", "anna2", "anna3", "anna4", "ben1", "cleo1", "ben2")
    for name in ("anna1", "anna2", "ben1", "cleo1", "anna3", "ben2"):
        await scene.ends(name)

    assert scene.begun == ["anna1", "anna2", "ben1", "cleo1", "anna3", "ben2", "anna4"]
    nursery.cancel_scope.cancel()


async def test_one_caller_never_has_all_turns(nursery: trio.Nursery) -> None:
    scene = Scene(Turns(2, 1, 5, 5), nursery)
    await scene.comes("anna1", "anna2", "ben1")

    assert scene.begun == ["anna1", "ben1"]
    await scene.ends("anna1")
    assert scene.begun == ["anna1", "ben1", "anna2"]
    nursery.cancel_scope.cancel()


async def test_without_room_the_newest_of_the_most_insistent_is_sent_away(nursery: trio.Nursery) -> None:
    scene = Scene(Turns(1, 1, 3, 3), nursery)
    await scene.comes("anna1", "anna2", "anna3", "anna4", "ben1")

    assert scene.sent_away == ["anna4"]
    await scene.comes("anna5")
    assert scene.sent_away == ["anna4", "anna5"]
    nursery.cancel_scope.cancel()


async def test_one_caller_has_room_of_his_own_only(nursery: trio.Nursery) -> None:
    scene = Scene(Turns(1, 1, 9, 1), nursery)
    await scene.comes("anna1", "anna2", "anna3")

    assert scene.sent_away == ["anna3"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("leaver", ["anna1", "ben1"])
async def test_who_leaves_takes_no_turn_along(nursery: trio.Nursery, leaver: str) -> None:
    scene = Scene(Turns(1, 1, 5, 5), nursery)
    await scene.comes("anna1", "ben1", "cleo1")
    await scene.leaves(leaver)
    if leaver == "ben1":
        await scene.ends("anna1")

    assert scene.begun == (["anna1", "ben1"] if leaver == "anna1" else ["anna1", "cleo1"])
    await scene.ends(scene.begun[-1])
    assert len(scene.begun) == (3 if leaver == "anna1" else 2)
    nursery.cancel_scope.cancel()


async def test_a_turn_that_comes_while_its_caller_leaves_goes_on(nursery: trio.Nursery) -> None:
    turns = Turns(1, 1, 5, 5)
    scene = Scene(turns, nursery)
    await scene.comes("anna1", "ben1", "cleo1")
    scene._scopes["ben1"].cancel()
    scene._scopes["anna1"].cancel()
    await wait_all_tasks_blocked()

    assert scene.begun == ["anna1", "cleo1"]
    assert turns.waiting == 0
    nursery.cancel_scope.cancel()


async def test_nobody_overtakes_who_waits(nursery: trio.Nursery) -> None:
    turns = Turns(2)
    scene = Scene(turns, nursery)
    await scene.comes("anna1", "anna2", "ben1")
    scene._ends["anna1"].set()
    assert not turns.take_nowait("cleo")
    await wait_all_tasks_blocked()
    assert not turns.take_nowait("cleo")

    assert scene.begun == ["anna1", "anna2", "ben1"]
    nursery.cancel_scope.cancel()


async def test_who_is_stopped_by_his_own_share_does_not_stop_others(nursery: trio.Nursery) -> None:
    turns = Turns(3, 2)
    scene = Scene(turns, nursery)
    await scene.comes("anna1", "anna2", "anna3")

    assert scene.begun == ["anna1", "anna2"]
    assert turns.take_nowait("ben")
    turns.give_back("ben")
    assert scene.begun == ["anna1", "anna2"]
    nursery.cancel_scope.cancel()


async def test_more_turns_begin_at_once_when_there_are_more(nursery: trio.Nursery) -> None:
    turns = Turns(1)
    scene = Scene(turns, nursery)
    await scene.comes("anna1", "anna2", "ben1")
    turns.resize(3, 2)
    await wait_all_tasks_blocked()
    assert sorted(scene.begun) == ["anna1", "anna2", "ben1"]

    turns.resize(1, 1)
    await scene.comes("cleo1")
    for name in ("anna1", "anna2"):
        await scene.ends(name)
    assert "cleo1" not in scene.begun
    await scene.ends("ben1")
    assert "cleo1" in scene.begun
    nursery.cancel_scope.cancel()


async def test_who_is_alone_may_have_more_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    turns = Turns(9, 2, at_once_alone=4)
    assert [turns.take_nowait("anna") for _ in range(5)] == [True] * 4 + [False]
    assert turns.take_nowait("ben")
    turns.give_back("anna")
    turns.give_back("anna")
    assert not turns.take_nowait("anna")  # two requests are in progress, and another caller has come

    turns.give_back("ben")
    await trio.sleep(ALONE_SECONDS / 2)
    assert not turns.take_nowait("anna")
    await trio.sleep(ALONE_SECONDS)
    assert turns.take_nowait("anna")
