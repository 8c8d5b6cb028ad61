"""The three answers of an evaluation as JSON documents: a value, blocked, or an error."""

from __future__ import annotations

from typing import Any, Final

from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from core.api.objects import Object
from core.evaluation.evaluator import Answer, Failure, FailureCause, NotYet, Value
from core.expressions.errors import Position
from core.expressions.paths import is_reference

_TYPES: Final = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}


def document_of(answer: Answer, field: str) -> Object:
    """``{"value": …}``, ``{"blocked": {"steps", "message", "position"}}`` or an ``error_document``.

    ``field`` is the evaluated field: a message only names a field if it is a part of that.
    """
    match answer:
        case Value(value=value):
            return {"value": value}
        case NotYet(steps=steps, reason=reason, cause=cause):
            return {"blocked": {"steps": sorted(steps), **_error_fields(cause, field, reason)}}
        case Failure(reason=reason, message=message, cause=cause):
            return error_document(cause.kind if cause else reason, **_error_fields(cause, field, message))


def error_document(kind: str, message: str, position: Object | None = None) -> Object:
    """``{"error": {"kind", "message", "position"}}``; ``position`` is ``{"line", "column"}``, both from 1, or null."""
    return {"error": {"kind": kind, "message": message, "position": position}}


def type_of(value: Any) -> str:
    """``null``, ``bool``, ``number``, ``string``, ``array``, ``object``; ``offloaded(KEY)`` for a storage reference."""
    if value is None:
        return "null"
    if not is_reference(value):
        return _TYPES[type(value)]
    path = str(value.get(STORAGE_PATH) or "")
    separator = "." if path and path[0] not in ".[" else ""
    return f"offloaded({value[STORAGE_REFERENCE]}{separator}{path})"


def _error_fields(cause: FailureCause | None, field: str, otherwise: str) -> Object:
    if cause is None:
        return {"message": otherwise, "position": None}
    inner = cause.field.removeprefix(field).lstrip(".")
    where = f"{inner}: " if inner else ""
    remedy = f"; {cause.remedy}" if cause.remedy else ""
    return {"message": f"{where}{cause.message}{remedy}", "position": _document_of_position(cause.position)}


def _document_of_position(position: Position | None) -> Object | None:
    return {"line": position.line, "column": position.column} if position else None
