"""Which workers a pool can do without."""

from __future__ import annotations

import pytest

from reconcilers.adapters.worker_use import PoolUse, PoolUses, WorkerLoad, dispensable

POOL = ("team", "pool")


def loads(text: str) -> list[WorkerLoad]:
    """``a0 b2 c-``: a is idle, b has two steps, c does not take steps and has none, ``d-2`` has two."""
    return [
        WorkerLoad(each[0], f"uid-{each[0]}", int(each.replace("-", "")[1:] or 0), "-" not in each)
        for each in text.split()
    ]


@pytest.mark.parametrize(
    ("workers", "replicas", "wanted", "names"),
    [
        ("a2 b0 c1", 3, 1, "bc"),
        ("a1 b1 c1", 3, 2, "a"),
        ("a0 b0 c0", 3, 3, ""),
        ("a0 b1 c-", 3, 2, "c"),
        ("a0 b1 c-", 3, 1, "ca"),
        ("a0 b- c-", 3, 1, "bc"),
        ("a0 b-2 c-2", 3, 1, ""),  # two may be lost, so the only one that takes steps stays
        ("a0 b0 c-2", 3, 1, "a"),
        ("a0 b0", 3, 1, "a"),  # one Pod is still to be made
        ("a0 b0 c0 d0", 3, 1, ""),  # one is about to go
    ],
)
def test_idle_ones_go_first_and_enough_that_take_steps_stay(
    workers: str, replicas: int, wanted: int, names: str
) -> None:
    assert "".join(each.name for each in dispensable(loads(workers), replicas, wanted)) == names


def test_those_that_are_to_go_are_chosen_anew_each_time() -> None:
    uses = PoolUses()
    assert uses.retire(POOL, loads("a1 b2 c2"), 3, 2) == []
    assert uses.is_retiring(POOL, "uid-a")
    [idle] = uses.retire(POOL, loads("a1 b2 c0"), 3, 2)
    assert idle.name == "c"
    assert not uses.is_retiring(POOL, "uid-a")
    assert uses.keep_all(POOL)
    assert not uses.is_retiring(POOL, "uid-c")
    assert not uses.keep_all(POOL)


def test_the_use_of_a_pool_counts_from_the_first_look() -> None:
    uses = PoolUses()
    uses.note(POOL, 9, 1.0)
    use = uses.of(POOL, 2, 5.0)
    assert use == PoolUse(since=5.0, most=2, used_at=5.0)
    uses.note(POOL, 4, 6.0)
    uses.note(POOL, 0, 7.0)
    assert uses.of(POOL, 0, 8.0) == PoolUse(since=5.0, most=4, used_at=7.0)
    use.begin_anew(1, 9.0)
    assert uses.of(POOL, 1, 10.0) == PoolUse(since=9.0, most=1, used_at=7.0)
    uses.forget(POOL)
    assert uses.of(POOL, 0, 11.0) == PoolUse(since=11.0, most=0, used_at=11.0)
