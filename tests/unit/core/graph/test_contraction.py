from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.graph.contraction import contracted
from core.graph.needs import Declared, Graph, build_graph
from core.graph.reach import downstream

NAMES = tuple("abcdefg")


def graph(**needs: str) -> Graph:
    return build_graph(Declared(name, tuple(wanted)) for name, wanted in needs.items())


def test_what_needed_a_step_that_is_left_out_needs_what_that_one_needed() -> None:
    found = contracted(graph(a="", p="a", q="p", b="q"), {"a", "b"})

    assert (found.order, found.needs) == (("a", "b"), {"a": (), "b": ("a",)})


def test_needs_end_at_the_nearest_step_that_is_kept() -> None:
    assert contracted(graph(a="", b="a", p="b", c="p"), set("abc")).needs["c"] == ("b",)


def test_each_need_is_named_once_and_a_direct_one_stays() -> None:
    found = contracted(graph(a="", b="", p="ab", q="a", c="pqb"), set("abc"))

    assert found.needs["c"] == ("a", "b")


def test_a_step_whose_needs_are_all_left_out_is_a_source() -> None:
    assert contracted(graph(p="", a="p"), {"a"}).needs == {"a": ()}


def test_a_circle_of_steps_that_are_left_out_ends() -> None:
    assert contracted(graph(p="q", q="p", a="p"), {"a"}).needs == {"a": ()}


@given(
    edges=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] < pair[1])),
    kept=st.sets(st.sampled_from(NAMES)),
)
def test_what_is_behind_what_stays_the_same(edges: set[tuple[str, str]], kept: set[str]) -> None:
    whole = build_graph(Declared(name, tuple(a for a, b in sorted(edges) if b == name)) for name in NAMES)
    found = contracted(whole, kept)

    for name in kept:
        assert downstream(found, [name]) == downstream(whole, [name]) & kept
