"""The errors of expressions without a value.

    ExpressionError                 user: everything below
      TemplateSyntaxError           user: the text is not a template, or not CEL; found before evaluation
        ForbiddenFunctionError      user: a function that is never offered, or not offered here
        UnknownFunctionError        user: there is no such function
      EvaluationError               user: the data does not fit the template
        BlockedError                retry: upstream data does not exist yet; names the steps
        OffloadedDataError          retry: the value is in object storage and must be loaded first
      LimitExceededError            user: the template would cost more than one evaluation may

Each error has its place (``field`` is a JSON path, ``position`` a line and column of the text, ``excerpt`` that line
with a caret below), ``fault`` (the violated rule, for tests and metrics) and ``remedy`` (what to write instead). No
error contains a value of the data, which may be a secret; types and names of keys may appear.
Source: templating contract 6.1 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LIMIT_SETTINGS: Final = {
    "steps": "templating.max-steps",
    "output_bytes": "templating.max-output-bytes",
    "text_bytes": "templating.max-output-bytes",
    "wall_seconds": "templating.evaluation-timeout",
    "input_bytes": "templating.max-input-bytes",
    "depth": "templating.max-depth",
    "include_depth": "templating.max-include-depth",
    "collection_items": "templating.max-collection-items",
    "range_items": "templating.max-range-items",
    "worker_time": "templating.worker-timeout",
    "worker_memory": "templating.worker-memory-bytes",
}
"""Limit → key of the operator's ConfigMap that sets it; intermediate strings may be four times as long as the
output.
"""
_EXCERPT_CHARACTERS: Final = 72
MAX_ERROR_CHARACTERS: Final = 1024  # the text may contain user data and appears in statuses


class Fault(StrEnum):
    """The violated rule; the classes of templating contract 14."""

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
        """The place of the character at ``offset``; the end of the text when ``offset`` is larger than the text."""
        before = text[:offset]
        return cls(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def excerpt(text: str, position: Position) -> str:
    """The line of ``position`` with a caret below the place, cut to the width of a terminal; both lines indented."""
    lines = text.split("\n", position.line)
    line = lines[position.line - 1] if position.line <= len(lines) else ""
    before = min(position.column - 1, len(line))
    start = max(0, before - _EXCERPT_CHARACTERS // 2)
    cut = line[start : start + _EXCERPT_CHARACTERS].rstrip()
    shown = "".join(character if character.isprintable() else " " for character in cut)
    return f"  {shown}\n  {' ' * (before - start)}^"


def bounded(text: str, characters: int = MAX_ERROR_CHARACTERS) -> str:
    """``text`` in a form that a status may contain: at most that many characters, and valid Unicode."""
    if len(text) > characters:
        text = text[: characters - 1] + "…"
    return text.encode("utf-8", "replace").decode()


class ExpressionError(Exception):
    """The expression has no value; see the module for the tree of errors."""

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
        self.excerpt = ""

    def locate(self, text: str) -> None:
        """Set ``position`` and ``excerpt`` from ``offset``, unless an inner template has set them."""
        if self.position is None:
            self.position = Position.of(text, self.offset or 0)
        if not self.excerpt:
            self.excerpt = excerpt(text, self.position)

    def inside(self, step: str) -> None:
        """Prefix ``field`` with the step to its container: ``[2]`` or ``name``."""
        separator = "." if self.field and not self.field.startswith("[") else ""
        self.field = f"{step}{separator}{self.field}"

    def __str__(self) -> str:
        where = f" (line {self.position.line}, column {self.position.column})" if self.position else ""
        field = f"{self.field}: " if self.field else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        text = bounded(f"{field}{self.message}{where}{remedy}", MAX_ERROR_CHARACTERS - len(self.excerpt) - 1)
        return f"{text}\n{bounded(self.excerpt)}" if self.excerpt else text


class TemplateSyntaxError(ExpressionError):
    """The text between ``{{`` and ``}}`` is not the template language."""

    fault = Fault.SYNTAX


class ForbiddenFunctionError(TemplateSyntaxError):
    """A function that reads the operator's environment or the network, or that is not allowed in this field."""

    fault = Fault.DENIED_FUNCTION


class UnknownFunctionError(TemplateSyntaxError):
    """A word is used as a function, and there is no such function; ``subject`` is the word."""


class EvaluationError(ExpressionError):
    """The template is well formed, but the data does not fit it."""


class BlockedError(EvaluationError):
    """Upstream data does not exist yet.

    ``steps`` names the steps to wait for. ``settled`` is true when the named step has already delivered its output, and
    the output does not have the key: waiting longer will not help.
    """

    fault = Fault.MISSING

    def __init__(
        self, message: str, *, steps: frozenset[str], settled: bool = False, subject: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message, subject=subject, remedy=remedy or (_SETTLED_REMEDY if settled else ""))
        self.steps = steps
        self.settled = settled


class OffloadedDataError(EvaluationError):
    """The template needs the content of a value that is in object storage."""

    fault = Fault.COMPOUND


class LimitExceededError(ExpressionError):
    """The evaluation would exceed a limit; ``limit`` names it, ``allowed`` is its value.

    The remedy names the operator's setting, if there is one; limits of a library or of the interpreter's stack are
    fixed.
    """

    fault = Fault.LIMIT

    def __init__(self, limit: str, allowed: float, message: str) -> None:
        setting = LIMIT_SETTINGS.get(limit)
        remedy = f"the operator's setting {setting} allows {allowed:g}" if setting else ""
        super().__init__(message, subject=limit, remedy=remedy)
        self.limit = limit
        self.allowed = allowed


_SETTLED_REMEDY = 'the step has finished without it; give a default, as in {{ steps.a.output.x | default "" }}'
