"""A task knows for which key it works, and so do the tasks that it starts."""

from __future__ import annotations

import pytest
import trio

from core.ownership.acting import acting_for, current_key

ONE, TWO = ("team", "one"), ("team", "two")


def test_a_task_works_for_no_key_unless_it_says_so() -> None:
    assert current_key() is None
    with acting_for(ONE):
        with acting_for(TWO):
            assert current_key() == TWO
        assert current_key() == ONE
    assert current_key() is None


def test_a_block_that_fails_is_over_too() -> None:
    with pytest.raises(ValueError, match="x"), acting_for(ONE):
        raise ValueError("x")
    assert current_key() is None


async def test_tasks_work_for_the_key_of_the_task_that_started_them() -> None:
    seen: list[tuple[str, str] | None] = []

    async def look() -> None:
        await trio.lowlevel.checkpoint()
        seen.append(current_key())

    async def look_for_two() -> None:
        with acting_for(TWO):
            await look()

    async with trio.open_nursery() as nursery:
        with acting_for(ONE):
            nursery.start_soon(look)
            nursery.start_soon(look_for_two)
    assert set(seen) == {ONE, TWO}
    assert current_key() is None
