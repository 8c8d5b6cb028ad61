"""Strategic merge patches: merge patches that know which lists are keyed.

Lists of built-in kinds merge by the key their schema names (``x-kubernetes-patch-merge-key`` with strategy ``merge``),
primitive lists of strategy ``merge`` are sets, all others are replaced. Directives: ``$patch`` (replace, delete,
merge), ``$retainKeys``, ``$setElementOrder/<field>`` and ``$deleteFromPrimitiveList/<field>``.
Pure; arguments are never changed. Source: apimachinery ``strategicpatch``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubewire import Object, copy_value

Schema = Mapping[str, Any]

_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder/"
_DELETE: Final = "$deleteFromPrimitiveList/"
_STRATEGY: Final = "x-kubernetes-patch-strategy"
_MERGE_KEY: Final = "x-kubernetes-patch-merge-key"
_ANY: Final[Schema] = {}

OBJECT_META: Final[Schema] = {
    "properties": {
        "ownerReferences": {_STRATEGY: "merge", _MERGE_KEY: "uid", "items": {}},
        "finalizers": {_STRATEGY: "merge", "items": {}},
    }
}


class StrategicPatchError(ValueError):
    """The patch is malformed; the text names the directive or the list item."""


def apply(target: Object, patch: Object, schema: Schema | None) -> Object:
    """``target`` with the patch applied.

    Raises:
        StrategicPatchError: a directive or a list item of the patch is invalid.
    """
    schema = schema or _ANY
    schema = {**schema, "properties": {**(schema.get("properties") or {}), "metadata": OBJECT_META}}
    merged = _merge_map(target, patch, schema)
    return merged if merged is not None else {}


def _merge_map(target: Mapping[str, Any], patch: Mapping[str, Any], schema: Schema) -> Object | None:
    """The merged map; None when the patch deletes the map itself."""
    match patch.get(_DIRECTIVE):
        case "replace":
            return {name: copy_value(item) for name, item in patch.items() if name != _DIRECTIVE}
        case "delete":
            return None
        case None | "merge":
            pass
        case other:
            raise StrategicPatchError(f"Unknown patch type found: {other}")
    result: Object = dict(target)
    if (retained := patch.get(_RETAIN)) is not None:
        result = _retained(result, patch, retained)
    orders = {name.removeprefix(_ORDER): item for name, item in patch.items() if name.startswith(_ORDER)}
    deletions = {name.removeprefix(_DELETE): item for name, item in patch.items() if name.startswith(_DELETE)}
    for name in {*orders, *deletions} - set(patch):
        if isinstance(result.get(name), list):
            result[name] = _merge_list(result[name], [], _property(schema, name), orders.get(name), deletions.get(name))
    for name, item in patch.items():
        if name in (_DIRECTIVE, _RETAIN) or name.startswith((_ORDER, _DELETE)):
            continue
        inner, before = _property(schema, name), result.get(name)
        merged = _merge_value(before, item, inner, orders.get(name), deletions.get(name))
        if merged is None:
            result.pop(name, None)
        else:
            result[name] = merged
    return result


def _merge_value(before: Any, item: Any, schema: Schema, order: Any, deletions: Any) -> Any:
    if item is None:
        return None
    if isinstance(item, dict):
        if "replace" in _strategies(schema) or not isinstance(before, dict):
            return _merge_map({}, item, schema)
        return _merge_map(before, item, schema)
    if isinstance(item, list):
        if "merge" not in _strategies(schema):
            return copy_value(item)
        return _merge_list(before if isinstance(before, list) else [], item, schema, order, deletions)
    return item


def _merge_list(before: list[Any], patch: list[Any], schema: Schema, order: Any, deletions: Any) -> list[Any]:
    if "merge" not in _strategies(schema):
        return copy_value(patch) if patch else before
    if any(isinstance(item, dict) for item in (*before, *patch)):
        key = schema.get(_MERGE_KEY)
        if not isinstance(key, str):
            raise StrategicPatchError("a list of objects without a merge key cannot be merged; replace it with $patch")
        merged = _merge_keyed(before, patch, key, schema.get("items") or _ANY)
        wanted = [item.get(key) for item in (order if isinstance(order, list) else patch)]
        return _ordered(merged, before, wanted, lambda item: item.get(key))
    gone = deletions if isinstance(deletions, list) else []
    merged = [item for item in before if item not in gone]
    merged += [item for item in dict.fromkeys(patch) if item not in merged]
    return _ordered(merged, before, order if isinstance(order, list) else patch, lambda item: item)


def _merge_keyed(before: list[Any], patch: list[Any], key: str, schema: Schema) -> list[Any]:
    items = list(before)
    additions: list[Object] = []
    for item in patch:
        if not isinstance(item, dict):
            raise StrategicPatchError(f"list items to be merged by {key!r} must be objects, not {item!r}")
        directive = item.get(_DIRECTIVE)
        if directive == "replace":
            items = []
            continue
        if key not in item:
            raise StrategicPatchError(f"map: {item} does not contain declared merge key: {key}")
        if directive == "delete":
            items = [old for old in items if old.get(key) != item[key]]
        else:
            additions.append(item)
    for item in additions:
        at = next((index for index, old in enumerate(items) if old.get(key) == item[key]), None)
        if at is None:
            items.append(_merge_map({}, item, schema) or {})
        else:
            items[at] = _merge_map(items[at], item, schema) or {}
    return items


def _ordered(merged: list[Any], before: Sequence[Any], order: list[Any], key_of: Any) -> list[Any]:
    """Items that the patch orders, in its order; the server's other items keep their relative places."""
    rank = {_hashable(key): index for index, key in enumerate(order)}
    ours = [item for item in merged if _hashable(key_of(item)) not in rank]
    theirs = sorted(
        (item for item in merged if _hashable(key_of(item)) in rank), key=lambda item: rank[_hashable(key_of(item))]
    )
    stood = {_hashable(key_of(item)): index for index, item in enumerate(before)}
    result: list[Any] = []
    while ours and theirs:
        left, right = stood.get(_hashable(key_of(ours[0]))), stood.get(_hashable(key_of(theirs[0])))
        takes_ours = left is not None and right is not None and left < right
        result.append(ours.pop(0) if takes_ours else theirs.pop(0))
    return result + ours + theirs


def _retained(target: Object, patch: Mapping[str, Any], retained: Any) -> Object:
    if not isinstance(retained, list):
        raise StrategicPatchError(f"{_RETAIN} must be a list of field names")
    extra = [
        name for name, item in patch.items() if not name.startswith("$") and name not in retained and item is not None
    ]
    if extra:
        raise StrategicPatchError(f"{_RETAIN} does not list the patched fields {extra}")
    return {name: item for name, item in target.items() if name in retained}


def _strategies(schema: Schema) -> list[str]:
    return str(schema.get(_STRATEGY) or "").split(",")


def _property(schema: Schema, name: str) -> Schema:
    known = schema.get("properties")
    if known is not None and name in known:
        found: Schema = known[name]
        return found
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, Mapping) else _ANY


def _hashable(key: Any) -> Any:
    return repr(key) if isinstance(key, (dict, list)) else key
