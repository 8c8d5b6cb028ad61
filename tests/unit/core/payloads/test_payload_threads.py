"""Threads that hang delay only their own store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from core.payloads import threads
from core.payloads.errors import StoreUnavailableError


@pytest.fixture
def answered() -> Iterator[threading.Event]:
    """The threads of a test continue when this event is set, at the latest at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


async def test_what_does_not_answer_is_unavailable_in_time(answered: threading.Event) -> None:
    started = time.monotonic()

    with pytest.raises(StoreUnavailableError, match=r"^the store did not answer within 0\.05 s$"):
        await threads.answer_in_time("the store", 0.05, answered.wait)

    assert time.monotonic() - started < 10


async def test_many_that_hang_take_few_threads_and_none_of_another_store(answered: threading.Event) -> None:
    before = threading.active_count()

    async def hang() -> None:
        with pytest.raises(StoreUnavailableError):
            await threads.answer_in_time("one", 0.2, answered.wait)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        assert await threads.answer_in_time("another", 5, lambda: "quick") == "quick"

    assert threading.active_count() - before <= threads.PER_STORE + 1


async def test_a_store_that_answers_again_is_used_again(answered: threading.Event) -> None:
    for _ in range(threads.PER_STORE):
        with pytest.raises(StoreUnavailableError):
            await threads.answer_in_time("one", 0.01, answered.wait)
    answered.set()

    assert await threads.answer_in_time("one", 5, lambda: "back") == "back"


async def test_a_cancelled_read_ends_at_once(answered: threading.Event) -> None:
    started = time.monotonic()

    with trio.move_on_after(0.02) as scope:
        await threads.answer_in_time("one", 30, answered.wait)

    assert scope.cancelled_caught
    assert time.monotonic() - started < 10
