from __future__ import annotations

import trio
from trio.testing import memory_stream_one_way_pair, wait_all_tasks_blocked

from kubewire.parent import wait_until_gone, word_of


async def test_the_word_may_come_in_pieces() -> None:
    parent, child = memory_stream_one_way_pair()
    heard: list[str | None] = []

    async def listen() -> None:
        heard.append(await word_of(child))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for piece in (b"/some/kube", b"config\nmore"):
            await wait_all_tasks_blocked()
            await parent.send_all(piece)

    assert heard == ["/some/kubeconfig"]


async def test_a_parent_that_goes_without_a_word_is_noticed() -> None:
    parent, child = memory_stream_one_way_pair()
    await parent.send_all(b"half a wo")
    await parent.aclose()

    assert await word_of(child) is None


async def test_the_end_of_the_pipe_is_the_end_of_the_parent(autojump_clock: trio.testing.MockClock) -> None:
    parent, child = memory_stream_one_way_pair()
    with trio.move_on_after(60) as waiting:
        await wait_until_gone(child)
    await parent.aclose()
    await wait_until_gone(child)

    assert waiting.cancelled_caught
