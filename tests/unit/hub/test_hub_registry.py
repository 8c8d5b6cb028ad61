"""At most one client serves a step, and no older generation comes back. (hub/registry.py)"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.api.objects import NamespacedName
from hub.registry import Registry, StaleGenerationError
from hub.topology import Place

CLIENTS = ("one", "two", "three", "four")
RUN, OTHER = NamespacedName("team", "run-1"), NamespacedName("team", "run-2")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 3), st.sampled_from([RUN, OTHER]))))
def test_the_holder_is_the_last_of_the_highest_generation(calls: list[tuple[bool, int, int, NamespacedName]]) -> None:
    registry: Registry[str] = Registry()
    holders: dict[Place, str] = {}
    highest: dict[Place, int] = {}
    for comes, generation, name, run in calls:
        place, holder = Place(run, "a"), CLIENTS[name]
        if comes and generation < highest.get(place, 0):
            try:
                registry.take(place, generation, holder)
            except StaleGenerationError:
                pass
            else:
                raise AssertionError("an older generation came back")
        elif comes:
            before = holders.get(place)
            assert registry.take(place, generation, holder) == (None if before == holder else before)
            holders[place], highest[place] = holder, generation
        else:
            assert registry.leave(place, holder) == (holders.get(place) == holder)
            if holders.get(place) == holder:
                del holders[place]
        assert registry.holder(place) == holders.get(place)
        assert registry.generation(place) == highest.get(place, 0)
        assert len(registry) == len(holders) == len(registry.holders())

    registry.forget(RUN)
    assert registry.generation(Place(RUN, "a")) == 0
    assert list(registry.of_run(RUN)) == []
    assert list(registry.of_run(OTHER)) == [holder for place, holder in holders.items() if place.run == OTHER]
