"""Values as their schema structures them: field sets, comparison, merge and removal, for server-side apply.

A list is one value (atomic) unless the schema calls it a ``set`` or a ``map`` with keys. An object is compared field by
field unless it is atomic. Where there is no schema, objects are compared field by field and lists are atomic. Pure;
arguments are never changed, results share unchanged parts with them. Source: structured-merge-diff ``typed``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from localcluster.server.fieldset import FieldSet, children_of, element_text, is_member, node_of

Schema = Mapping[str, Any]

OBJECT_META: Final[Schema] = {
    "properties": {
        "labels": {"additionalProperties": {}},
        "annotations": {"additionalProperties": {}},
        "finalizers": {"x-kubernetes-list-type": "set", "items": {}},
        "ownerReferences": {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"x-kubernetes-map-type": "atomic"},
        },
    }
}
"""The structure of every kind's ``metadata``, whatever its own schema says."""

_ANY: Final[Schema] = {}
_ABSENT: Final = object()
_SELF: Final = "."
_NUMERIC: Final = ("integer", "number")


class UntypedError(ValueError):
    """A configuration does not fit its schema: an item occurs twice, or has no keys, or a number is a string; the text
    says which, and where.
    """

    def below(self, name: str) -> UntypedError:
        """The same, seen from the object that has the value in its field ``name``."""
        text = str(self)
        return UntypedError(f".{name}{text}" if text.startswith(".") else f".{name}: {text}")


@dataclass(frozen=True)
class Comparison:
    """``changed``: fields that the right value adds or modifies; ``removed``: fields that only the left one has."""

    changed: FieldSet
    removed: FieldSet


def root_schema(schema: Schema | None) -> Schema:
    """The schema of a whole object, with the real structure of ``metadata``."""
    schema = schema or _ANY
    return {**schema, "properties": {**(schema.get("properties") or {}), "metadata": OBJECT_META}}


def field_set(value: Any, schema: Schema) -> FieldSet:
    """Every field that an applied configuration claims."""
    return _claimed_children(value, schema)


def compare(left: Any, right: Any, schema: Schema) -> Comparison:
    """What changed from ``left`` to ``right``; both are objects."""
    changed, removed = _compare_children(left, right, schema)
    return Comparison(changed, removed)


def merge(left: Any, right: Any, schema: Schema) -> Any:
    """``left`` with all values of ``right``, which win.

    An empty keyed list or object of ``right`` claims nothing, so the value in ``left`` stays.

    Raises:
        UntypedError: ``right`` has a keyed list with an item that occurs twice or has no keys, or a string as a number.
    """
    if right is _ABSENT:
        return left
    if isinstance(right, dict) and not _is_atomic_map(schema):
        before = left if isinstance(left, dict) else {}
        merged = dict(before)
        for name, item in right.items():
            try:
                merged[name] = merge(before.get(name, _ABSENT), item, _property(schema, name))
            except UntypedError as error:
                raise error.below(name) from None
        return merged
    if isinstance(right, list) and _list_type(schema) != "atomic":
        return _merge_list(left if isinstance(left, list) else [], right, schema)
    if isinstance(right, str) and schema.get("type") in _NUMERIC:
        raise UntypedError("expected numeric (int or float), got string")
    return right


def remove(value: Any, fields: FieldSet, schema: Schema) -> Any:
    """``value`` without the members of ``fields``; an atomic value is removed whole, with its field."""
    if isinstance(value, dict):
        if not value or _is_atomic_map(schema):
            return None
        kept = {}
        for name, item in value.items():
            node = fields.get(f"f:{name}")
            if node is None:
                kept[name] = item
            elif not is_member(node):
                kept[name] = remove(item, node, _property(schema, name))
        return kept or None
    if isinstance(value, list):
        if not value or _list_type(schema) == "atomic":
            return None
        items = []
        for item in value:
            node = fields.get(_element(item, schema))
            if node is None:
                items.append(item)
            elif not is_member(node):
                items.append(remove(item, node, schema.get("items") or _ANY))
        return items or None
    return value


def with_named_members(fields: FieldSet, schema: Schema) -> FieldSet:
    """``fields``, in which each field on a path that the schema knows by name is a member itself."""
    result: FieldSet = {}
    for element, child in children_of(fields):
        name = element[2:] if element.startswith("f:") else None
        inner = _property(schema, name) if name is not None else (schema.get("items") or _ANY)
        named = name is not None and name in (schema.get("properties") or ())
        node = node_of(is_member(child) or named, with_named_members(child, inner))
        if node is not None:
            result[element] = node
    return result


def _claimed_children(value: Any, schema: Schema) -> FieldSet:
    fields: FieldSet = {}
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        for name, item in value.items():
            inner = _property(schema, name)
            whole = item is None or item == {} or name not in known or _is_leaf(item, inner)
            node = node_of(whole, {} if _is_leaf(item, inner) else _claimed_children(item, inner))
            if node is not None:
                fields[f"f:{name}"] = node
    elif isinstance(value, list):
        inner = schema.get("items") or _ANY
        for item in value:
            children = {} if _is_leaf(item, inner) else _claimed_children(item, inner)
            element = _element(item, schema)
            fields[element] = {} if element in fields else (node_of(True, children) or {})
    return fields


