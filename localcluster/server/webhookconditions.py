"""Match conditions: CEL expressions that must all be true before a webhook is called for a request.

Pure. They see ``object``, ``oldObject`` and ``request``. ``authorizer``, which a real API server offers too, is refused
when a condition that mentions it is written. Source: kube-apiserver's matchconditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localcluster.server import cause, objectmeta, rules_cel, rules_fields
from localcluster.server.cause import Cause
from localcluster.server.rules_cel import CelEvaluationError, CelSyntaxError, Predicate
from localcluster.server.types import Object

MAX_CONDITIONS: Final = 64
_VARIABLES: Final = ("object", "oldObject", "request")
_ANYTHING: Final = {"type": "object", "additionalProperties": True}


def _shape(*texts: str, **others: Object) -> Object:
    return {"type": "object", "properties": {**{name: {"type": "string"} for name in texts}, **others}}


_REQUEST: Final = _shape(
    "uid", "name", "namespace", "operation", "subResource", "requestSubResource",
    kind=_shape("group", "version", "kind"),
    resource=_shape("group", "version", "resource"),
    requestKind=_shape("group", "version", "kind"),
    requestResource=_shape("group", "version", "resource"),
    userInfo=_shape("username", "uid", groups={"type": "array"}, extra=_ANYTHING),
    dryRun={"type": "boolean"},
    options=_ANYTHING,
)  # fmt: skip


class ConditionError(Exception):
    """Whether a webhook is to be asked cannot be told; the text names each expression and what went wrong in it."""


@dataclass(frozen=True)
class Condition:
    """One compiled condition."""

    source: str
    predicate: Predicate


def compiled(conditions: Sequence[Mapping[str, Any]]) -> tuple[Condition, ...]:
    """The conditions of a webhook as it is stored; ``problems`` has found nothing wrong with them."""
    return tuple(Condition(found["expression"], _compile(found["expression"])) for found in conditions)


def all_hold(conditions: Sequence[Condition], review: Mapping[str, Any]) -> bool:
    """Whether the webhook is to be asked; ``review`` is the AdmissionReview's request it would get.

    Raises:
        ConditionError: some gave no answer, and none of the others was false.
    """
    request = {name: value for name, value in review.items() if name not in ("object", "oldObject")}
    variables = {"object": review["object"], "oldObject": review["oldObject"], "request": request}
    failures: list[str] = []
    for condition in conditions:
        try:
            if not condition.predicate.holds(variables):
                return False
        except CelEvaluationError as error:
            failures.append(f"expression '{condition.source}' resulted in error: {error}")
    if failures:
        raise ConditionError(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True


def problems(conditions: Sequence[Mapping[str, Any]], field: str) -> Iterator[Cause]:
    """Everything wrong with the ``matchConditions`` standing at ``field``."""
    if len(conditions) > MAX_CONDITIONS:
        yield cause.too_many(field, len(conditions), MAX_CONDITIONS)
        return
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where = f"{field}[{index}]"
        yield from _expression_problems(condition.get("expression") or "", f"{where}.expression")
        name = condition.get("name") or ""
        if not name:
            yield cause.required(f"{where}.name")
            continue
        for complaint in objectmeta.why_not_qualified(name):
            yield cause.invalid(f"{where}.name", name, complaint)
        if name in seen:
            yield cause.duplicate(f"{where}.name", name)
        seen.add(name)


def _expression_problems(source: str, field: str) -> Iterator[Cause]:
    if not source.strip():
        yield cause.required(field)
    elif rules_cel.mentions(source, "authorizer"):
        yield cause.forbidden(field, "match conditions of a local cluster have no authorizer; use object and request")
    else:
        try:
            _compile(source)
        except CelSyntaxError as error:
            yield cause.invalid(field, source, str(error))


def _compile(source: str) -> Predicate:
    for name in rules_fields.undefined(source, _REQUEST, ("request",)):
        raise CelSyntaxError(f"compilation failed: undefined field '{name}'")
    return rules_cel.compile_predicate(source, _VARIABLES, typed="request")
