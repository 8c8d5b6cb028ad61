"""Maps; every function returns a new map and does not change its arguments.

Source: templating contract 10.5; ``merge`` and similar functions of 11 copy instead of changing their first argument.
``keys`` and ``values`` are sorted; in the reference implementation their order is random.
"""

from __future__ import annotations

from typing import Final

from core.expressions.limits import Meter
from core.expressions.template import printing, values
from core.expressions.template.functions import ANY, MAP, STRING, Context, FunctionTable
from core.expressions.template.values import StringMap, Strings, Value

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("dict", rest=ANY, with_context=True)
def _dict(context: Context, *pairs: Value) -> dict[str, Value]:
    result: dict[str, Value] = {}
    for index in range(0, len(pairs), 2):
        key = pairs[index]
        name = key if isinstance(key, str) else printing.default_text(key, context.meter)
        result[name] = pairs[index + 1] if index + 1 < len(pairs) else ""
    return result


@FUNCTIONS.add("get", takes=(MAP, STRING))
def _get(mapping: dict[str, Value], key: str) -> Value:
    return mapping.get(key, "")


@FUNCTIONS.add("set", takes=(MAP, STRING, ANY), with_context=True)
def _set(context: Context, mapping: dict[str, Value], key: str, value: Value) -> dict[str, Value]:
    context.meter.admit_items(len(mapping) + 1)
    return {**mapping, key: value}


@FUNCTIONS.add("unset", takes=(MAP, STRING), with_context=True)
def _unset(context: Context, mapping: dict[str, Value], key: str) -> dict[str, Value]:
    context.meter.admit_items(len(mapping))
    return {name: value for name, value in mapping.items() if name != key}


@FUNCTIONS.add("hasKey", takes=(MAP, STRING), takes_missing=True)
def _has_key(mapping: dict[str, Value], key: str) -> bool:
    return key in mapping


@FUNCTIONS.add("pick", takes=(MAP,), rest=STRING)
def _pick(mapping: dict[str, Value], *names: str) -> dict[str, Value]:
    return {name: mapping[name] for name in names if name in mapping}


@FUNCTIONS.add("omit", takes=(MAP,), rest=STRING, with_context=True)
def _omit(context: Context, mapping: dict[str, Value], *names: str) -> dict[str, Value]:
    context.meter.admit_items(len(mapping))
    return {name: value for name, value in mapping.items() if name not in names}


@FUNCTIONS.add("pluck", takes=(STRING,), rest=MAP)
def _pluck(key: str, *mappings: dict[str, Value]) -> list[Value]:
    return [mapping[key] for mapping in mappings if key in mapping]


@FUNCTIONS.add("keys", rest=MAP, with_context=True)
def _keys(context: Context, *mappings: dict[str, Value]) -> Strings:
    context.meter.admit_items(sum(map(len, mappings)))
    return Strings(key for mapping in mappings for key in printing.sorted_keys(mapping))


@FUNCTIONS.add("values", takes=(MAP,), with_context=True)
def _values(context: Context, mapping: dict[str, Value]) -> list[Value]:
    context.meter.admit_items(len(mapping))
    return [mapping[key] for key in printing.sorted_keys(mapping)]


@FUNCTIONS.add("dig", rest=ANY, takes_missing=True)
def _dig(*arguments: Value) -> Value:
    """``dig k1 k2 ... default map``: the value at the end of the keys, or the default at the first absent key."""
    if len(arguments) < 3:
        raise ValueError("takes keys, a default and a map")
    *names, fallback, mapping = arguments
    value: Value = mapping
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"keys are strings, not {values.type_name(name)}")  # noqa: TRY004 - the data is wrong, not the call
    for name in names:
        if not isinstance(value, dict) or isinstance(value, StringMap):
            raise ValueError(f"needs a map, not {values.type_name(value)}")  # noqa: TRY004 - the data is wrong, not the call
        if name not in value:
            return fallback
        value = value[name]
    return value


@FUNCTIONS.add("merge", "mustMerge", takes=(MAP,), rest=MAP, with_context=True)
def _merge(context: Context, first: dict[str, Value], *others: dict[str, Value]) -> dict[str, Value]:
    merged = first
    for other in others:
        merged = _merged(merged, other, context.meter, overwrite=False)
    return dict(merged)


@FUNCTIONS.add("mergeOverwrite", "mustMergeOverwrite", takes=(MAP,), rest=MAP, with_context=True)
def _merge_overwrite(context: Context, first: dict[str, Value], *others: dict[str, Value]) -> dict[str, Value]:
    merged = first
    for other in others:
        merged = _merged(merged, other, context.meter, overwrite=True)
    return dict(merged)


@FUNCTIONS.add("deepCopy", "mustDeepCopy", takes=(ANY,), with_context=True)
def _deep_copy(context: Context, value: Value) -> Value:
    context.meter.spend(2)
    if isinstance(value, list):
        return type(value)(_deep_copy(context, item) for item in value)
    if isinstance(value, dict):
        return type(value)({key: _deep_copy(context, item) for key, item in value.items()})
    return value


def _merged(mine: dict[str, Value], other: dict[str, Value], meter: Meter, *, overwrite: bool) -> dict[str, Value]:
    meter.admit_items(len(mine) + len(other))
    result = dict(mine)
    for key, value in other.items():
        known = result.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            result[key] = _merged(known, value, meter, overwrite=overwrite) or value
        elif overwrite or (value is not None and not values.is_true(known)):
            result[key] = value
    return result
