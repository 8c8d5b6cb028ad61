"""The event loop that a function gets."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.lowlevel

from bubu_sdk import engram, hosting
from bubu_sdk.testing import EngramEnvironment


async def uses_trio() -> str:
    await trio.lowlevel.checkpoint()
    return "done"


@engram(backend="asyncio")
async def anyio_under_asyncio() -> dict[str, Any]:
    return await _anyio_work()


@engram(backend="trio")
async def anyio_under_trio() -> dict[str, Any]:
    return await _anyio_work()


async def _anyio_work() -> dict[str, Any]:
    results: list[int] = []

    async def square(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        results.append(number * number)

    async with anyio.create_task_group() as group:
        for number in (1, 2, 3):
            group.start_soon(square, number)
    return {"squares": sorted(results)}


def test_a_module_that_imports_trio_gets_trio() -> None:
    assert isinstance(hosting.host_for(uses_trio, None), hosting.TrioHost)


def test_a_module_that_does_not_gets_asyncio() -> None:
    module = ModuleType("plain")
    exec("async def work():\n    return 1\n", module.__dict__)

    assert "trio" in sys.modules
    assert isinstance(hosting.host_for(module.work, None), hosting.AsyncioHost)


def test_the_said_backend_wins() -> None:
    assert isinstance(hosting.host_for(uses_trio, "asyncio"), hosting.AsyncioHost)


@pytest.mark.parametrize("work", [anyio_under_asyncio, anyio_under_trio], ids=["asyncio", "trio"])
def test_a_function_written_on_anyio_runs_under_either(work: Any) -> None:
    assert EngramEnvironment().run(work).output == {"squares": [1, 4, 9]}


@pytest.mark.parametrize("host", [hosting.TrioHost(), hosting.AsyncioHost()], ids=["trio", "asyncio"])
def test_a_cancellation_before_the_start_is_not_forgotten(host: hosting.Host) -> None:
    host.cancel()

    with pytest.raises(hosting.FunctionCancelledError):
        host.run(lambda: anyio.sleep(60))


@pytest.mark.parametrize("host", [hosting.TrioHost(), hosting.AsyncioHost()], ids=["trio", "asyncio"])
def test_a_cancellation_after_the_end_is_harmless(host: hosting.Host) -> None:
    async def work() -> int:
        return 7

    assert host.run(work) == 7
    host.cancel()
