"""One reason why an object is refused, in the API server's words.

The form follows ``Status.details.causes``: reason, message, field. Not here: the checks (validation*.py, rules.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

NO_FIELD = "<nil>"
"""The name that the API server gives as the field when a check does not belong to a single field."""


class CauseReason(StrEnum):
    """Machine-readable kinds of a field error."""

    INVALID = "FieldValueInvalid"
    REQUIRED = "FieldValueRequired"
    NOT_SUPPORTED = "FieldValueNotSupported"
    DUPLICATE = "FieldValueDuplicate"
    TYPE_INVALID = "FieldValueTypeInvalid"
    FORBIDDEN = "FieldValueForbidden"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    NOT_FOUND = "FieldValueNotFound"


@dataclass(frozen=True, slots=True)
class Cause:
    """A field error; ``message`` does not repeat ``field``."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def as_dict(self) -> dict[str, str]:
        """The form inside ``Status.details.causes``."""
        return {"reason": str(self.reason), "message": self.message, "field": self.field}


class SchemaError(Exception):
    """A CustomResourceDefinition or a schema in it cannot be used (*user*); ``causes`` lists every problem."""

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__("; ".join(str(cause) for cause in causes))
        self.causes = causes


def combined(causes: list[Cause]) -> str:
    """All causes in one line: without brackets when there is one, in brackets when there are several."""
    texts = [str(cause) for cause in causes]
    return texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"


def shown(value: Any) -> str:
    """``value`` as error messages quote it: strings in double quotes, objects and lists as compact JSON."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)


def invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause(CauseReason.INVALID, f"Invalid value: {shown(value)}: {detail}", field)


def invalid_whole(field: str, detail: str) -> Cause:
    """A whole object or list is wrong; the message does not quote it."""
    return Cause(CauseReason.INVALID, f"Invalid value: {detail}", field)


def required(field: str, detail: str = "") -> Cause:
    return Cause(CauseReason.REQUIRED, f"Required value: {detail}" if detail else "Required value", field)


def not_supported(field: str, value: Any, supported: list[Any]) -> Cause:
    allowed = ", ".join(shown(option) for option in supported)
    return Cause(CauseReason.NOT_SUPPORTED, f"Unsupported value: {shown(value)}: supported values: {allowed}", field)


def duplicate(field: str, value: Any) -> Cause:
    return Cause(CauseReason.DUPLICATE, f"Duplicate value: {shown(value)}", field)


def duplicate_whole(field: str) -> Cause:
    """A whole object or list is a duplicate; the message does not quote it."""
    return Cause(CauseReason.DUPLICATE, "Duplicate value", field)


def forbidden(field: str, detail: str) -> Cause:
    return Cause(CauseReason.FORBIDDEN, f"Forbidden: {detail}", field)


def too_long(field: str, limit_bytes: int) -> Cause:
    return Cause(CauseReason.TOO_LONG, f"Too long: may not be more than {limit_bytes} bytes", field)


def too_many(field: str, count: int, limit: int) -> Cause:
    return Cause(CauseReason.TOO_MANY, f"Too many: {count}: must have at most {limit} items", field)


def type_invalid(field: str, actual: str, wanted: str) -> Cause:
    text = f'Invalid value: "{actual}": {field} in body must be of type {wanted}: "{actual}"'
    return Cause(CauseReason.TYPE_INVALID, text, field)


def path_text(path: tuple[str | int, ...]) -> str:
    """``("spec", "steps", 0, "name")`` as ``spec.steps[0].name``; the empty path as ``<nil>``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts) or NO_FIELD
