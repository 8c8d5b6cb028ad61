"""What is retried, how often and when; exact in virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from core.kube.errors import (
    ConflictError,
    ConnectionLostError,
    InternalServerError,
    TooManyRequestsError,
    UnreachableError,
)
from core.kube.retry import ONCE, Backoff, CallRetries, wait_seconds, with_retries
from kubewire import status_failure

SICK = InternalServerError(status_failure("InternalError", "sick"))
CONFLICT = ConflictError(status_failure("Conflict", "changed"))


class Call:
    """Raises the given errors, in order, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.at: list[float] = []

    async def __call__(self) -> str:
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def too_many(seconds: float) -> TooManyRequestsError:
    return TooManyRequestsError(status_failure("TooManyRequests", "slow down"), retry_after=seconds)


async def test_a_read_survives_a_passing_sickness(autojump_clock: trio.testing.MockClock) -> None:
    call = Call(SICK, ConnectionLostError("cut"), UnreachableError("refused"))

    assert await with_retries(call, idempotent=True) == "done"
    assert len(call.at) == 4
    gaps = [later - earlier for earlier, later in zip(call.at, call.at[1:], strict=False)]
    assert all(0.01 <= gap <= ceiling for gap, ceiling in zip(gaps, (0.1, 0.2, 0.4), strict=True))


@pytest.mark.parametrize("error", [SICK, ConnectionLostError("cut", outcome_unknown=True)], ids=["500", "cut off"])
async def test_a_write_with_unknown_outcome_is_not_repeated(
    autojump_clock: trio.testing.MockClock, error: Exception
) -> None:
    call = Call(error)

    with pytest.raises(type(error)):
        await with_retries(call, idempotent=False)
    assert len(call.at) == 1


@pytest.mark.parametrize("error", [too_many(1), UnreachableError("refused")], ids=["429", "unreachable"])
async def test_a_write_that_was_not_done_is_repeated(autojump_clock: trio.testing.MockClock, error: Exception) -> None:
    call = Call(error)

    assert await with_retries(call, idempotent=False) == "done"
    assert len(call.at) == 2


async def test_an_answer_to_decide_on_is_raised_at_once(autojump_clock: trio.testing.MockClock) -> None:
    call = Call(CONFLICT)

    with pytest.raises(ConflictError):
        await with_retries(call, idempotent=True)
    assert call.at == [0.0]


async def test_the_server_is_never_asked_earlier_than_it_said_and_less_than_a_second_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    call = Call(too_many(5), too_many(5))
    await with_retries(call, idempotent=False)
    gaps = [later - earlier for earlier, later in zip(call.at, call.at[1:], strict=False)]

    assert all(5 <= gap <= 6 for gap in gaps)
    assert gaps[0] != gaps[1]


async def test_attempts_and_deadline_both_end_it(autojump_clock: trio.testing.MockClock) -> None:
    by_count, by_time = Call(*[SICK] * 9), Call(*[too_many(20)] * 9)

    with pytest.raises(InternalServerError):
        await with_retries(by_count, policy=CallRetries(attempts=3), idempotent=True)
    with pytest.raises(TooManyRequestsError):
        await with_retries(by_time, policy=CallRetries(attempts=9, deadline_seconds=50), idempotent=True)
    with pytest.raises(InternalServerError):
        await with_retries(Call(SICK), policy=ONCE, idempotent=True)
    assert (len(by_count.at), len(by_time.at)) == (3, 3)


async def test_cancellation_ends_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(3) as scope:
        await with_retries(Call(too_many(20)), idempotent=True)

    assert scope.cancelled_caught
    assert trio.current_time() == 3


@given(st.integers(1, 10_000), st.floats(0.001, 10), st.floats(10, 1000))
def test_waits_stay_within_their_bounds(attempt: int, base: float, longest: float) -> None:
    assert 0 < wait_seconds(attempt, base, longest) <= min(longest, base * 2.0 ** min(attempt - 1, 100))


def test_a_backoff_grows_until_it_is_reset() -> None:
    backoff = Backoff(1, 1000)
    for _ in range(8):
        last = backoff.next_seconds()
    assert (backoff.failures, last > 12) == (8, True)
    backoff.reset()

    assert backoff.next_seconds() <= 1
    assert backoff.failures == 1


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base_seconds": 0}, {"max_seconds": 0.01}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="retry policy must have"):
        CallRetries(**wrong)  # type: ignore[arg-type]  # the wrong values are the point
