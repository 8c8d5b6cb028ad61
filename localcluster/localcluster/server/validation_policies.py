"""Validation of ValidatingAdmissionPolicies and their bindings, with the API server's messages.

Expressions are compiled. Not here: whether they fit the schemas of the kinds that the policy is about, which a real
server writes into the policy's status. Source: Kubernetes 1.37, pkg/apis/admissionregistration/validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from localcluster.server import (
    cause,
    objectmeta,
    policycel,
    rules_cel,
    rules_fields,
    rules_values,
    selectors,
    validation_names,
    webhookconditions,
)
from localcluster.server.cause import Cause
from localcluster.server.policycel import Expression, ResultType
from localcluster.server.rules_cel import CelSyntaxError
from localcluster.server.types import Object
from localcluster.server.validation_webhooks import rule_causes

MAX_AUDIT_ANNOTATIONS: Final = 20
_ACTIONS: Final = ["Audit", "Deny", "Warn"]
_FAILURE_POLICIES: Final = ["Fail", "Ignore"]
_MATCH_POLICIES: Final = ["Equivalent", "Exact"]
_REASONS: Final = ["Forbidden", "Invalid", "RequestEntityTooLarge"]
_IDENTIFIER: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


def policy_causes(policy: Object, _old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a ValidatingAdmissionPolicy."""
    spec = policy.get("spec") or {}
    failure = spec.get("failurePolicy", "Fail")
    if failure not in _FAILURE_POLICIES:
        yield cause.not_supported("spec.failurePolicy", failure, list(_FAILURE_POLICIES))
    if (kind := spec.get("paramKind")) is not None:
        yield from _param_kind_causes(kind)
    constraints = spec.get("matchConstraints")
    if constraints is None:
        yield cause.required("spec.matchConstraints")
    else:
        yield from _match_causes(constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            yield cause.required("spec.matchConstraints.resourceRules")
    yield from _ExpressionChecks(params=kind is not None).causes(policy["metadata"].get("name") or "", spec)


def policy_binding_causes(binding: Object, _old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a ValidatingAdmissionPolicyBinding."""
    spec = binding.get("spec") or {}
    name = spec.get("policyName") or ""
    if not name:
        yield cause.required("spec.policyName")
    for complaint in validation_names.why_not_subdomain(name) if name else ():
        yield cause.invalid("spec.policyName", name, complaint)
    if (reference := spec.get("paramRef")) is not None:
        yield from _param_reference_causes(reference)
    if (resources := spec.get("matchResources")) is not None:
        yield from _match_causes(resources, "spec.matchResources")
    yield from _action_causes(spec.get("validationActions") or [])


class _ExpressionChecks:
    """Checks the expressions of one policy; ``params``: whether they may read parameters."""

    def __init__(self, *, params: bool) -> None:
        self._params = params
        self._variables: dict[str, Expression] = {}

    def causes(self, name: str, spec: Mapping[str, Any]) -> Iterator[Cause]:
        """Everything wrong with the expressions of the policy called ``name``."""
        yield from self._conditions(spec.get("matchConditions") or ())
        for index, variable in enumerate(spec.get("variables") or ()):
            yield from self._variable(variable, f"spec.variables[{index}]")
        validations, notes = spec.get("validations") or (), spec.get("auditAnnotations") or ()
        if not validations and not notes:
            for field in ("validations", "auditAnnotations"):
                yield cause.required(f"spec.{field}", "validations or auditAnnotations must contain at least one item")
        for index, validation in enumerate(validations):
            yield from self._validation(validation, f"spec.validations[{index}]")
        yield from self._notes(name, notes)

    def _conditions(self, conditions: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
        field = "spec.matchConditions"
        if len(conditions) > webhookconditions.MAX_CONDITIONS:
            yield cause.too_many(field, len(conditions), webhookconditions.MAX_CONDITIONS)
        seen: set[str] = set()
        for index, condition in enumerate(conditions):
            where = f"{field}[{index}]"
            source = (condition.get("expression") or "").strip()
            if not source:
                yield cause.required(f"{where}.expression")
            elif why := self._why_not(source, "bool", {}):
                yield cause.invalid(f"{where}.expression", source, why)
            yield from webhookconditions.name_problems(condition.get("name") or "", f"{where}.name", seen)

    def _variable(self, variable: Mapping[str, Any], where: str) -> Iterator[Cause]:
        name, source = variable.get("name") or "", variable.get("expression") or ""
        if not name.strip():
            yield cause.required(f"{where}.name", "name is not specified")
        elif not _IDENTIFIER.fullmatch(name) or rules_values.escaped(name) == f"__{name}__":
            yield cause.invalid(f"{where}.name", name, "must be a valid CEL identifier")
        if not source.strip():
            yield cause.required(f"{where}.expression", "expression is not specified")
            return
        if why := self._why_not(source, "any", self._variables):
            yield cause.invalid(f"{where}.expression", source, why)
            self._variables[name] = Expression("null", "null", "null")  # its uses are no further mistakes
        else:
            self._variables[name] = policycel.expression(source, self._variables)

    def _validation(self, validation: Mapping[str, Any], where: str) -> Iterator[Cause]:
        source = validation.get("expression") or ""
        if not source.strip():
            yield cause.required(f"{where}.expression", "expression is not specified")
        elif why := self._why_not(source, "bool", self._variables):
            yield cause.invalid(f"{where}.expression", source, why)
        said = validation.get("messageExpression") or ""
        if said and not said.strip():
            yield cause.invalid(f"{where}.messageExpression", said, "must be non-empty if specified")
        elif said and (why := self._why_not(said, "string", self._variables, authorizer=False)):
            yield cause.invalid(f"{where}.messageExpression", said, why)
        message = validation.get("message") or ""
        if message and not message.strip():
            yield cause.invalid(f"{where}.message", message, "must be non-empty if specified")
        elif "\n" in message.strip() or "\r" in message.strip():
            yield cause.invalid(f"{where}.message", message, "must not contain line breaks")
        reason = validation.get("reason")
        if reason is not None and reason not in _REASONS:
            yield cause.not_supported(f"{where}.reason", reason, list(_REASONS))

    def _notes(self, name: str, notes: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
        field = "spec.auditAnnotations"
        if len(notes) > MAX_AUDIT_ANNOTATIONS:
            detail = f"must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations"
            yield cause.invalid(field, list(notes), detail)
        seen: set[str] = set()
        for index, note in enumerate(notes):
            where, key = f"{field}[{index}]", note.get("key") or ""
            for complaint in objectmeta.why_not_qualified(f"{name}/{key}"):
                yield cause.invalid(f"{where}.key", f"{name}/{key}", complaint)
            source = (note.get("valueExpression") or "").strip()
            if not source:
                yield cause.required(f"{where}.valueExpression", "valueExpression is not specified")
            elif why := self._why_not(source, "any", self._variables):
                yield cause.invalid(f"{where}.valueExpression", note["valueExpression"], why)
            if key in seen:
                yield cause.duplicate(f"{where}.key", key)
            seen.add(key)

    def _why_not(
        self, source: str, wanted: ResultType, variables: Mapping[str, Expression], *, authorizer: bool = True
    ) -> str:
        """Why an expression cannot be used; empty when it can."""
        absent = [] if self._params else ["params"]
        absent += [] if authorizer else ["authorizer"]
        for name in absent:
            if rules_cel.mentions(source, name):
                return f"compilation failed: undeclared reference to '{name}'"
        for name in rules_fields.undefined(source, webhookconditions.REQUEST, ("request",)):
            return f"compilation failed: undefined field '{name}'"
        try:
            policycel.check_type(policycel.expression(source, variables), wanted)
        except CelSyntaxError as error:
            return str(error)
        return ""


def _param_kind_causes(kind: Mapping[str, Any]) -> Iterator[Cause]:
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    group, _, version = api_version.rpartition("/")
    if not api_version:
        yield cause.required("spec.paramKind.apiVersion")
    elif group.count("/"):
        yield cause.invalid("spec.paramKind.apiVersion", api_version, f"unexpected GroupVersion string: {api_version}")
    else:
        for complaint in validation_names.why_not_subdomain(group) if group else ():
            yield cause.invalid("spec.paramKind.apiVersion", group, complaint)
        for complaint in validation_names.why_not_label_1035(version):
            yield cause.invalid("spec.paramKind.apiVersion", version, complaint)
    if not name:
        yield cause.required("spec.paramKind.kind")
    for complaint in validation_names.why_not_label_1035(name.lower()) if name else ():
        detail = f"may have mixed case, but should otherwise match: {complaint}"
        yield cause.invalid("spec.paramKind.kind", name, detail)


def _param_reference_causes(reference: Mapping[str, Any]) -> Iterator[Cause]:
    name, selector = reference.get("name") or "", reference.get("selector")
    if name and selector is not None:
        for field in ("name", "selector"):
            yield cause.forbidden(f"spec.paramRef.{field}", "name and selector are mutually exclusive")
    if selector is not None:
        yield from _selector_causes(selector, "spec.paramRef.selector")
    if not name and selector is None:
        yield cause.required("spec.paramRef", "one of name or selector must be specified")
    action = reference.get("parameterNotFoundAction") or ""
    if not action:
        yield cause.required("spec.paramRef.parameterNotFoundAction")
    elif action not in ("Allow", "Deny"):
        yield cause.not_supported("spec.paramRef.parameterNotFoundAction", action, ["Deny", "Allow"])


def _match_causes(resources: Mapping[str, Any], where: str) -> Iterator[Cause]:
    policy = resources.get("matchPolicy", "Equivalent")
    if policy not in _MATCH_POLICIES:
        yield cause.not_supported(f"{where}.matchPolicy", policy, list(_MATCH_POLICIES))
    for field in ("namespaceSelector", "objectSelector"):
        yield from _selector_causes(resources.get(field) or {}, f"{where}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(field) or ()):
            names = rule.get("resourceNames") or []
            for at, name in enumerate(names):
                if name in names[:at]:
                    yield cause.duplicate(f"{where}.{field}[{index}].resourceNames[{at}]", name)
            yield from rule_causes(rule, f"{where}.{field}[{index}]")


def _selector_causes(selector: Mapping[str, Any], where: str) -> Iterator[Cause]:
    try:
        selectors.label_selector_predicate(selector)
    except (ValueError, KeyError) as error:
        yield cause.invalid(where, selector, str(error))


def _action_causes(actions: Sequence[str]) -> Iterator[Cause]:
    field = "spec.validationActions"
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            yield cause.not_supported(f"{field}[{index}]", action, list(_ACTIONS))
        if action in actions[:index]:
            yield cause.duplicate(f"{field}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        yield cause.invalid(field, list(actions), detail)
    if not actions:
        yield cause.required(field, "at least one validation action is required")
