from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core.engine.context.progress import Progress


async def test_a_waiting_step_hears_of_the_next_end(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    progress = Progress()
    heard: list[bool] = []
    for step in ("a", "b", "c"):
        progress.started(step)

    async def wait() -> None:
        heard.append(await progress.wait("a"))

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert heard == []
    progress.ended("b")
    await wait_all_tasks_blocked()
    assert heard == [False]


async def test_when_only_waiting_steps_are_left_all_are_told_it_is_final(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    progress = Progress()
    heard: dict[str, bool] = {}

    async def wait(step: str) -> None:
        heard[step] = await progress.wait(step)

    for step in ("a", "b", "c"):
        progress.started(step)
    nursery.start_soon(wait, "a")
    nursery.start_soon(wait, "b")
    await wait_all_tasks_blocked()
    assert heard == {}
    progress.ended("c")
    await wait_all_tasks_blocked()

    assert heard == {"a": True, "b": True}


async def test_a_lonely_step_is_told_at_once(autojump_clock: MockClock) -> None:
    progress = Progress()
    progress.started("a")

    assert await progress.wait("a") is True


async def test_a_step_that_started_because_of_an_end_keeps_hope_alive(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    progress = Progress()
    heard: list[bool] = []
    progress.started("a")
    progress.started("b")

    async def wait() -> None:
        heard.append(await progress.wait("a"))

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    progress.started("successor of b")
    progress.ended("b")
    await wait_all_tasks_blocked()

    assert heard == [False]


async def test_who_has_a_slot_does_not_wait_for_what_needs_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    progress = Progress()
    heard: dict[str, bool] = {}

    async def wait(step: str, has_slot: bool) -> None:
        heard[step] = await progress.wait(step, has_slot=has_slot)

    for step in ("has a slot", "has none", "queued"):
        progress.started(step)
    nursery.start_soon(wait, "has a slot", True)
    nursery.start_soon(wait, "has none", False)
    await wait_all_tasks_blocked()
    assert heard == {}
    with progress.held_up("queued"):
        await wait_all_tasks_blocked()
        assert heard == {"has a slot": True}
    progress.ended("queued")
    await wait_all_tasks_blocked()

    assert heard == {"has a slot": True, "has none": False}
