"""Rules that apply while admission is down: ValidatingAdmissionPolicies, which the API server evaluates itself.

Each policy has one theme. Its checks are rows of a table; each row stands for rules of ``webhooks.validate`` (or, for
permissions, for those that are never granted). A policy refuses nothing that the admission server would allow. It only
contains the rules that stop an attacker, not those that find a mistake. The API server evaluates policies on every
request, whether admission is up or down. Source: KEP-3488; admission contract 3.7, 8 to 11, 13 and 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from core.api.objects import Object
from core.api.resource import CONFIG_MAP, Resource, Scope
from deployment import metadata
from deployment.permissions.roles import Installation
from deployment.permissions.table import CONFIG_NAME
from deployment.policies.exemptions import MatchCondition

_ADMISSION: Final = "admissionregistration.k8s.io"
POLICY: Final = Resource(
    _ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", Scope.CLUSTER, ("status",)
)
BINDING: Final = Resource(
    _ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", Scope.CLUSTER
)

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
SPECS: Final = {
    "now": "dyn(object.spec)",
    "before": "request.operation == 'UPDATE' ? dyn(oldObject.spec) : dyn({})",
}
"""Untyped specs for the checks: the server compares the types in each check with every kind of its policy."""


@dataclass(frozen=True, slots=True)
class Check:
    """``expression`` is true for every object of ``target`` that follows the rules named ``rules``.

    ``message`` has the form of a finding: field, problem, remedy in brackets.
    """

    target: Resource
    expression: str
    message: str
    rules: tuple[str, ...]
    operations: tuple[str, ...] = (CREATE, UPDATE)
    detail: str = ""
    """CEL: a message that names the value; ``message`` is used if this one cannot be computed."""
    others: tuple[Resource, ...] = ()
    """Other kinds with the same check."""

    def document(self, targets: Sequence[Resource], operations: Sequence[str]) -> Object:
        """The check as part of a policy for ``targets`` and ``operations``."""
        mine = [each.plural for each in (self.target, *self.others)]
        guards = [f"!(request.resource.resource in {mine})"] if len(targets) > len(mine) > 1 else []
        if len(targets) > len(mine) == 1:
            guards = [f"request.resource.resource != '{self.target.plural}'"]
        if set(self.operations) != set(operations):
            guards.append(f"request.operation != '{self.operations[0]}'")
        expression = " || ".join([*guards, f"({self.expression})"]) if guards else self.expression
        found: Object = {"expression": expression, "message": self.message, "reason": "Invalid"}
        return found | ({"messageExpression": self.detail} if self.detail else {})


@dataclass(frozen=True, slots=True)
class Policy:
    """``name`` has no prefix of the installation. ``variables`` are CEL, by name, in the order of their use."""

    name: str
    purpose: str
    checks: tuple[Check, ...]
    conditions: tuple[MatchCondition, ...]
    variables: dict[str, str] = field(default_factory=dict)
    subresource: str = ""
    reads_settings: bool = False
    """``params`` is the operator's ConfigMap; without a ConfigMap nothing is checked."""
    asks_for_rights: bool = False
    """Whether it uses the authorizer of the API server, so that only the API server can evaluate it."""

    @property
    def targets(self) -> list[Resource]:
        return list(dict.fromkeys(each for check in self.checks for each in (check.target, *check.others)))

    @property
    def operations(self) -> list[str]:
        asked = {operation for check in self.checks for operation in check.operations}
        return [operation for operation in (CREATE, UPDATE) if operation in asked]


def documents(policy: Policy, installation: Installation) -> tuple[Object, Object]:
    """The policy, and the binding that enables it in all namespaces."""
    name = installation.prefix + policy.name
    spec: Object = {
        "failurePolicy": "Fail",
        "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": _rules(policy)},
        "matchConditions": [condition.document() for condition in policy.conditions],
        "variables": [{"name": key, "expression": text} for key, text in policy.variables.items()],
        "validations": [check.document(policy.targets, policy.operations) for check in policy.checks],
    }
    binding: Object = {"policyName": name, "validationActions": ["Deny"]}
    if policy.reads_settings:
        spec = {"paramKind": {"apiVersion": CONFIG_MAP.api_version, "kind": CONFIG_MAP.kind}, **spec}
        binding["paramRef"] = {
            "name": installation.named(CONFIG_NAME),
            "namespace": installation.namespace,
            "parameterNotFoundAction": "Allow",
        }
    if not policy.variables:
        del spec["variables"]
    head = metadata.document(POLICY, name)
    head["metadata"]["annotations"] = {"kubernetes.io/description": policy.purpose}
    return {**head, "spec": spec}, {**metadata.document(BINDING, name), "spec": binding}


def _rules(policy: Policy) -> list[Object]:
    """One rule for each API group and scope."""
    groups: dict[tuple[str, str, Scope], list[str]] = {}
    for target in policy.targets:
        name = f"{target.plural}/{policy.subresource}" if policy.subresource else target.plural
        groups.setdefault((target.group, target.version, target.scope), []).append(name)
    return [
        {
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": policy.operations,
            "resources": resources,
            "scope": scope.value,
        }
        for (group, version, scope), resources in groups.items()
    ]
