"""What a signal logs about the tasks of a process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import Task
from trio.testing import wait_all_tasks_blocked

from manager.task_tree import lines_of

HERE = __name__
OURS = {HERE.partition(".")[0]}


async def wait_for(event: trio.Event) -> None:
    await event.wait()


async def hold(event: trio.Event, *names: str) -> None:
    """A nursery with one task for each name."""
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(wait_for, event, name=name)


async def hold_twice(event: trio.Event) -> None:
    async with trio.open_nursery() as outer:
        outer.start_soon(wait_for, event, name="a service")
        async with trio.open_nursery() as inner:
            inner.start_soon(wait_for, event, name="a worker")


@asynccontextmanager
async def blocked(nursery: trio.Nursery) -> AsyncIterator[Task]:
    """The only task of ``nursery``, once all tasks wait. The nursery is canceled afterwards."""
    await wait_all_tasks_blocked()
    (task,) = nursery.child_tasks
    yield task
    nursery.cancel_scope.cancel()


def without_lines(shown: list[str]) -> list[str]:
    return [re.sub(r":\d+$", "", line) for line in shown]


async def test_a_task_stands_below_the_one_that_holds_its_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, trio.Event(), "run team/b", "run team/a", name="runs")
        async with blocked(nursery) as root:
            shown = lines_of(root, packages=OURS)

    assert without_lines(shown) == [f"runs at {HERE}", f"  run team/a at {HERE}", f"  run team/b at {HERE}"]


async def test_the_line_is_that_where_the_project_waits() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, trio.Event(), name="waiting")
        async with blocked(nursery) as root:
            ours, of_nobody = (lines_of(root, packages=packages) for packages in (OURS, {"elsewhere"}))

    line = wait_for.__code__.co_firstlineno + 1
    assert ours == [f"waiting at {HERE}:{line}"]
    assert of_nobody[0].startswith("waiting at trio._core.")


async def test_several_nurseries_of_a_task_are_told_apart_from_the_outermost_on() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_twice, trio.Event(), name="manager")
        async with blocked(nursery) as root:
            shown = lines_of(root, packages=OURS)

    assert without_lines(shown) == [
        f"manager at {HERE}",
        "  nursery 1",
        f"    a service at {HERE}",
        "  nursery 2",
        f"    a worker at {HERE}",
    ]


async def test_what_is_too_much_is_counted_and_is_of_the_largest_part() -> None:
    async def manager() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(hold, trio.Event(), *(f"run {number}" for number in range(50)), name="all runs")
            inner.start_soon(wait_for, trio.Event(), name="the lease")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager, name="manager")
        async with blocked(nursery) as root:
            shown = lines_of(root, packages=OURS, most=5)
            whole = lines_of(root, packages=OURS, most=53)

    assert without_lines(shown) == [
        f"manager at {HERE}",
        f"  the lease at {HERE}",
        f"  all runs at {HERE}",
        f"    run 0 at {HERE}",
        f"    run 1 at {HERE}",
        "and 48 more",
    ]
    assert len(whole) == 53


async def test_a_name_stays_on_its_line_and_is_bounded() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, trio.Event(), "step a\nforged at core.engine:1", "x" * 1000, name="run")
        async with blocked(nursery) as root:
            shown = lines_of(root, packages=OURS)

    assert len(shown) == 3
    assert shown[1].startswith(r"  'step a\nforged at core.engine:1' at")
    assert all(len(line) < 300 for line in shown)


async def test_values_of_variables_are_not_shown() -> None:
    async def with_a_secret(password: str, event: trio.Event) -> None:
        await event.wait()
        assert password

    async with trio.open_nursery() as nursery:
        nursery.start_soon(with_a_secret, "hunter2", trio.Event())
        async with blocked(nursery) as root:
            shown = lines_of(root, packages=OURS)

    assert "hunter2" not in "".join(shown)


async def test_the_whole_process_can_be_shown_also_the_task_that_asks() -> None:
    root = trio.lowlevel.current_root_task()
    assert root is not None

    assert any("test_the_whole_process" in line for line in lines_of(root, packages=OURS))


async def test_of_a_module_only_its_innermost_line_is_shown() -> None:
    async def ask(event: trio.Event) -> None:
        await wait_for(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, trio.Event(), name="asking")
        async with blocked(nursery) as root:
            shown = lines_of(root, packages={*OURS, "trio"})

    line = wait_for.__code__.co_firstlineno + 1
    assert shown[0].startswith(f"asking at {HERE}:{line} > trio._")
    assert shown[0].count(" > ") <= 2
