from itertools import pairwise

import trio
import trio.testing

from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.errors import bad_request


async def test_a_key_is_worked_on_by_one_task_and_once_more_when_added_meanwhile(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    running, most, done = 0, 0, 0

    async def reconcile(_: str) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        done += 1

    queue: WorkQueue[str] = WorkQueue("test", reconcile)
    nursery.start_soon(queue.run)
    queue.add("a")
    await trio.sleep(0.5)
    queue.add("a")
    queue.add("a")
    await trio.sleep(10)

    assert (most, done) == (1, 2)


async def test_different_keys_are_worked_on_together_up_to_the_limit(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    running, most = 0, 0

    async def reconcile(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    queue: WorkQueue[int] = WorkQueue("test", reconcile, workers=3)
    nursery.start_soon(queue.run)
    for key in range(10):
        queue.add(key)
    await trio.sleep(10)

    assert (running, most) == (0, 3)


async def test_a_key_for_later_is_worked_on_then_or_when_somebody_asks(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    began = trio.current_time()
    seen: list[tuple[str, float]] = []

    async def reconcile(key: str) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((key, trio.current_time() - began))

    queue: WorkQueue[str] = WorkQueue("test", reconcile)
    nursery.start_soon(queue.run)
    queue.add_after("late", 5)
    queue.add_after("late", 9)
    queue.add_after("asked", 5)
    await trio.sleep(1)
    queue.add("asked")
    await trio.sleep(20)

    assert seen == [("asked", 1), ("late", 5)]


async def test_what_fails_is_tried_again_a_little_later_each_time(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    tried_at: list[float] = []

    async def reconcile(_: str) -> None:
        await trio.lowlevel.checkpoint()
        tried_at.append(trio.current_time())
        if len(tried_at) < 4:
            raise bad_request("not yet")

    queue: WorkQueue[str] = WorkQueue("test", reconcile)
    nursery.start_soon(queue.run)
    queue.add("a")
    await trio.sleep(10)

    pauses = [after - before for before, after in pairwise(tried_at)]
    assert len(tried_at) == 4
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0] * 3
