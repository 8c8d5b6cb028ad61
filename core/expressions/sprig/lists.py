"""Lists; every function returns a new list and does not change its arguments.

Source: templating contract 10.4; also ``until``, ``untilStep``, ``seq`` and ``chunk`` of 11, within the limits.
"""

from __future__ import annotations

import random
from typing import Final

from core.expressions.errors import LimitExceededError
from core.expressions.limits import Meter
from core.expressions.ordering import ordered
from core.expressions.sprig.conversion import to_int, to_texts
from core.expressions.sprig.reflection import deep_equal
from core.expressions.template import printing, values
from core.expressions.template.functions import ANY, INT, Context, FunctionTable
from core.expressions.template.values import Chunks, Int, Ints, NilList, Strings, Value

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("list", "tuple", rest=ANY)
def _list(*items: Value) -> list[Value]:
    return list(items)


@FUNCTIONS.add("first", "mustFirst", takes=(ANY,))
def _first(items: Value) -> Value:
    return next(iter(_listed(items)), None)


@FUNCTIONS.add("last", "mustLast", takes=(ANY,))
def _last(items: Value) -> Value:
    return _listed(items)[-1] if _listed(items) else None


@FUNCTIONS.add("rest", "mustRest", takes=(ANY,), with_context=True)
def _rest(context: Context, items: Value) -> list[Value]:
    _admit(context, items)
    return list(items[1:]) if _listed(items) else NilList()


@FUNCTIONS.add("initial", "mustInitial", takes=(ANY,), with_context=True)
def _initial(context: Context, items: Value) -> list[Value]:
    _admit(context, items)
    return list(items[:-1]) if _listed(items) else NilList()


@FUNCTIONS.add("append", "push", "mustAppend", "mustPush", takes=(ANY, ANY), with_context=True)
def _append(context: Context, items: Value, item: Value) -> list[Value]:
    _admit(context, items, more=1)
    return [*_listed(items), item]


@FUNCTIONS.add("prepend", "mustPrepend", takes=(ANY, ANY), with_context=True)
def _prepend(context: Context, items: Value, item: Value) -> list[Value]:
    _admit(context, items, more=1)
    return [item, *_listed(items)]


@FUNCTIONS.add("concat", rest=ANY, with_context=True)
def _concat(context: Context, *lists: Value) -> list[Value]:
    context.meter.admit_items(sum(len(_listed(items)) for items in lists))
    joined = [item for items in lists for item in items]
    return joined or NilList()


@FUNCTIONS.add("reverse", "mustReverse", takes=(ANY,), with_context=True)
def _reverse(context: Context, items: Value) -> list[Value]:
    _admit(context, items)
    return list(reversed(_listed(items)))


@FUNCTIONS.add("uniq", "mustUniq", takes=(ANY,), with_context=True)
def _uniq(context: Context, items: Value) -> list[Value]:
    kept: list[Value] = []
    for item in _listed(items):
        if not _holds(kept, item, context.meter):
            kept.append(item)
    return kept


@FUNCTIONS.add("compact", "mustCompact", takes=(ANY,), with_context=True)
def _compact(context: Context, items: Value) -> list[Value]:
    _admit(context, items)
    return [item for item in _listed(items) if values.is_true(item)]


@FUNCTIONS.add("without", "mustWithout", takes=(ANY,), rest=ANY, with_context=True)
def _without(context: Context, items: Value, *omitted: Value) -> list[Value]:
    _admit(context, items)
    return [item for item in _listed(items) if not _holds(list(omitted), item, context.meter)]


@FUNCTIONS.add("has", "mustHas", takes=(ANY, ANY), with_context=True)
def _has(context: Context, item: Value, items: Value) -> bool:
    return items is not None and _holds(_listed(items), item, context.meter)


@FUNCTIONS.add("slice", "mustSlice", takes=(ANY,), rest=ANY, with_context=True)
def _slice(context: Context, items: Value, *bounds: Value) -> Value:
    _admit(context, items)
    listed = _listed(items)
    if not listed:
        return None
    start = to_int(bounds[0]) if bounds else 0
    end = to_int(bounds[1]) if len(bounds) > 1 else len(listed)
    if not 0 <= start <= end <= len(listed):
        raise ValueError(f"[{start}:{end}] is outside a list of {len(listed)} items")
    return type(listed)(listed[start:end])


@FUNCTIONS.add("sortAlpha", takes=(ANY,), with_context=True)
def _sort_alpha(context: Context, items: Value) -> Strings:
    texts = [printing.NIL] if items is None else to_texts(items, context)
    return Strings(ordered(texts, key=values.to_bytes))


@FUNCTIONS.add("chunk", "mustChunk", takes=(INT, ANY), with_context=True)
def _chunk(context: Context, size: int, items: Value) -> Chunks:
    if size <= 0:
        raise ValueError("the size of a chunk must be greater than zero")
    _admit(context, items)
    listed = _listed(items)
    return Chunks(list(listed[start : start + size]) for start in range(0, len(listed), size))


@FUNCTIONS.add("until", takes=(INT,), with_context=True)
def _until(context: Context, end: int) -> Ints:
    return _ints(context, range(0, end, -1 if end < 0 else 1))


@FUNCTIONS.add("untilStep", takes=(INT, INT, INT), with_context=True)
def _until_step(context: Context, start: int, end: int, step: int) -> Ints:
    if step == 0 or (end < start) != (step < 0):
        return Ints()
    return _ints(context, range(start, end, step))


@FUNCTIONS.add("seq", rest=INT, with_context=True)
def _seq(context: Context, *bounds: int) -> str:
    """Numbers up to and including the end, as a string; bounds are end, or start end, or start step end."""
    if not 1 <= len(bounds) <= 3:
        return ""
    start = bounds[0] if len(bounds) > 1 else 1
    end = bounds[-1]
    step = bounds[1] if len(bounds) == 3 else 1 if end >= start else -1
    if step == 0 or (end < start) != (step < 0):
        return ""
    return " ".join(map(str, _ints(context, range(start, end + (1 if step > 0 else -1), step))))


@FUNCTIONS.add("shuffle", takes=(ANY,), with_context=True, deterministic=False, per_character=4)
def _shuffle(context: Context, text: Value) -> str:
    if not isinstance(text, str):
        raise ValueError("shuffles the characters of a string")  # noqa: TRY004 - the data is wrong, not the call
    characters = list(text)
    generator: random.Random = context.random
    generator.shuffle(characters)
    return "".join(characters)


def _listed(items: Value) -> list[Value]:
    if isinstance(items, list):
        return items
    raise ValueError(f"needs a list, not {'no value' if items is None else values.type_name(items)}")


def _admit(context: Context, items: Value, *, more: int = 0) -> None:
    if isinstance(items, list):
        context.meter.admit_items(len(items) + more)


def _holds(items: list[Value], item: Value, meter: Meter) -> bool:
    return any(deep_equal(item, known, meter) for known in items)


def _ints(context: Context, numbers: range) -> Ints:
    allowed = context.meter.limits.range_items
    if len(numbers) > allowed:
        raise LimitExceededError("range_items", allowed, f"more than {allowed} numbers")
    context.meter.admit_items(len(numbers))
    return Ints(Int(number) for number in numbers)