def _is_leaf(value: Any, schema: Schema) -> bool:
    if isinstance(value, dict):
        return _is_atomic_map(schema)
    if isinstance(value, list):
        return _list_type(schema) == "atomic"
    return True


def _compare(left: Any, right: Any, schema: Schema) -> tuple[FieldSet | None, FieldSet | None]:
    """The nodes of what changed and what was removed between two values that both exist."""
    if left is right or left == right:
        return None, None
    if _walks(left, right, schema):
        changed, removed = _compare_children(left, right, schema)
        return changed or None, removed or None
    return {}, None


def _walks(left: Any, right: Any, schema: Schema) -> bool:
    """Whether to compare field by field: both are of one structured kind (or null), and at least one has content."""
    sample = left if right is None else right
    if isinstance(sample, dict):
        return (left is None or isinstance(left, dict)) and bool(left or right) and not _is_atomic_map(schema)
    if isinstance(sample, list):
        return (left is None or isinstance(left, list)) and bool(left or right) and _list_type(schema) != "atomic"
    return False


def _compare_children(left: Any, right: Any, schema: Schema) -> tuple[FieldSet, FieldSet]:
    changed: FieldSet = {}
    removed: FieldSet = {}
    before, after = _children(left, schema), _children(right, schema)
    for key, item in after.items():
        old = before.get(key, _ABSENT)
        if old is item:
            continue
        element, inner = _step(key, right, schema)
        if old is _ABSENT:
            changed[element] = _whole(item, inner)
            continue
        gained, lost = _compare(old, item, inner)
        if gained is not None:
            changed[element] = gained
        if lost is not None:
            removed[element] = lost
    for key, item in before.items():
        if key not in after:
            element, inner = _step(key, left, schema)
            removed[element] = _whole(item, inner)
    return changed, removed


def _children(value: Any, schema: Schema) -> Mapping[str, Any]:
    """The direct children of a value: by field name or, in a list, by path element."""
    if isinstance(value, dict):
        return value
    return _indexed(value, schema, lenient=True) if isinstance(value, list) else {}


def _step(key: str, value: Any, schema: Schema) -> tuple[str, Schema]:
    """The path element of a child, and its schema."""
    if isinstance(value, dict):
        return f"f:{key}", _property(schema, key)
    return key, schema.get("items") or _ANY


def _whole(value: Any, schema: Schema) -> FieldSet:
    """The node of a value that only one side has: itself and all its structured children."""
    if not value or not isinstance(value, dict | list) or _is_leaf(value, schema):
        return {}
    node: FieldSet = {_SELF: {}}
    for key, item in _children(value, schema).items():
        element, inner = _step(key, value, schema)
        node[element] = _whole(item, inner)
    return node


def _merge_list(left: Sequence[Any], right: Sequence[Any], schema: Schema) -> list[Any]:
    """Items of both lists: those of ``right`` in its order, others where they were relative to their predecessors."""
    inner = schema.get("items") or _ANY
    theirs = _indexed(right, schema)
    mine = _indexed(left, schema, lenient=True)
    merged: list[Any] = []
    pending = list(theirs)
    for key, item in mine.items():
        if key not in theirs:
            merged.append(item)
            continue
        while pending and key in pending:
            wanted = pending.pop(0)
            merged.append(merge(mine.get(wanted, _ABSENT), theirs[wanted], inner))
            if wanted == key:
                break
    merged += [merge(mine.get(key, _ABSENT), theirs[key], inner) for key in pending]
    return merged


def _indexed(items: Sequence[Any], schema: Schema, *, lenient: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, item in enumerate(items):
        element = _element(item, schema)
        if element == "k:{}" and not lenient:
            keys = orjson.dumps(schema.get("x-kubernetes-list-map-keys")).decode()
            raise UntypedError(
                f"element {index}: associative list with keys has an element that omits all key fields {keys}"
            )
        if element in found and not lenient:
            raise UntypedError(f"duplicate entries for key {element_text(element)}")
        found.setdefault(element, item)
    return found


def _element(item: Any, schema: Schema) -> str:
    """The path element of a list item: its keys in a map list, its value in a set."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if _list_type(schema) != "map" or not keys or not isinstance(item, dict):
        return "v:" + orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
    properties = (schema.get("items") or _ANY).get("properties") or {}
    values = {}
    for key in keys:
        value = item.get(key, (properties.get(key) or _ANY).get("default"))
        if value is not None:
            values[key] = value
    return "k:" + orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()


def _property(schema: Schema, name: str) -> Schema:
    known = schema.get("properties")
    if known is not None and name in known:
        found: Schema = known[name]
        return found
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, Mapping) else _ANY


def _is_atomic_map(schema: Schema) -> bool:
    return schema.get("x-kubernetes-map-type") == "atomic"


def _list_type(schema: Schema) -> str:
    return str(schema.get("x-kubernetes-list-type") or "atomic")
