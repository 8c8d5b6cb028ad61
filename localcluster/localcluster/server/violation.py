"""One error of a value against a schema: its path, and its message once the whole path is known.

A check finds errors without knowing its path; each caller that enters a value adds its part. So paths cost nothing
while there is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcluster.server import cause
from localcluster.server.cause import Cause, CauseReason


@dataclass(slots=True)
class Violation:
    """One fault: its path, innermost step first, and a function that words it when the whole path is known."""

    steps: list[str | int]
    describe: Callable[[str], Cause]

    @property
    def path(self) -> tuple[str | int, ...]:
        return tuple(reversed(self.steps))

    def cause(self) -> Cause:
        return self.describe(cause.path_text(self.path))


Validator = Callable[[Any], list[Violation]]
"""Returns the faults of a value; without faults, always the same empty list."""

NOTHING: list[Violation] = []
"""The result of every check that finds no fault; never changed."""


def type_name(value: Any) -> str:
    """The JSON type of ``value``, as error messages name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return "array" if isinstance(value, list) else "object"


def one(describe: Callable[[str], Cause]) -> list[Violation]:
    """A single fault at the value itself."""
    return [Violation([], describe)]


def in_body(value: Any, detail: str) -> list[Violation]:
    """A fault of the value with the message ``<path> in body <detail>``."""
    return one(lambda field: cause.invalid(field, value, f"{field} in body {detail}"))


def wrong_type(actual: str, wanted: str) -> list[Violation]:
    """A value has the JSON type ``actual`` and must have ``wanted``."""
    return one(lambda field: cause.type_invalid(field, actual, wanted))


def detached(text: Callable[[str], str]) -> list[Violation]:
    """A fault that the API server reports without a field; the text names the field."""
    return one(lambda field: Cause(CauseReason.INVALID, f'Invalid value: "": {text(field)}', cause.NO_FIELD))
