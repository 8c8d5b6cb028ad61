"""The algebra of field sets, compared with that of plain sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localcluster.server import fieldset
from localcluster.server.fieldset import FieldSet

Paths = frozenset[tuple[str, ...]]
paths = st.frozensets(st.lists(st.sampled_from(["f:a", "f:b", 'k:{"n":1}']), min_size=1, max_size=3).map(tuple))


def to_set(members: Paths) -> FieldSet:
    result: FieldSet = {}
    for member in members:
        node: FieldSet = {}
        for element in reversed(member):
            node = {element: node}
        result = fieldset.union(result, node)
    return result


def to_paths(fields: FieldSet) -> Paths:
    found: set[tuple[str, ...]] = set()

    def visit(node: FieldSet, prefix: tuple[str, ...]) -> None:
        for element, child in fieldset.children_of(node):
            if fieldset.is_member(child):
                found.add((*prefix, element))
            visit(child, (*prefix, element))

    visit(fields, ())
    return frozenset(found)


@given(paths)
def test_a_set_holds_what_was_put_in(members: Paths) -> None:
    assert to_paths(to_set(members)) == members


@given(paths, paths)
def test_union_difference_and_intersection_are_those_of_sets(left: Paths, right: Paths) -> None:
    a, b = to_set(left), to_set(right)
    assert to_paths(fieldset.union(a, b)) == left | right
    assert to_paths(fieldset.difference(a, b)) == left - right
    assert to_paths(fieldset.intersection(a, b)) == left & right


@given(paths, paths)
def test_arguments_are_left_alone(left: Paths, right: Paths) -> None:
    a, b = to_set(left), to_set(right)
    fieldset.union(a, b)
    fieldset.difference(a, b)
    assert (to_paths(a), to_paths(b)) == (left, right)


@given(paths)
def test_removing_exact_members_keeps_what_is_below(members: Paths) -> None:
    unwanted = (("f:a",), ("f:b", "f:a"))
    assert to_paths(fieldset.without_paths(to_set(members), unwanted)) == members - set(unwanted)


def test_paths_are_written_as_conflicts_show_them() -> None:
    fields = {"f:spec": {"f:c": {'k:{"name":"x","port":80}': {".": {}, "f:i": {}}}, "f:l": {'v:"a"': {}, "i:0": {}}}}
    assert fieldset.paths(fields) == [
        '.spec.c[name="x",port=80]',
        '.spec.c[name="x",port=80].i',
        ".spec.l[0]",
        '.spec.l[="a"]',
    ]
