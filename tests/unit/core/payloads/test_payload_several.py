"""Work for several items: how many at a time, and what a failure ends."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from core.payloads.several import for_several


async def test_every_item_is_worked_for_and_only_a_few_at_a_time(autojump_clock: MockClock) -> None:
    at_work, most = 0, 0

    async def work(number: int) -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await trio.sleep(1)
        at_work -= 1
        return number * 2

    found = await for_several(range(10), work, at_once=4, failures=())

    assert sorted(found) == [number * 2 for number in range(10)]
    assert most == 4


async def test_the_first_failure_ends_the_rest_and_is_raised_alone(autojump_clock: MockClock) -> None:
    began, ended = [], []

    async def work(number: int) -> None:
        began.append(number)
        await trio.sleep(number + 1)
        if number == 1:
            raise KeyError(number)
        ended.append(number)

    with pytest.raises(KeyError):
        await for_several(range(10), work, at_once=3, failures=(KeyError,))

    assert (began, ended) == ([0, 1, 2, 3], [0])  # the task that failed takes no other item


async def test_an_error_of_another_type_is_a_bug_and_stays_in_its_group(autojump_clock: MockClock) -> None:
    async def work(number: int) -> None:
        await trio.sleep(number)
        raise ValueError(number)

    with pytest.raises(ExceptionGroup):
        await for_several([1], work, at_once=2, failures=(KeyError,))


async def test_without_items_there_is_nothing_to_do() -> None:
    async def work(number: int) -> int:
        return number

    assert await for_several([], work, at_once=2, failures=()) == []
