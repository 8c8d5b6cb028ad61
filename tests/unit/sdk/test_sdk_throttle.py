"""The throttle: slots, rate, cancellation, patience. (throttle.py; Trigger contract 5.6)"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bubu_sdk import TriggerCancelledError, TriggerThrottledError
from bubu_sdk.cancellation import Cancellation, SystemClock
from bubu_sdk.delivery import Limits
from bubu_sdk.testing import VirtualClock
from bubu_sdk.throttle import Throttle


class Caller(threading.Thread):
    """A call in a thread of its own that holds its slot until ``leave`` is set."""

    def __init__(self, throttle: Throttle) -> None:
        super().__init__(daemon=True)
        self.cancellation = Cancellation()
        self.inside, self.leave = threading.Event(), threading.Event()
        self.waited = 0
        self.error: Exception | None = None
        self._throttle = throttle
        self.start()

    def run(self) -> None:
        try:
            with self._throttle.admitted(self.cancellation, on_wait=self._count):
                self.inside.set()
                self.leave.wait(10)
        except TriggerCancelledError as error:
            self.error = error

    def _count(self) -> None:
        self.waited += 1

    def finish(self) -> None:
        self.leave.set()
        self.join(10)
        assert not self.is_alive()


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")


def waiting(throttle: Throttle) -> int:
    return len(throttle._waiting)


def test_without_limits_nobody_waits() -> None:
    clock = VirtualClock()
    throttle = Throttle(Limits(), clock)

    for _ in range(100):
        with throttle.admitted(Cancellation()):
            pass

    assert clock.waits == []


def test_a_call_waits_for_a_slot_and_gets_it_in_order_of_arrival() -> None:
    throttle = Throttle(Limits(in_flight=1), SystemClock())
    first = Caller(throttle)
    assert first.inside.wait(10)
    second = Caller(throttle)
    eventually(lambda: waiting(throttle) == 1)
    third = Caller(throttle)
    eventually(lambda: waiting(throttle) == 2)
    assert not second.inside.is_set()

    first.finish()
    assert second.inside.wait(10)
    assert not third.inside.is_set()
    second.finish()
    assert third.inside.wait(10)
    third.finish()

    assert [first.waited, second.waited, third.waited] == [0, 1, 1]


def test_a_cancelled_call_leaves_the_queue_and_is_not_counted() -> None:
    throttle = Throttle(Limits(in_flight=1), SystemClock())
    first = Caller(throttle)
    assert first.inside.wait(10)
    second = Caller(throttle)
    eventually(lambda: waiting(throttle) == 1)

    second.cancellation.cancel()
    second.join(10)

    assert isinstance(second.error, TriggerCancelledError)
    assert second.waited == 0
    first.finish()
    with throttle.admitted(Cancellation(), patience_seconds=0):
        pass


def test_a_slot_that_is_granted_to_a_cancelled_call_is_given_back() -> None:
    throttle = Throttle(Limits(in_flight=1), SystemClock())
    first = Caller(throttle)
    assert first.inside.wait(10)
    second = Caller(throttle)
    eventually(lambda: waiting(throttle) == 1)

    second.cancellation.event.set()  # cancelled, but not woken yet
    first.finish()
    second.join(10)

    assert isinstance(second.error, TriggerCancelledError)
    with throttle.admitted(Cancellation(), patience_seconds=0):
        pass


def test_an_error_inside_frees_the_slot() -> None:
    throttle = Throttle(Limits(in_flight=1), VirtualClock())

    with pytest.raises(RuntimeError), throttle.admitted(Cancellation()):
        raise RuntimeError

    with throttle.admitted(Cancellation(), patience_seconds=0):
        pass


@pytest.mark.parametrize(
    ("limits", "waits"),
    [
        (Limits(per_second=2), [0.5, 0.5]),
        (Limits(per_second=2, burst=3), [0.5]),
        (Limits(per_second=4, burst=1), [0.25, 0.25, 0.25]),
        (Limits(burst=1), []),
    ],
)
def test_the_rate_delays_what_is_over_the_burst(limits: Limits, waits: list[float]) -> None:
    clock = VirtualClock()
    throttle = Throttle(limits, clock)

    for _ in range(4):
        with throttle.admitted(Cancellation()):
            pass

    assert clock.waits == waits


def test_a_pause_restores_the_burst_but_not_more() -> None:
    clock = VirtualClock()
    throttle = Throttle(Limits(per_second=2), clock)
    for _ in range(2):
        with throttle.admitted(Cancellation()):
            pass
    clock.wait(threading.Event(), 60)

    for _ in range(3):
        with throttle.admitted(Cancellation()):
            pass

    assert clock.waits == [60, 0.5]


def test_a_call_that_is_cancelled_while_the_rate_delays_it_gives_back_turn_and_slot() -> None:
    throttle = Throttle(Limits(in_flight=1, per_second=1), VirtualClock())
    with throttle.admitted(Cancellation()):
        pass
    cancelled = Cancellation()
    cancelled.cancel()

    for _ in range(3):
        with pytest.raises(TriggerCancelledError), throttle.admitted(cancelled):
            pass

    waits: list[int] = []
    with throttle.admitted(Cancellation(), patience_seconds=1, on_wait=lambda: waits.append(1)):
        pass
    assert waits == [1]


def test_an_impatient_call_is_refused_with_the_time_to_come_back() -> None:
    throttle = Throttle(Limits(per_second=1), VirtualClock())
    with throttle.admitted(Cancellation()):
        pass
    waits: list[int] = []

    with (
        pytest.raises(TriggerThrottledError) as refused,
        throttle.admitted(Cancellation(), patience_seconds=0.5, on_wait=lambda: waits.append(1)),
    ):
        pass

    assert (refused.value.retry_after_seconds, refused.value.retryable, waits) == (1.0, True, [1])


def test_an_impatient_call_does_not_wait_for_a_slot() -> None:
    throttle = Throttle(Limits(in_flight=1), VirtualClock())

    with (
        throttle.admitted(Cancellation()),
        pytest.raises(TriggerThrottledError),
        throttle.admitted(Cancellation(), patience_seconds=0),
    ):
        pass
    with throttle.admitted(Cancellation(), patience_seconds=0):
        pass
