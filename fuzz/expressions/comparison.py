"""Our answer to a template, compared with Go's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from core.expressions import (
    BlockedError,
    EvaluationLimits,
    ExpressionError,
    LimitExceededError,
    OffloadedDataError,
    TemplateSyntaxError,
    compile_template,
    resolve_value,
)
from core.expressions.template import jsontext
from fuzz.expressions.differences import DIFFERENCES, Difference
from fuzz.expressions.grammar import Case
from fuzz.expressions.oracle import Answer

_NAMED_FAULTS: Final = ("missing", "call")
_NOW: Final = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def ours(template: str, variables: Any, limits: EvaluationLimits | None = None) -> Answer:
    """The engine's answer to ``template``, in the form of Go's answers: as in Go, a missing key renders text, and a
    list or map that is the result of a function is printed.
    """
    try:
        limits = limits or EvaluationLimits()
        value = resolve_value(template, variables, limits=limits, now=lambda: _NOW, missing_as_text=True)
        return Answer("value", _printed(template, variables, limits) if isinstance(value, (list, dict)) else value)
    except TemplateSyntaxError as error:
        return Answer("parse", None, "parse", error.message)
    except LimitExceededError as error:
        return Answer("error", None, "limit", error.message)
    except ExpressionError as error:
        kind = "blocked" if isinstance(error, BlockedError) else "error"
        kind = "offloaded" if isinstance(error, OffloadedDataError) else kind
        fault = f"{error.fault} {error.subject}" if error.fault in _NAMED_FAULTS else str(error.fault)
        return Answer(kind, None, fault, error.message)


def _printed(template: str, variables: Any, limits: EvaluationLimits) -> Any:
    """The value of a template that gives a list or map, as Go gives it: here it is printed with text around it."""
    compiled = compile_template(template)
    if compiled.path is not None:
        return resolve_value(template, variables, limits=limits)
    around = f"|{template}"
    text = resolve_value(around, variables, limits=limits, now=lambda: _NOW, missing_as_text=True)[1:]
    try:
        return jsontext.decode(text) if compiled.is_single else text
    except ValueError:
        return text


def same(mine: Answer, go: Answer) -> bool:
    """Whether two answers agree in value, type and kind of error."""
    if mine.kind != go.kind:
        return False
    if mine.kind == "value":
        return same_value(mine.value, go.value)
    return mine.fault == go.fault or mine.kind == "parse"


def same_value(mine: Any, go: Any) -> bool:
    """Whether JSON values are equal; numbers compare as float64, because all of them are float64 in Go."""
    if isinstance(mine, bool) or isinstance(go, bool):
        return mine is go
    if isinstance(mine, (int, float)) and isinstance(go, (int, float)):
        return float(mine) == float(go)
    if isinstance(mine, dict) and isinstance(go, dict):
        return mine.keys() == go.keys() and all(same_value(item, go[key]) for key, item in mine.items())
    if isinstance(mine, list) and isinstance(go, list):
        return len(mine) == len(go) and all(map(same_value, mine, go))
    return type(mine) is type(go) and bool(mine == go)


def excused_by(case: Case, mine: Answer, go: Answer) -> Difference | None:
    """The deliberate difference that explains why the two answers differ."""
    return next((difference for difference in DIFFERENCES if difference.explains(case, mine, go)), None)
