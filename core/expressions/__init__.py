"""The meaning of ``{{ }}``: the template language of the contract, evaluated in process under a step budget.

Read ``resolve`` (values and conditions), ``expression`` (one string), ``paths`` (the forms that keep a type), then
``template`` (the language) and ``sprig`` (the functions). ``analysis`` examines expressions without evaluating them;
``limits`` has the limits of one evaluation, and ``errors`` its failures. Pure and synchronous; ``core.evaluation`` runs
it on the event loop.
"""

from core.expressions.analysis import (
    FieldProblem,
    check_condition,
    check_text,
    check_value,
    condition_references,
    is_constant,
    references_of,
)
from core.expressions.errors import (
    BlockedError,
    EvaluationError,
    ExpressionError,
    Fault,
    ForbiddenFunctionError,
    LimitExceededError,
    OffloadedDataError,
    Position,
    TemplateSyntaxError,
)
from core.expressions.expression import Template, compile_template
from core.expressions.limits import EvaluationLimits
from core.expressions.references import References
from core.expressions.resolve import VariableScope, evaluate_condition, resolve_object, resolve_value

__all__ = [
    "BlockedError",
    "EvaluationError",
    "EvaluationLimits",
    "ExpressionError",
    "Fault",
    "FieldProblem",
    "ForbiddenFunctionError",
    "LimitExceededError",
    "OffloadedDataError",
    "Position",
    "References",
    "Template",
    "TemplateSyntaxError",
    "VariableScope",
    "check_condition",
    "check_text",
    "check_value",
    "compile_template",
    "condition_references",
    "evaluate_condition",
    "is_constant",
    "references_of",
    "resolve_object",
    "resolve_value",
]
