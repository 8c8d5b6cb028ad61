"""A limit for the time of each test: a test that hangs fails, and shows where it hangs.

pytest's own limit (``faulthandler_timeout``) shows the stacks of threads and ends the process. In a test with Trio, a
thread shows only that some task waits. So such a test is cancelled a little earlier, and the places of all tasks are
printed before that, past the capture of pytest: a task that cannot be cancelled leaves the end to pytest's limit.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import Final, TypeVar

import pytest
import trio
from trio.abc import Clock, Instrument

from manager.task_tree import PACKAGES, lines_of

T = TypeVar("T")

PART_FOR_TRIO: Final = 0.9
"""Of pytest's limit."""
_PACKAGES: Final = PACKAGES | {"deployment", "hub", "tests", "fuzz"}
"""Whose lines are shown as places of tasks, beside those of the test's own module."""


class TimeLimitError(Exception):
    """A test took longer than it may."""


def limit_tests(config: pytest.Config, items: Sequence[pytest.Item], terminal: int) -> None:
    """Give the tests with Trio a runner with a limit. pytest-trio takes the first runner that an item has.

    ``terminal``: the file descriptor that places of tasks are printed to.
    """
    if seconds := float(config.getini("faulthandler_timeout") or 0) * PART_FOR_TRIO:
        for item in items:
            if isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
                run = partial(_run, item, seconds, terminal)
                item.add_marker(pytest.mark.trio(run=run), append=False)


def _run(
    item: pytest.Function,
    seconds: float,
    terminal: int,
    test: Callable[[], Awaitable[T]],
    *,
    clock: Clock | None,
    instruments: Sequence[Instrument],
) -> T:
    async def limited() -> T:
        with trio.CancelScope() as scope:
            trio.lowlevel.spawn_system_task(_watch, item, seconds, terminal, trio.lowlevel.current_task(), scope)
            return await test()
        raise TimeLimitError(f"cancelled after {seconds:g} s; the places of its tasks are in the output")

    if clock is not None:  # its time is not that of the wall; pytest's limit holds
        return trio.run(test, clock=clock, instruments=instruments)
    return trio.run(limited, instruments=instruments)


async def _watch(
    item: pytest.Function, seconds: float, terminal: int, test: trio.lowlevel.Task, scope: trio.CancelScope
) -> None:
    await trio.sleep(seconds)
    packages = _PACKAGES | {item.module.__name__}
    places = "\n".join(lines_of(test, packages=packages))
    os.write(terminal, f"\n{item.nodeid}: not ended after {seconds:g} s\n{places}\n".encode())
    scope.cancel()
