"""Why an expression gave no value.

    ExpressionError                 user: everything below
      TemplateSyntaxError           user: the text is not a template; found before evaluation
        ForbiddenFunctionError      user: a function that is never offered, or not offered here
      EvaluationError               user: the data does not fit the template
        BlockedError                retry: upstream data is not there yet; names the steps
        OffloadedDataError          retry: the value lives in object storage and must be fetched first
      LimitExceededError            user: the template would cost more than one evaluation may

Each carries where (``field`` is a JSON path, ``position`` a line and column of the template), ``fault`` (which rule,
for tests and metrics) and ``remedy`` (what to write instead). Source: templating contract 6.1 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_ERROR_CHARACTERS: Final = 1024  # the text may contain user data and lands in statuses


class Fault(StrEnum):
    """Which rule was broken; the classes of templating contract 14."""

    SYNTAX = "parse"
    DENIED_FUNCTION = "denied-function"
    MISSING = "missing"
    PATH_TYPE = "path-type"
    NIL_FIELD = "nil-field"
    NO_FIELD = "no-field"
    ARGUMENT_TYPE = "arg-type"
    ARITY = "arity"
    CALL = "call"
    RANGE_TYPE = "range-type"
    NOT_BOOLEAN = "not-boolean"
    OVERFLOW = "overflow"
    NIL_COMMAND = "nil-command"
    NO_TEMPLATE = "no-template"
    UNDEFINED_VARIABLE = "undefined-variable"
    WRAPPER_SHAPE = "wrapper-shape"
    COMPOUND = "compound"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a template's text; both count from 1, columns in characters."""

    line: int
    column: int

    @classmethod
    def of(cls, text: str, offset: int) -> Position:
        """The place of the character at ``offset``; the end of the text when ``offset`` is beyond it."""
        before = text[:offset]
        return cls(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class ExpressionError(Exception):
    """An expression gave no value; see the module for the tree."""

    fault: Fault = Fault.CALL

    def __init__(
        self,
        message: str,
        *,
        fault: Fault | None = None,
        subject: str = "",
        remedy: str = "",
        offset: int | None = None,
        position: Position | None = None,
        field: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fault = fault or type(self).fault
        self.subject = subject
        self.remedy = remedy
        self.offset = offset
        self.position = position
        self.field = field

    def locate(self, text: str) -> None:
        """Turn ``offset`` into ``position``, unless an inner template already did."""
        if self.position is None:
            self.position = Position.of(text, self.offset or 0)

    def inside(self, step: str) -> None:
        """Prefix ``field`` with one more container: ``[2]`` or ``name``."""
        separator = "." if self.field and not self.field.startswith("[") else ""
        self.field = f"{step}{separator}{self.field}"

    def __str__(self) -> str:
        where = f" (line {self.position.line}, column {self.position.column})" if self.position else ""
        field = f"{self.field}: " if self.field else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        text = f"{field}{self.message}{where}{remedy}"
        if len(text) > MAX_ERROR_CHARACTERS:
            text = text[: MAX_ERROR_CHARACTERS - 1] + "…"
        return text.encode("utf-8", "replace").decode()


class TemplateSyntaxError(ExpressionError):
    """The text between ``{{`` and ``}}`` is not the template language."""

    fault = Fault.SYNTAX


class ForbiddenFunctionError(TemplateSyntaxError):
    """A function that reads the operator's environment or the network, or that this place does not allow."""

    fault = Fault.DENIED_FUNCTION


class EvaluationError(ExpressionError):
    """The template is well formed and the data does not fit it."""


class BlockedError(EvaluationError):
    """Upstream data is not there yet.

    ``steps`` names whom to wait for. ``settled`` is true when the named step has already delivered and the key is
    simply not in what it delivered: waiting longer will not help.
    """

    fault = Fault.MISSING

    def __init__(self, message: str, *, steps: frozenset[str], settled: bool = False, subject: str = "") -> None:
        super().__init__(message, subject=subject, remedy=_SETTLED_REMEDY if settled else "")
        self.steps = steps
        self.settled = settled


class OffloadedDataError(EvaluationError):
    """The template needs the content of a value that lives in object storage."""

    fault = Fault.COMPOUND


class LimitExceededError(ExpressionError):
    """One evaluation may not cost more; ``limit`` names the field of ``Limits``, ``allowed`` its value."""

    fault = Fault.LIMIT

    def __init__(self, limit: str, allowed: float, message: str) -> None:
        super().__init__(message, subject=limit)
        self.limit = limit
        self.allowed = allowed


_SETTLED_REMEDY = 'the step has finished without it; give a default, as in {{ steps.a.output.x | default "" }}'
