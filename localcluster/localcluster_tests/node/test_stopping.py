import math

import trio
import trio.testing

from localcluster.node.capacity import ContainerSlots
from localcluster.node.stopping import Backoff, Stop


async def test_patience_ends_with_the_shortest_grace(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    stop = Stop()
    ended_at = math.inf

    async def wait() -> None:
        nonlocal ended_at
        await stop.wait()
        await stop.wait_until_patience_ends()
        ended_at = trio.current_time()

    began = trio.current_time()
    nursery.start_soon(wait)
    stop.request(30)
    await trio.sleep(1)
    stop.request(60)
    stop.request(4)
    await trio.sleep(10)

    assert ended_at - began == 5


async def test_sleep_is_cut_short_by_the_wish_to_stop(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    stop = Stop()
    assert not await stop.sleep(5)

    async def later() -> None:
        await trio.sleep(2)
        stop.request(0)

    nursery.start_soon(later)
    began = trio.current_time()

    assert await stop.sleep(100)
    assert trio.current_time() - began == 2


def test_delays_double_up_to_their_limit_and_start_over_on_reset() -> None:
    delays = Backoff(1, 5)

    assert [delays.next_delay() for _ in range(4)] == [1, 2, 4, 5]
    delays.reset()
    assert delays.next_delay() == 1


async def test_slots_are_given_in_order_of_asking(nursery: trio.Nursery) -> None:
    slots = ContainerSlots(3)
    order: list[str] = []

    async def take(name: str, count: int) -> None:
        await slots.acquire(count)
        order.append(name)

    held = await slots.acquire(2)
    nursery.start_soon(take, "two", 2)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(take, "one", 1)
    await trio.testing.wait_all_tasks_blocked()
    assert order == []

    slots.release(held)
    await trio.testing.wait_all_tasks_blocked()

    assert order == ["two", "one"]


async def test_more_than_there_are_counts_as_all() -> None:
    slots = ContainerSlots(2)

    assert await slots.acquire(99) == 2
