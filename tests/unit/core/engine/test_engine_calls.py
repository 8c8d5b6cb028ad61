from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from core.engine.calls import WRITE_DEADLINE_SECONDS, Pace, committed, patiently, persistently
from core.engine.errors import DeniedError, RejectedError, StaleError, UnavailableError


def no_jitter() -> float:
    return 0.0


def port(*answers: int | Exception) -> Callable[[str], Awaitable[int]]:
    """A call that gives these answers, one after the other."""
    left = iter(answers)

    async def call(name: str) -> int:
        await trio.lowlevel.checkpoint()
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_pauses_double_up_to_a_limit_and_start_anew_after_success() -> None:
    pace = Pace(no_jitter)
    pauses = [pace.next_seconds() for _ in range(13)]

    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08]
    assert pauses[-1] == 15.0
    pace.reset()
    assert pace.next_seconds() == 0.01


def test_the_wish_of_the_server_is_honoured_when_it_is_longer() -> None:
    pace = Pace(no_jitter)

    assert pace.next_seconds(UnavailableError("busy", retry_after_seconds=7)) == 7
    assert pace.next_seconds(UnavailableError("busy", retry_after_seconds=0.001)) == 0.02


def test_what_only_a_person_can_mend_is_told_until_it_is_mended() -> None:
    told: list[str] = []
    pace = Pace(no_jitter, lambda denied: told.append(str(denied)))

    pace.next_seconds(UnavailableError("busy"))
    pace.reset()
    assert told == []
    pace.next_seconds(DeniedError("no right"))
    pace.next_seconds(UnavailableError("busy"))
    pace.reset()
    pace.reset()
    assert told == ["no right", "None"]


def test_jitter_only_lengthens() -> None:
    assert Pace(lambda: 0.999).next_seconds() == pytest.approx(0.015, rel=0.01)


async def test_a_read_is_asked_again_until_there_is_an_answer(autojump_clock: MockClock) -> None:
    read = port(UnavailableError("no"), UnavailableError("no"), 42)

    assert await patiently(read, "x", pace=Pace(no_jitter)) == 42
    assert trio.current_time() == pytest.approx(0.03)


async def test_other_errors_of_a_read_are_passed_on() -> None:
    async def read() -> int:
        await trio.lowlevel.checkpoint()
        raise StaleError("old")

    with pytest.raises(StaleError):
        await patiently(read, pace=Pace(no_jitter))


async def test_a_write_that_has_left_is_awaited_although_its_caller_is_cancelled(autojump_clock: MockClock) -> None:
    arrived = []

    async def write() -> None:
        await trio.sleep(3)
        arrived.append(trio.current_time())

    with trio.move_on_after(1) as scope:
        await committed(write)
        await trio.lowlevel.checkpoint()

    assert arrived == [3.0]
    assert scope.cancelled_caught


async def test_a_cancelled_caller_sends_nothing(autojump_clock: MockClock) -> None:
    sent = []

    async def write() -> None:
        sent.append(1)
        await trio.lowlevel.checkpoint()

    with trio.CancelScope() as scope:
        scope.cancel()
        await committed(write)

    assert sent == []


async def test_a_write_without_an_answer_is_given_up_as_unknown(autojump_clock: MockClock) -> None:
    with pytest.raises(UnavailableError, match="no answer"):
        await committed(trio.sleep_forever)

    assert trio.current_time() == WRITE_DEADLINE_SECONDS


async def test_a_write_is_repeated_until_it_is_accepted_or_never_will_be(autojump_clock: MockClock) -> None:
    write = port(UnavailableError("no"), StaleError("no"), 42, UnavailableError("no"), RejectedError("never"))

    assert await persistently(write, "x", pace=Pace(no_jitter)) == 42
    with pytest.raises(RejectedError, match="never"):
        await persistently(write, "x", pace=Pace(no_jitter))
