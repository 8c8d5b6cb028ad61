"""Whole values and conditions: evaluates every string of a ``with`` block and keeps every type.

Results are never evaluated again, so data that contains ``{{`` stays data. Source: templating contract 2 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bubu_contract.identity import step_alias
from core.expressions.cel.condition import compile_condition
from core.expressions.errors import (
    EvaluationError,
    ExpressionError,
    Fault,
    ForbiddenFunctionError,
    LimitExceededError,
    OffloadedDataError,
)
from core.expressions.expression import FUNCTIONS, compile_template
from core.expressions.limits import EvaluationLimits, Meter
from core.expressions.paths import Json, is_reference
from core.expressions.template.functions import Context

TEMPLATE_KEY: Final = "$bubuTemplate"
VARIABLES_KEY: Final = "$bubuTemplateVars"
DEFAULT_LIMITS: Final = EvaluationLimits()

_TRUE: Final = frozenset({"true", "1", "yes", "y"})
_FALSE: Final = frozenset({"false", "0", "no", "n", ""})


@dataclass(frozen=True, slots=True)
class VariableScope:
    """The data that an expression can use; the functions here take the result of ``variables``."""

    inputs: Mapping[str, Json]
    steps: Mapping[str, Mapping[str, Json]]
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Json]:
        """``inputs``, ``steps`` with an underscore alias for every name that needs one, and ``extra``."""
        steps: dict[str, Json] = {**self.steps}
        for name in sorted(self.steps):
            steps.setdefault(step_alias(name), self.steps[name])
        return {"inputs": dict(self.inputs), "steps": steps, **self.extra}


def resolve_value(
    value: Json,
    variables: Mapping[str, Json],
    *,
    limits: EvaluationLimits = DEFAULT_LIMITS,
    now: Callable[[], datetime] | None = None,
    deterministic: bool = False,
    missing_as_text: bool = False,
) -> Json:
    """``value`` with every template in it replaced by its value.

    Args:
        now: the clock for ``{{ now }}``; without one, an expression that uses the time fails.
        deterministic: refuse functions whose result depends on time or chance.
        missing_as_text: render a missing key as ``<no value>``, as the reference implementation does.
    Raises:
        ExpressionError: ``field`` is the JSON path of the string, ``position`` the place in it.
    """
    context = Context(Meter(limits), now=now, deterministic=deterministic, missing_as_text=missing_as_text)
    return Resolver(context).value(value, variables)


def resolve_object(
    value: Json,
    variables: Mapping[str, Json],
    *,
    limits: EvaluationLimits = DEFAULT_LIMITS,
    now: Callable[[], datetime] | None = None,
    deterministic: bool = False,
) -> dict[str, Json] | None:
    """``resolve_value`` for a result that must be an object or null.

    Raises:
        ExpressionError: also when the result has another type.
    """
    return as_object(resolve_value(value, variables, limits=limits, now=now, deterministic=deterministic))


def evaluate_condition(
    text: str,
    variables: Mapping[str, Json],
    *,
    limits: EvaluationLimits = DEFAULT_LIMITS,
    now: Callable[[], datetime] | None = None,
    deterministic: bool = False,
    finished: bool = False,
    missing_as_text: bool = False,
) -> bool:
    """Whether the condition is true; a blank one is true.

    Without ``{{`` it is one of the eight words, or CEL. An evaluation of CEL cannot be interrupted: on an event loop,
    use ``core.evaluation`` instead.

    Args:
        finished: every step has ended, so missing data will never arrive.
        missing_as_text: as for ``resolve_value``.
    Raises:
        ExpressionError: also when the result is neither a bool nor one of the eight words.
    """
    context = Context(
        Meter(limits), now=now, deterministic=deterministic, finished=finished, missing_as_text=missing_as_text
    )
    return Resolver(context).condition(text, variables)


def as_object(value: Json) -> dict[str, Json] | None:
    """``value`` if it is an object or null.

    Raises:
        EvaluationError: it has another type.
    """
    if value is None or isinstance(value, dict):
        return value
    raise EvaluationError(
        "the result is not an object", fault=Fault.WRAPPER_SHAPE, remedy="let it evaluate to an object"
    )


def as_word(text: str) -> bool | None:
    """The meaning of one of the eight words ``true 1 yes y false 0 no n``, or of a blank text; ``None`` for other
    texts.
    """
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def is_cel(condition: str) -> bool:
    """Whether a condition is written in CEL: it has no ``{{``, and is neither blank nor one of the eight words."""
    return "{{" not in condition and as_word(condition) is None


def truth(condition: str, result: Json) -> bool:
    """The truth value of a condition's result: a bool itself, a string if it is one of the eight words.

    Raises:
        OffloadedDataError: the result is in object storage.
        EvaluationError: the result is another value.
    """
    if isinstance(result, bool):
        return result
    if isinstance(result, str) and (word := as_word(result)) is not None:
        return word
    if is_reference(result):
        raise _in_storage(condition)
    raise _not_a_boolean(condition, result)


class Resolver:
    """One evaluation: everything that it resolves is counted by one meter. A plain path passes references on.

    Args:
        whole: the variables including the data from object storage, for every template except plain paths.
        stored: roots with a part in object storage; without ``whole`` only plain paths may read them.
    """

    def __init__(
        self, context: Context, whole: Mapping[str, Json] | None = None, stored: frozenset[str] = frozenset()
    ) -> None:
        self._context = context
        self._whole = whole
        self._stored = stored

    def value(self, value: Json, variables: Mapping[str, Json]) -> Json:
        """See ``resolve_value``."""
        return self._walk(value, variables, 0)

    def condition(self, text: str, variables: Mapping[str, Json]) -> bool:
        """See ``evaluate_condition``."""
        if not text.strip():
            return True
        if is_cel(text):
            question = compile_condition(text).ask(variables, self._context.meter, finished=self._context.finished)
            return truth(text, question.answer())
        return truth(text, self.string(text, variables))

    def string(self, text: str, variables: Mapping[str, Json]) -> Json:
        """The value of one string."""
        if "{{" not in text:
            return text
        template = compile_template(text)
        if self._context.deterministic:
            refuse_chance(template.references.functions, text)
        if template.path is None:
            if self._whole is None and not self._stored.isdisjoint(template.references.roots):
                raise _in_storage(text)
            return template.evaluate(variables if self._whole is None else self._whole, self._context)
        try:
            return template.evaluate(variables, self._context)
        except EvaluationError:
            if self._stored.isdisjoint(template.references.roots):
                raise  # its path leads nowhere, and not into stored data
        if self._whole is None:
            raise _in_storage(text)
        return template.evaluate(self._whole, self._context)

    def _walk(self, value: Json, variables: Mapping[str, Json], depth: int) -> Json:
        if isinstance(value, str):
            return self.string(value, variables)
        if not isinstance(value, (dict, list)):
            return value
        allowed = self._context.meter.limits.depth
        if depth >= allowed:
            raise LimitExceededError("depth", allowed, f"the value is nested deeper than {allowed} levels")
        self._context.meter.spend(len(value))
        if isinstance(value, list):
            return [self._inside(f"[{index}]", item, variables, depth) for index, item in enumerate(value)]
        if TEMPLATE_KEY in value:
            return self._wrapper(value, variables, depth)
        return {key: self._inside(key, item, variables, depth) for key, item in value.items()}

    def _inside(self, name: str, value: Json, variables: Mapping[str, Json], depth: int) -> Json:
        try:
            return self._walk(value, variables, depth + 1)
        except ExpressionError as error:
            error.inside(name)
            raise

    def _wrapper(self, wrapper: dict[str, Json], variables: Mapping[str, Json], depth: int) -> Json:
        text = wrapper[TEMPLATE_KEY]
        if not isinstance(text, str):
            raise EvaluationError("must be a string", fault=Fault.WRAPPER_SHAPE, field=TEMPLATE_KEY)
        extra = wrapper.get(VARIABLES_KEY)
        if extra is not None:
            resolved = self._inside(VARIABLES_KEY, extra, variables, depth)
            if not isinstance(resolved, dict):
                raise EvaluationError("must be an object", fault=Fault.WRAPPER_SHAPE, field=VARIABLES_KEY)
            variables = {**variables, **resolved}
            whole = {**self._whole, **resolved} if self._whole is not None else None
            return Resolver(self._context, whole, self._stored)._template(text, variables)
        return self._template(text, variables)

    def _template(self, text: str, variables: Mapping[str, Json]) -> Json:
        try:
            return self.string(text, variables)
        except ExpressionError as error:
            error.inside(TEMPLATE_KEY)
            raise


def refuse_chance(functions: frozenset[str], text: str) -> None:
    """Raises ``ForbiddenFunctionError`` if one of ``functions`` depends on time or chance."""
    for name in sorted(functions):
        if not FUNCTIONS[name].deterministic:
            error = ForbiddenFunctionError(
                f"the function {name} is not available where results must be repeatable", subject=name
            )
            error.fault = Fault.SYNTAX
            error.offset = max(text.find(name), 0)
            error.locate(text)
            raise error


def _not_a_boolean(text: str, result: Json) -> EvaluationError:
    words = "only the strings true, false, yes, no, y, n, 1 and 0 are; " if isinstance(result, str) else ""
    error = EvaluationError(
        f"the condition gave {_kind(result)}, which is not a boolean",
        fault=Fault.NOT_BOOLEAN,
        remedy=f'{words}compare it, as in inputs.mode == "fast"',
    )
    error.locate(text)
    return error


def _in_storage(text: str) -> OffloadedDataError:
    error = OffloadedDataError("it reads data in object storage", remedy="let a step output a small value for it")
    error.locate(text)
    return error


def _kind(result: Json) -> str:
    if result is None:
        return "null"
    if isinstance(result, str):
        return "a string"
    return "a list" if isinstance(result, list) else "an object" if isinstance(result, dict) else "a number"
