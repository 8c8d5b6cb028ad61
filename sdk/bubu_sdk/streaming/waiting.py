"""Waits until another thread calls back: in a thread, under asyncio, under Trio."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from bubu_sdk import hosting

Callback = Callable[[], None]
Watch = Callable[[Callback], None]


def wait(watch: Watch, forget: Watch) -> None:
    """Block this thread until the callback given to ``watch`` is called."""
    event = threading.Event()
    watch(event.set)
    event.wait()
    forget(event.set)


async def wait_async(watch: Watch, forget: Watch) -> None:
    """Await the callback given to ``watch``. A cancelled wait has no effect."""
    if hosting.running_trio():
        await _wait_trio(watch, forget)
    else:
        await _wait_asyncio(watch, forget)


async def checkpoint() -> None:
    """Let other tasks run, and be cancelled."""
    if hosting.running_trio():
        import trio

        await trio.lowlevel.checkpoint()
    else:
        import asyncio

        await asyncio.sleep(0)


async def _wait_trio(watch: Watch, forget: Watch) -> None:
    import trio

    event, token = trio.Event(), trio.lowlevel.current_trio_token()

    def callback() -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    watch(callback)
    try:
        await event.wait()
    finally:
        forget(callback)


async def _wait_asyncio(watch: Watch, forget: Watch) -> None:
    import asyncio

    event, loop = asyncio.Event(), asyncio.get_running_loop()

    def callback() -> None:
        with suppress(RuntimeError):  # the loop is closed: no task waits
            loop.call_soon_threadsafe(event.set)

    watch(callback)
    try:
        await event.wait()
    finally:
        forget(callback)
