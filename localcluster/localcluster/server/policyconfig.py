"""Admission policies and bindings as configured: what each matches, which expressions it has, what a failure does.

Pure. Read from ValidatingAdmissionPolicies and ValidatingAdmissionPolicyBindings. Expressions are only prepared here;
they compile when a request needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localcluster.server import policycel, requestmatch
from localcluster.server.policycel import Expression
from localcluster.server.requestmatch import RequestMatch
from localcluster.server.types import Object

POLICY: Final = "ValidatingAdmissionPolicy"
BINDING: Final = "ValidatingAdmissionPolicyBinding"
DEFAULT_REASON: Final = "Invalid"


@dataclass(frozen=True)
class PolicyValidation:
    """One expression that must be true, and what a refusal says."""

    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True)
class PolicyBinding:
    """One binding. ``match`` is None if it adds no condition; ``param_ref`` is None if it names no parameters."""

    name: str
    actions: tuple[str, ...]
    match: RequestMatch | None
    param_ref: Mapping[str, Any] | None


@dataclass(frozen=True)
class AdmissionPolicy:
    """One policy with its bindings. ``param_kind`` is an API version and a kind, or None."""

    name: str
    match: RequestMatch
    fails_open: bool
    param_kind: tuple[str, str] | None
    conditions: tuple[Expression, ...]
    variables: Mapping[str, Expression]
    validations: tuple[PolicyValidation, ...]
    bindings: tuple[PolicyBinding, ...]


def policies_of(objects: Iterable[Object]) -> list[AdmissionPolicy]:
    """The policies among ``objects`` that have a binding among them, in their order."""
    bindings: dict[str, list[PolicyBinding]] = {}
    definitions: list[Object] = []
    for each in objects:
        if each["kind"] == POLICY:
            definitions.append(each)
        elif each["kind"] == BINDING:
            bindings.setdefault(each["spec"]["policyName"], []).append(_binding(each))
    return [_policy(each, bindings[name]) for each in definitions if (name := each["metadata"]["name"]) in bindings]


def prepared_variables(variables: Iterable[Mapping[str, Any]]) -> dict[str, Expression]:
    """The variables of a policy by name; each may read those before it.

    Raises:
        CelSyntaxError: one reads a variable that is not before it.
    """
    known: dict[str, Expression] = {}
    for each in variables:
        known[each["name"]] = policycel.expression(each["expression"], known)
    return known


def _policy(definition: Object, bindings: Sequence[PolicyBinding]) -> AdmissionPolicy:
    spec = definition["spec"]
    constraints = spec.get("matchConstraints") or {}
    kind = spec.get("paramKind")
    variables = prepared_variables(spec.get("variables") or ())
    conditions = [policycel.expression(each["expression"], {}) for each in spec.get("matchConditions") or ()]
    return AdmissionPolicy(
        name=definition["metadata"]["name"],
        match=_match(constraints),
        fails_open=spec.get("failurePolicy", "Fail") == "Ignore",
        param_kind=(kind["apiVersion"], kind["kind"]) if kind else None,
        conditions=tuple(sorted(conditions, key=_price)),
        variables=variables,
        validations=tuple(_validation(each, variables) for each in spec.get("validations") or ()),
        bindings=tuple(bindings),
    )


def _price(condition: Expression) -> bool:
    """Cheap conditions come first: objects are slow to bind, the request is not. The order changes no result."""
    return condition.mentions("object", "oldObject", "namespaceObject", "params")


def _validation(fields: Mapping[str, Any], variables: Mapping[str, Expression]) -> PolicyValidation:
    message = fields.get("messageExpression")
    return PolicyValidation(
        expression=policycel.expression(fields["expression"], variables),
        message=(fields.get("message") or "").strip(),
        message_expression=policycel.expression(message, variables) if message else None,
        reason=fields.get("reason") or DEFAULT_REASON,
    )


def _binding(binding: Object) -> PolicyBinding:
    spec = binding["spec"]
    resources = spec.get("matchResources")
    return PolicyBinding(
        name=binding["metadata"]["name"],
        actions=tuple(spec.get("validationActions") or ()),
        match=_match(resources) if resources else None,
        param_ref=spec.get("paramRef"),
    )


def _match(resources: Mapping[str, Any]) -> RequestMatch:
    rules = resources.get("resourceRules") or (_ANY_REQUEST,)
    return requestmatch.request_match(resources, rules, resources.get("excludeResourceRules") or ())


_ANY_REQUEST: Final = {name: ["*"] for name in ("apiGroups", "apiVersions", "operations")} | {"resources": ["*/*", "*"]}
