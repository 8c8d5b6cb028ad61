"""Sets of field paths in the form of managedFields (FieldsV1), and the operations on them.

A set is the JSON trie itself: keys are path elements (``f:name``, ``k:{"name":"x"}``, ``v:"x"``, ``i:0``), ``"."``
marks that a node with children is itself a member, and an empty node below the root is a member. An empty *root* is the
empty set. Pure; arguments are never changed, results may share nodes with them.
Source: structured-merge-diff ``fieldpath``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]

_SELF = "."
_LEAF: FieldSet = {}


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Members of either set."""
    if not left:
        return right
    if not right:
        return left
    return _children_union(left, right)


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Members of ``left`` that are not members of ``right``."""
    if not left or not right:
        return left
    return _combined(left, right, _node_difference, keep_unmatched=True)


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """Members of both sets."""
    if not left or not right:
        return {}
    return _combined(left, right, _node_intersection, keep_unmatched=False)


def is_member(node: FieldSet) -> bool:
    """Whether a node below the root is itself in the set."""
    return not node or _SELF in node


def node_of(member: bool, children: FieldSet) -> FieldSet | None:
    """The node below the root with these children; None when neither it nor a child is a member."""
    if not member:
        return children or None
    return {_SELF: {}, **children} if children else _LEAF


def children_of(node: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    """Path elements below a node, without its own membership."""
    return ((element, child) for element, child in node.items() if element != _SELF)


def paths(fields: FieldSet) -> list[str]:
    """Members in the form of conflict messages, e.g. ``.spec.containers[name="a"].image``, parents first."""
    found: list[str] = []

    def visit(node: FieldSet, prefix: str) -> None:
        for element, child in sorted(children_of(node), key=lambda item: item[0]):
            path = prefix + element_text(element)
            if is_member(child):
                found.append(path)
            visit(child, path)

    visit(fields, "")
    return found


def without_paths(fields: FieldSet, unwanted: tuple[tuple[str, ...], ...]) -> FieldSet:
    """``fields`` without exactly these members; members below them stay."""
    for path in unwanted:
        if _contains(fields, path):
            fields = difference(fields, _single(path))
    return fields


def _contains(fields: FieldSet, path: tuple[str, ...]) -> bool:
    for element in path:
        if element not in fields:
            return False
        fields = fields[element]
    return is_member(fields)


def _single(path: tuple[str, ...]) -> FieldSet:
    node: FieldSet = {}
    for element in reversed(path):
        node = {element: node}
    return node


def _children_union(left: FieldSet, right: FieldSet) -> FieldSet:
    merged = dict(left)
    for element, child in right.items():
        mine = merged.get(element)
        merged[element] = child if mine is None else _node_union(mine, child)
    return merged


def _node_union(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right:
        return left
    if not left:
        return {_SELF: {}, **right} if right else left
    if not right:
        return {_SELF: {}, **left}
    return _children_union(left, right)


_Combine = Callable[[FieldSet, FieldSet], "FieldSet | None"]


def _combined(left: FieldSet, right: FieldSet, combine: _Combine, *, keep_unmatched: bool) -> FieldSet:
    """Children of both, combined; children that only ``left`` has are kept or dropped."""
    result: FieldSet = {}
    for element, child in left.items():
        if element == _SELF:
            continue
        other = right.get(element)
        if other is None:
            if keep_unmatched:
                result[element] = child
        elif (node := combine(child, other)) is not None:
            result[element] = node
    return result


def _node_difference(left: FieldSet, right: FieldSet) -> FieldSet | None:
    member = is_member(left) and not is_member(right)
    return node_of(member, _combined(left, right, _node_difference, keep_unmatched=True))


def _node_intersection(left: FieldSet, right: FieldSet) -> FieldSet | None:
    member = is_member(left) and is_member(right)
    return node_of(member, _combined(left, right, _node_intersection, keep_unmatched=False))


def element_text(element: str) -> str:
    """A path element in the form of conflict messages: ``.name``, ``[name="x"]``, ``[="v"]`` or ``[0]``."""
    kind, _, rest = element.partition(":")
    match kind:
        case "f":
            return f".{rest}"
        case "k":
            keys = orjson.loads(rest)
            return "[" + ",".join(f"{name}={_value_text(value)}" for name, value in sorted(keys.items())) + "]"
        case "v":
            return f"[={_value_text(orjson.loads(rest))}]"
        case _:
            return f"[{rest}]"


def _value_text(value: Any) -> str:
    return orjson.dumps(value).decode()
