"""Paths that keep the type of their value: ``{{ steps.a.output.x }}``, ``{{ steps["my-step"].output }}``.

The value of a path into data in object storage is a reference to the part, not the part itself. Source: templating
contract 3.2-3.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from core.api.suggestion import closest
from core.expressions.errors import BlockedError, EvaluationError, Fault
from core.expressions.limits import Meter
from core.expressions.roots import ITEM, PREVIOUS, ROOTS, STEPS
from core.expressions.template import nodes
from core.expressions.template.nodes import Subscript

Json: TypeAlias = Any  # the types of orjson: None, bool, int, float, str, list, dict

_INDEXED_ROOTS: Final = frozenset(ROOTS)
_OUTPUT_KEYS: Final = ("output", "outputs")
_TICKS_AT_ONCE: Final = 64
_SEGMENTS_OF_OUTPUT: Final[dict[str | int, int]] = {STEPS: 3, ITEM: 1, PREVIOUS: 1}  # steps, the name, output
"""Root → how many segments lead to an output, which may be in object storage."""


@dataclass(frozen=True, slots=True)
class Path:
    """Keys (``str``) and list positions (``int``), starting at the variables; the first is a root."""

    segments: tuple[str | int, ...]


def of_pipe(pipe: nodes.Pipe, *, spaced: bool = False) -> Path | None:
    """The path that a pipeline with ``index`` or subscripts describes, or ``None``.

    These are ``index ROOT "key"`` and ``(index ROOT "key").a.b``; also any mix of fields and subscripts with at least
    one subscript in a form that the reference implementation does not have, because no existing result must be
    preserved there. ``spaced``: it begins with a parenthesis and a space, which the reference implementation does not
    treat as a path.
    """
    if pipe.declared or len(pipe.commands) != 1:
        return None
    operands = pipe.commands[0].operands
    if len(operands) > 1:
        return _indexed(pipe) if _is_reference_index(pipe) else None
    operand = operands[0]
    inner = operand.operand if isinstance(operand, nodes.Chain) else operand
    if not isinstance(inner, nodes.Pipe):
        return None
    if not ((_is_reference_index(inner) and not spaced) or _has_extended_subscript(inner)):
        return None
    return _indexed(operand)


def follow(path: Path, variables: Mapping[str, Json]) -> Json:
    """The value at ``path``.

    Raises:
        BlockedError: a key below ``steps`` is missing.
        EvaluationError: a key elsewhere is missing, or the path leads through a value that is not an object.
    """
    value: Json = variables
    segments = path.segments
    least = _SEGMENTS_OF_OUTPUT.get(segments[0], len(segments))
    for index, segment in enumerate(segments):
        if index >= least and _is_reference(value):
            return _select(value, segments[index:])
        value = _step(value, segment, segments, index, variables)
    return value


def holds_reference(value: dict[str, Json] | list[Json], meter: Meter) -> bool:
    """Whether a storage reference is anywhere in ``value``."""
    pending: list[Json] = [value]
    ticks = 0
    for item in pending:  # the list grows during the loop
        ticks += 1 + (len(item) >> 3)
        if ticks >= _TICKS_AT_ONCE:
            meter.spend(ticks)
            ticks = 0
        if type(item) is list:
            children: Iterable[Json] = item
        elif STORAGE_REFERENCE in item:
            return True
        else:
            children = item.values()
        for child in children:
            kind = type(child)
            if (kind is dict or kind is list) and child is not pending[-1]:  # output and outputs are the same object
                pending.append(child)
    meter.spend(ticks)
    return False


def is_reference(value: Json) -> bool:
    """Whether ``value`` is a reference to data in object storage."""
    return _is_reference(value)


def has_reference(value: object) -> bool:
    """Whether ``value`` contains a storage reference at any depth; for data of this system, which is bounded."""
    pending: list[Any] = [value]
    seen = set[int]()
    while pending:
        each = pending.pop()
        if id(each) in seen:  # output and outputs are the same object; so are a step and its alias
            continue
        seen.add(id(each))
        if is_reference(each):
            return True
        children = each.values() if isinstance(each, Mapping) else each if isinstance(each, list) else ()
        pending += [child for child in children if isinstance(child, Mapping | list)]
    return False


def dotted(segments: tuple[str | int, ...]) -> str:
    """``a.b[0].c``."""
    text = ""
    for segment in segments:
        text += f"[{segment}]" if isinstance(segment, int) else f".{segment}" if text else segment
    return text


def _is_reference(value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    target = value.get(STORAGE_REFERENCE)
    return isinstance(target, str) and bool(target.strip())


def _select(reference: dict[str, Json], rest: tuple[str | int, ...]) -> Json:
    deeper = dotted(rest)
    known = reference.get(STORAGE_PATH)
    if isinstance(known, str) and known:
        deeper = known + ("" if deeper.startswith("[") else ".") + deeper
    return {STORAGE_REFERENCE: reference[STORAGE_REFERENCE], STORAGE_PATH: deeper}


def _step(
    value: Json, segment: str | int, segments: tuple[str | int, ...], index: int, variables: Mapping[str, Json]
) -> Json:
    if isinstance(segment, int):
        if not isinstance(value, list):
            raise _not_a("list", value, segments[:index])
        if 0 <= segment < len(value):
            return value[segment]
    else:
        if not isinstance(value, Mapping):
            raise _not_a("object", value, segments[:index])
        if segment in value:
            return value[segment]
    raise _missing(value, segments, index, variables)


def _not_a(wanted: str, value: Json, path: tuple[str | int, ...]) -> EvaluationError:
    subject = dotted(path)
    article = "an" if wanted == "object" else "a"
    message = f"{subject} is {_name(value)}, not {article} {wanted}"
    return EvaluationError(message, fault=Fault.PATH_TYPE, subject=subject)


def _missing(
    container: Json, segments: tuple[str | int, ...], index: int, variables: Mapping[str, Json]
) -> EvaluationError:
    here = dotted(segments[: index + 1])
    guess = _suggested(container, segments[: index + 1])
    if segments[0] != "steps":
        optional = f'for an optional value write {{{{ {_spelled(segments[: index + 1])} | default "" }}}}'
        return EvaluationError(
            f"{here} is missing", fault=Fault.MISSING, subject=here, remedy=guess or (optional if index else "")
        )
    names = frozenset(map(str, segments[1:2]))
    steps = variables.get("steps")
    entry = steps.get(segments[1]) if isinstance(steps, Mapping) and index else None
    settled = isinstance(entry, Mapping) and any(key in entry for key in _OUTPUT_KEYS)
    return BlockedError(f"{here} is missing", steps=names, settled=settled, subject=here, remedy=guess)


def _suggested(container: Json, path: tuple[str | int, ...]) -> str:
    """The path with the most similar known key at its end, if there is one."""
    guess = closest(str(path[-1]), map(str, container)) if isinstance(container, Mapping) else None
    return f"did you mean {_spelled((*path[:-1], guess))}?" if guess else ""


def _spelled(path: tuple[str | int, ...]) -> str:
    """The path as it can be written in an expression."""
    text = ""
    for segment in path:
        if isinstance(segment, int):
            text += f"[{segment}]"
        elif segment.isidentifier():
            text += f".{segment}" if text else segment
        else:
            text += f'["{segment}"]'
    return text


def _name(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, str):
        return "a string"
    return "a number" if isinstance(value, (int, float)) else "a list" if isinstance(value, list) else "an object"


def _is_reference_index(pipe: nodes.Pipe) -> bool:
    """``index .steps "key"``: a root, one double-quoted key."""
    if len(pipe.commands) != 1 or pipe.declared or pipe.subscript is Subscript.EXTENDED:
        return False
    match pipe.commands[0].operands:
        case (nodes.Name(name="index"), nodes.Field(names=(root,)), nodes.String(source=source)):
            return root in _INDEXED_ROOTS and not source.startswith("`")
        case _:
            return False


def _has_extended_subscript(operand: nodes.Operand) -> bool:
    match operand:
        case nodes.Chain(operand=inner):
            return _has_extended_subscript(inner)
        case nodes.Pipe(subscript=form, commands=(nodes.Command(operands=operands),)) if form is not Subscript.NO:
            return form is Subscript.EXTENDED or _has_extended_subscript(operands[1])
        case _:
            return False


def _indexed(operand: nodes.Operand) -> Path | None:
    segments = _segments(operand)
    return Path(segments) if segments else None


def _segments(operand: nodes.Operand) -> tuple[str | int, ...] | None:
    match operand:
        case nodes.Field(names=names):
            return names
        case nodes.Variable(name="$", fields=fields):
            return fields
        case nodes.Chain(operand=inner, fields=fields):
            before = _segments(inner)
            return (*before, *fields) if before is not None else None
        case nodes.Pipe(commands=(nodes.Command(operands=(nodes.Name(name="index"), inner, key)),)):
            before = _segments(inner)
            last = nodes.constant_key(key)
            return (*before, last) if before is not None and last is not None else None
        case _:
            return None
