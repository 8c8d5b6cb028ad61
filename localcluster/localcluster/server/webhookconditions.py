"""Match conditions: CEL expressions that must all be true before a webhook is called for a request.

Pure. They see ``object``, ``oldObject`` and ``request``. A real API server also offers ``authorizer``; here a condition
that mentions it is refused when it is written. Source: kube-apiserver's matchconditions.
"""

from __future__ import annotations

import functools
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


REQUEST: Final = _shape(
    "uid", "name", "namespace", "operation", "subResource", "requestSubResource",
    kind=_shape("group", "version", "kind"),
    resource=_shape("group", "version", "resource"),
    requestKind=_shape("group", "version", "kind"),
    requestResource=_shape("group", "version", "resource"),
    userInfo=_shape("username", "uid", groups={"type": "array"}, extra=_ANYTHING),
    dryRun={"type": "boolean"},
    options=_ANYTHING,
)  # fmt: skip
"""The fields of ``request`` in CEL."""


class ConditionError(Exception):
    """The conditions have no result; the text names each failed expression and its error."""


@dataclass(frozen=True)
class Condition:
    """One condition; it is compiled at its first use, because the engine takes a twentieth of a second to start."""

    source: str
    variables: tuple[str, ...]
    """Those that it mentions."""

    @property
    def predicate(self) -> Predicate:
        return _compile(self.source)


def prepared(conditions: Sequence[Mapping[str, Any]]) -> tuple[Condition, ...]:
    """The conditions of a webhook, for which ``problems`` has found nothing wrong; cheap ones first.

    Their order makes no difference to the result, but objects are slow to bind and the request is not.
    """
    return tuple(sorted((_condition(found["expression"]) for found in conditions), key=_price))


def all_hold(conditions: Sequence[Condition], review: Mapping[str, Any]) -> bool:
    """Whether to call the webhook; ``review`` is the request of the AdmissionReview that it would get.

    Raises:
        ConditionError: some conditions have no result, and none of the others is false.
    """
    request = {name: value for name, value in review.items() if name not in ("object", "oldObject")}
    variables = {"object": review["object"], "oldObject": review["oldObject"], "request": request}
    failures: list[str] = []
    for condition in conditions:
        try:
            if not condition.predicate.holds({name: variables[name] for name in condition.variables}):
                return False
        except CelEvaluationError as error:
            failures.append(f"expression '{condition.source}' resulted in error: {error}")
    if failures:
        raise ConditionError(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True


def problems(conditions: Sequence[Mapping[str, Any]], field: str) -> Iterator[Cause]:
    """Everything wrong with the ``matchConditions`` at ``field``."""
    if len(conditions) > MAX_CONDITIONS:
        yield cause.too_many(field, len(conditions), MAX_CONDITIONS)
        return
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where = f"{field}[{index}]"
        yield from _expression_problems(condition.get("expression") or "", f"{where}.expression")
        yield from name_problems(condition.get("name") or "", f"{where}.name", seen)


def name_problems(name: str, where: str, seen: set[str]) -> Iterator[Cause]:
    """Everything wrong with the name of a condition; adds it to ``seen``, the names before it."""
    if not name:
        yield cause.required(where)
        return
    for complaint in objectmeta.why_not_qualified(name):
        yield cause.invalid(where, name, complaint)
    if name in seen:
        yield cause.duplicate(where, name)
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


def _condition(source: str) -> Condition:
    return Condition(source, tuple(name for name in _VARIABLES if rules_cel.mentions(source, name)))


def _price(condition: Condition) -> int:
    return sum(name != "request" for name in condition.variables)


@functools.lru_cache(maxsize=256)
def _compile(source: str) -> Predicate:
    for name in rules_fields.undefined(source, REQUEST, ("request",)):
        raise CelSyntaxError(f"compilation failed: undefined field '{name}'")
    return rules_cel.compile_predicate(source, _VARIABLES, typed="request")
