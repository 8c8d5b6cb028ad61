import itertools

from hypothesis import given
from hypothesis import strategies as st

from core.graph.cycles import find_cycle
from core.graph.needs import Declared, Graph, build_graph


def graph_of(**needs: str) -> Graph:
    return build_graph(Declared(name, tuple(wanted.split())) for name, wanted in needs.items())


def test_the_whole_circle_is_named_from_its_first_step_on() -> None:
    assert find_cycle(graph_of(z="", c="a", a="b", b="c")) == ("c", "a", "b", "c")


def test_a_step_that_needs_itself_is_a_circle() -> None:
    assert find_cycle(graph_of(a="", b="a b")) == ("b", "b")


def test_a_diamond_is_no_circle() -> None:
    assert find_cycle(graph_of(a="", b="a", c="a", d="b c")) is None


def test_five_thousand_steps_in_a_row_are_no_problem() -> None:
    names = [f"s{number}" for number in range(5000)]
    chain = build_graph(Declared(name, (names[i + 1],) if i + 1 < len(names) else ()) for i, name in enumerate(names))

    assert find_cycle(chain) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_a_found_circle_is_one_and_none_means_there_is_an_order(edges: list[tuple[int, int]]) -> None:
    graph = build_graph(
        Declared(str(step), tuple(str(need) for user, need in edges if user == step)) for step in range(7)
    )

    cycle = find_cycle(graph)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert all(need in graph.needs[step] for step, need in itertools.pairwise(cycle))
        assert len(set(cycle)) == len(cycle) - 1
    else:
        placed: set[str] = set()
        for _ in graph.order:
            placed |= {step for step in graph.order if set(graph.needs[step]) <= placed}
        assert placed == set(graph.order)
