"""Refusals of clients are shown for their step, and cannot make the hub write often; who may come again.

(hub/attendance.py)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.api.objects import NamespacedName
from hub.attendance import RETURN_SETTLES, SHOWN_AT_ONCE, SHOWN_EVERY, AttendanceBook
from hub.client_refusal import ClientRefusal
from hub.topology import BoundStep, Client, Place

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ECHO = Place(NamespacedName("team", "run-1"), "echo")


class Clock:
    """A wall clock that a test moves, and a book that notes what it announces."""

    def __init__(self) -> None:
        self.now = START
        self.news: list[Place] = []
        self.book = AttendanceBook(lambda: self.now, self.news.append)

    def refuse(self, message: str, place: Place = ECHO) -> None:
        self.book.refused(place, ClientRefusal.WRONG_TOKEN, message)

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def shown(self, place: Place = ECHO) -> tuple[str, datetime] | None:
        refusal = self.book.of(place).refusal
        return (refusal.message, refusal.at) if refusal is not None else None


def test_the_first_refusal_is_shown_at_once_with_its_instant() -> None:
    clock = Clock()
    clock.refuse("the token is not valid")
    assert clock.news == [ECHO]
    assert clock.shown() == ("the token is not valid", START)


def test_a_step_shows_one_refusal_in_half_a_minute_and_then_the_last_one() -> None:
    clock = Clock()
    for number in range(290):
        clock.refuse(str(number))
        assert clock.shown() == ("0", START)
        clock.pass_by(0.1)
    assert clock.news == [ECHO]
    clock.pass_by(1)
    assert clock.shown() == ("289", START + timedelta(seconds=28.9)), "the next look shows it; nobody was woken for it"
    assert clock.news == [ECHO]
    clock.pass_by(SHOWN_EVERY.total_seconds() - 1)
    clock.refuse("too early")
    assert clock.shown() == ("289", START + timedelta(seconds=28.9))


def test_refusals_of_many_steps_share_a_bound() -> None:
    clock = Clock()
    places = [Place(NamespacedName("team", f"run-{number}"), "echo") for number in range(10 * SHOWN_AT_ONCE)]
    for place in places:
        clock.refuse("wrong", place)
    assert len(clock.news) == SHOWN_AT_ONCE
    clock.pass_by(3)
    assert sum(clock.shown(place) is not None for place in places) == SHOWN_AT_ONCE + 3


def test_a_refusal_stays_when_a_client_comes_and_goes() -> None:
    clock = Clock()
    clock.refuse("wrong")
    clock.book.came(ECHO, Client(1))
    assert clock.book.of(ECHO).is_connected
    assert clock.shown() == ("wrong", START)
    clock.book.went(ECHO)
    assert clock.shown() == ("wrong", START)


def test_another_binding_of_the_step_has_no_refusal() -> None:
    clock = Clock()
    clock.refuse("first")
    clock.refuse("second")
    clock.book.forget(ECHO)
    clock.pass_by(60)
    assert clock.shown() is None
    clock.refuse("third")
    assert clock.shown() == ("third", START + timedelta(seconds=60))


def test_a_clock_that_is_set_back_shows_what_comes_then() -> None:
    clock = Clock()
    clock.refuse("first")
    clock.pass_by(-3600)
    clock.refuse("second")
    assert clock.shown() == ("second", START - timedelta(seconds=3600))


def bound(may_return: str = "", former: Client | None = None) -> BoundStep:
    return BoundStep(ECHO, "uid", former=former, may_return=may_return)


def test_another_process_waits_until_the_operator_has_looked() -> None:
    """Its node starts a container that has ended well again, before the operator can say that the step is finished."""
    clock = Clock()
    assert clock.book.may_come(bound(), Client(1)), "the first one"
    clock.book.came(ECHO, Client(1))
    clock.book.went(ECHO)
    clock.news.clear()
    assert not clock.book.may_come(bound(), Client(1))
    assert clock.news == [], "the node may not have reported the end yet"
    clock.pass_by(RETURN_SETTLES.total_seconds())
    assert not clock.book.may_come(bound(), Client(1))
    assert clock.news == [ECHO]
    asked = clock.book.of(ECHO).returning
    assert asked == clock.now
    clock.pass_by(5)
    assert not clock.book.may_come(bound(), Client(1))
    assert not clock.book.may_come(bound("2026-01-02T03:00:00Z"), Client(1)), "the answer to a former question"
    assert clock.book.may_come(bound("2026-01-02T03:04:05Z"), Client(1))
    clock.book.came(ECHO, Client(1))
    assert clock.book.of(ECHO).returning is None
    clock.book.went(ECHO)
    assert not clock.book.may_come(bound("2026-01-02T03:04:05Z"), Client(1)), "each return is asked for"


def test_the_same_process_and_another_attempt_need_not_wait() -> None:
    clock = Clock()
    clock.book.came(ECHO, Client(1, "a"))
    clock.book.went(ECHO)
    assert clock.book.may_come(bound(), Client(1, "a"))
    assert not clock.book.may_come(bound(), Client(1, "b"))
    assert not clock.book.may_come(bound(), Client(1))
    assert clock.book.may_come(bound(), Client(2))


def test_a_hub_that_has_started_again_knows_whom_the_former_one_has_served() -> None:
    clock = Clock()
    assert clock.book.may_come(bound(former=Client(1, "a")), Client(1, "a"))
    assert not clock.book.may_come(bound(former=Client(1)), Client(1))
    assert clock.book.may_come(bound(former=Client(1)), Client(2))
