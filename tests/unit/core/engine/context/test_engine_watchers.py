"""Which watchers the engine wakes when data that expressions can read changes."""

from __future__ import annotations

import pytest

from core.engine.context.watchers import Watchers
from core.engine.wakeup import WakeUp


def test_each_change_wakes_all_who_watch() -> None:
    watchers, one, other = Watchers(), WakeUp(), WakeUp()
    with watchers.watching("a", one), watchers.watching("b", other):
        watchers.wake()

    assert one.is_set
    assert other.is_set


def test_a_change_wakes_nobody_who_does_not_watch_any_more() -> None:
    watchers, one = Watchers(), WakeUp()
    with pytest.raises(RuntimeError, match="it failed"), watchers.watching("a", one):
        raise RuntimeError("it failed")
    watchers.wake()

    assert not one.is_set
