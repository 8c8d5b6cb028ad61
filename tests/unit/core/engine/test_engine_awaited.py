"""Which waiting steps a change of a definition wakes."""

from __future__ import annotations

from core.engine.awaited import AwaitedDefinitions
from core.engine.errors import Definition
from core.engine.wakeup import WakeUp

FETCH = Definition("Engram", "team", "fetch")
HTTP = Definition("EngramTemplate", "", "http")
OTHER = Definition("Engram", "other", "fetch")


def test_only_the_steps_that_wait_for_it_are_woken() -> None:
    awaited, one, both, stranger = AwaitedDefinitions(), WakeUp(), WakeUp(), WakeUp()
    with awaited.watching({FETCH}, one), awaited.watching({FETCH, HTTP}, both), awaited.watching({OTHER}, stranger):
        awaited.changed(HTTP)
        assert (one.is_set, both.is_set) == (False, True)
        awaited.changed(FETCH)
        assert (one.is_set, stranger.is_set) == (True, False)
        awaited.rules_changed()
        assert stranger.is_set


def test_who_waits_no_longer_is_not_woken_and_leaves_nothing_behind() -> None:
    awaited, one = AwaitedDefinitions(), WakeUp()
    with awaited.watching({FETCH, HTTP}, one):
        assert len(awaited) == 2
    awaited.changed(FETCH)
    awaited.rules_changed()

    assert not one.is_set
    assert len(awaited) == 0
