from core.graph.needs import Declared, build_graph
from core.graph.reach import downstream, upstream

GRAPH = build_graph(
    [Declared("a"), Declared("b", ("a",)), Declared("c", ("b",)), Declared("d", ("a",)), Declared("e", ("c", "d"))]
)


def test_downstream_is_the_step_and_all_that_need_it() -> None:
    assert downstream(GRAPH, ["b"]) == {"b", "c", "e"}
    assert downstream(GRAPH, ["e"]) == {"e"}


def test_upstream_is_the_step_and_all_it_needs() -> None:
    assert upstream(GRAPH, ["e"]) == {"a", "b", "c", "d", "e"}
    assert upstream(GRAPH, ["d"]) == {"a", "d"}
