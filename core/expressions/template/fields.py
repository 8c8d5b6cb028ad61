"""Fields of values: ``.a.b``, ``$x.a``, ``(f x).a``. Source: templating contract 7.3."""

from __future__ import annotations

from collections.abc import Mapping

from core.api.suggestion import closest
from core.expressions.errors import EvaluationError, Fault
from core.expressions.template import nodes, values
from core.expressions.template.arguments import wrong_count
from core.expressions.template.frames import Evaluate, Frame
from core.expressions.template.values import ABSENT, GoObject, StringMap, Value


def walk_field(value: Value, name: str, offset: int) -> Value:
    """``value.name``.

    Raises:
        EvaluationError: the value is nil or has no fields.
    """
    if isinstance(value, dict):
        if isinstance(value, StringMap):
            return value.get(name, "")
        return value.get(name)
    if value is ABSENT:
        return ABSENT
    if value is None:
        raise EvaluationError(
            f"there is no value to take .{name} from",
            fault=Fault.NIL_FIELD,
            offset=offset,
            remedy='use dig for a path that may be absent, as in {{ dig "a" "b" "default" inputs }}',
        )
    if isinstance(value, GoObject):
        if (result := value.field(name)) is not None:
            return result
        if (method := value.method(name)) is not None:
            raise wrong_count(method, 0, offset)
    raise EvaluationError(
        f"a value of type {values.type_name(value)} has no field .{name}", fault=Fault.NO_FIELD, offset=offset
    )


def field(field: nodes.Field, *, needed: bool = False) -> Evaluate:
    """The value of a field of the dot; of the root, for a root that is written without its dot.

    ``needed``: a missing key is an error, unless the context renders it as text.
    """
    names, offset = field.names, field.offset
    if field.bare:
        root = names[0]

        def from_root(frame: Frame) -> Value:
            dot = frame.dot
            value = dot if isinstance(dot, dict) and root in dot else frame.slots[0]
            frame.context.meter.spend()
            if needed and not frame.context.missing_as_text:
                return walk_needed(value, names, "", offset)
            for name in names:
                value = value.get(name) if type(value) is dict else walk_field(value, name, offset)
            return value

        return from_root
    return walk(lambda frame: frame.dot, names, offset, needed="" if needed else None)


def walk(start: Evaluate, names: tuple[str, ...], offset: int, *, needed: str | None = None) -> Evaluate:
    """The value at the end of several fields, starting at the value of ``start``.

    ``needed``: how messages call the start; a missing key is an error, unless the context renders it as text.
    """
    if not names:
        return start

    def follow(frame: Frame) -> Value:
        value = start(frame)
        frame.context.meter.spend()
        if needed is not None and not frame.context.missing_as_text:
            return walk_needed(value, names, needed, offset)
        for name in names:
            value = value.get(name) if type(value) is dict else walk_field(value, name, offset)
        return value

    return follow


def walk_needed(value: Value, names: tuple[str, ...], start: str, offset: int) -> Value:
    """The value at the end of ``names``.

    Raises:
        EvaluationError: a key is missing; ``MISSING``.
    """
    for index, name in enumerate(names):
        if type(value) is dict:
            if name not in value:
                raise missing_key(value, name, ".".join((start, *names[: index + 1])).lstrip("."), offset)
            value = value[name]
        else:
            value = walk_field(value, name, offset)
    return value


def missing_key(container: Mapping[str, Value], name: str, path: str, offset: int) -> EvaluationError:
    """The error about ``name``, which ``container`` does not have; empty if the data has computed it. ``path`` leads to
    it, as it could be written.
    """
    guess = closest(name, container) if name else None
    remedy = f'for an optional value write {path} | default ""'
    if guess is not None:
        before = path.removesuffix(f".{name}") if path.endswith(f".{name}") else path.removesuffix(f'["{name}"]')
        remedy = f"did you mean {before}.{guess}?" if before != path and before else f"did you mean {guess}?"
    return EvaluationError(f"{path} is missing", fault=Fault.MISSING, subject=path, offset=offset, remedy=remedy)
