from core.graph.needs import Declared, build_graph


def test_declared_needs_come_first_and_implied_ones_once() -> None:
    graph = build_graph([Declared("a"), Declared("b"), Declared("c", ("b",), frozenset({"a", "b"}))])

    assert graph.needs == {"a": (), "b": (), "c": ("b", "a")}
    assert graph.dependents == {"a": ("c",), "b": ("c",), "c": ()}
    assert graph.unknown == ()


def test_an_underscore_alias_means_the_step() -> None:
    graph = build_graph([Declared("fetch-data"), Declared("use", references=frozenset({"fetch_data"}))])

    assert graph.needs["use"] == ("fetch-data",)


def test_a_real_step_wins_over_the_alias_of_another() -> None:
    graph = build_graph([Declared("a-b"), Declared("a_b"), Declared("use", references=frozenset({"a_b"}))])

    assert graph.needs["use"] == ("a_b",)


def test_unknown_names_are_reported_in_order_and_give_no_edge() -> None:
    graph = build_graph([Declared("b", ("ghost", "a")), Declared("a", references=frozenset({"spirit"}))])

    assert graph.unknown == (("a", "spirit"), ("b", "ghost"))
    assert graph.needs == {"b": ("a",), "a": ()}
