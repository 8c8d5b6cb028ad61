"""Which rules that templates and Engrams request are granted to the runner."""

from __future__ import annotations

import pytest

from core.api.objects import Object
from core.workloads.runner_rules import extra_rules, refusals

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
NAMED_SECRET = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["keys"]}


def template(*rules: Object) -> Object:
    return {"spec": {"execution": {"rbac": {"rules": list(rules)}}}}


def engram(*rules: Object) -> Object:
    return {"spec": {"overrides": {"rbac": {"rules": list(rules)}}}}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"resourceNames": ["a"]}, True),
        ({"apiGroups": ["apps", ""]}, True),
        ({"nonResourceURLs": ["/metrics"]}, False),
        ({"apiGroups": []}, False),
        ({"apiGroups": None}, False),
        ({"apiGroups": ["*"]}, False),
        ({"resources": []}, False),
        ({"resources": ["*"]}, False),
        ({"resources": ["pods", "*/scale"]}, False),
        ({"resources": [""]}, False),
        ({"verbs": []}, False),
        ({"verbs": ["get", "*"]}, False),
        ({"verbs": [""]}, False),
        ({"resourceNames": ["*"]}, False),
        ({"resourceNames": [""]}, False),
    ],
)
def test_rules_of_templates_reach_no_further_than_what_they_name(change: Object, kept: bool) -> None:
    rule = {**PODS, **change}
    assert extra_rules(template(rule), {}) == ([rule] if kept else [])


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"resources": ["configmaps", "secrets"]}, True),
        ({"resourceNames": []}, False),
        ({"resourceNames": None}, False),
        ({"resourceNames": ["*"]}, False),
        ({"resources": ["pods"]}, False),
        ({"resources": ["secrets", "pods"]}, False),
        ({"verbs": ["get", "list"]}, False),
        ({"verbs": []}, False),
        ({"apiGroups": ["apps"]}, False),
        ({"apiGroups": ["", "apps"]}, False),
        ({"apiGroups": []}, False),
        ({"nonResourceURLs": ["/x"]}, False),
    ],
)
def test_rules_of_engrams_only_read_named_configuration(change: Object, kept: bool) -> None:
    rule = {**NAMED_SECRET, **change}
    assert extra_rules({}, engram(rule)) == ([rule] if kept else [])


def test_definitions_without_rules_contribute_none() -> None:
    assert extra_rules({"spec": {"execution": None}}, {"spec": {}}) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]},
        {"apiGroups": ["apps", "rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["get"]},
        {"apiGroups": ["x.example"], "resources": ["widgets"], "verbs": ["get", "escalate"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["list"], "resourceNames": ["keys"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch"], "resourceNames": ["keys"]},
    ],
    ids=lambda rule: f"{rule['verbs'][-1]}-{rule['resources'][-1]}",
)
def test_what_leads_to_further_rights_is_refused_with_a_reason(rule: Object) -> None:
    asking = template(rule) | {"metadata": {"name": "greedy"}}
    assert extra_rules(asking, {}) == []
    [refusal] = refusals(asking, {})
    assert refusal.startswith("EngramTemplate greedy spec.execution.rbac.rules[0]: ")


@pytest.mark.parametrize(
    "rule",
    [
        NAMED_SECRET,
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
        {"apiGroups": ["apps"], "resources": ["secrets"], "verbs": ["list"]},
    ],
    ids=["a named secret", "reading accounts", "what the API server decides", "a secret of another group"],
)
def test_the_rest_is_for_the_api_server_to_decide(rule: Object) -> None:
    assert extra_rules(template(rule), {}) == [rule]
    assert refusals(template(rule), {}) == []


def test_each_refused_rule_is_told_with_its_place() -> None:
    wanting = engram(NAMED_SECRET, PODS) | {"metadata": {"name": "mine"}}
    [refusal] = refusals(template(PODS), wanting)
    assert refusal.startswith("Engram mine spec.overrides.rbac.rules[1]: an Engram or Impulse may only request get on")
