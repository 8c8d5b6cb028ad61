"""Admission policies: what they see, whom they refuse with which words, and what happens when an expression fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Answer, Api
from tests.conformance.conformance_hooks import MUTATING, VALIDATING, Hooks, answering
from tests.conformance.conformance_kinds import config_map
from tests.integration.webhookserver import patch_of

POLICIES = "validatingadmissionpolicies"
BINDINGS = "validatingadmissionpolicybindings"
RULE: Object = {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"]}
SAYS: Object = {"expression": "object.metadata.name != 'bad'", "message": "is bad"}


class Policies:
    """Policies for the ConfigMaps of one namespace. They are removed with the test."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.name = f"policy-{api.namespace}.example.com"

    def policy(self, *validations: Object, **spec: Any) -> Object:
        constraints = {
            "resourceRules": [{**RULE, "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.api.namespace}},
        }
        return {
            "metadata": {"name": self.name},
            "spec": {"matchConstraints": constraints, "validations": list(validations), **spec},
        }

    def binding(self, *actions: str, **spec: Any) -> Object:
        fields = {"policyName": self.name, "validationActions": list(actions or ["Deny"]), **spec}
        return {"metadata": {"name": self.name}, "spec": fields}

    async def enforce(self, *validations: Object, binding: Object | None = None, **spec: Any) -> None:
        """Install the policy, and return once it is in force: a real server uses it a moment later."""
        probe = {"expression": "object.metadata.name != 'probe'", "message": "probe"}
        bound = binding or self.binding()
        await self.api.create(POLICIES, self.policy(probe, *validations, **spec))
        await self.api.create(BINDINGS, bound)
        await self.api.until(lambda: self.api.post("configmaps", config_map("probe"), dryRun="All"), _is_noticed)

    async def remove(self) -> None:
        for plural in (BINDINGS, POLICIES):
            await self.api.delete(plural, self.name)


def _is_noticed(answer: Answer) -> bool:
    return answer.code == 422 or bool(answer.warnings)


@pytest.fixture
async def policies(api: Api) -> AsyncIterator[Policies]:
    found = Policies(api)
    yield found
    await found.remove()


async def test_a_refusal_names_policy_and_binding(api: Api, policies: Policies) -> None:
    await policies.enforce(SAYS)
    answer = await api.post("configmaps", config_map("bad"))
    denied = f"ValidatingAdmissionPolicy '{policies.name}' with binding '{policies.name}' denied request: is bad"
    assert answer.refusal() == (422, "Invalid")
    assert answer.message == f'configmaps "bad" is forbidden: {denied}'
    assert answer.body["details"] == {"name": "bad", "kind": "configmaps", "causes": [{"message": denied}]}
    assert (await api.post("configmaps", config_map("good"))).code == 201


@pytest.mark.parametrize(("reason", "code"), [("Forbidden", 403), ("Invalid", 422), ("RequestEntityTooLarge", 413)])
async def test_the_policy_chooses_the_reason(api: Api, policies: Policies, reason: str, code: int) -> None:
    await policies.enforce({**SAYS, "reason": reason})
    assert (await api.post("configmaps", config_map("bad"))).refusal() == (code, reason)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "failed expression: object.metadata.name != 'bad'"),
        ({"message": " no "}, "no"),
        ({"message": "no", "messageExpression": "object.metadata.name + ' is it'"}, "bad is it"),
        ({"message": "no", "messageExpression": "object.nothing.name"}, "no"),
        ({"message": "no", "messageExpression": "'a\\nb'"}, "no"),
        ({"message": "no", "messageExpression": "' '"}, "no"),
    ],
)
async def test_what_a_refusal_says(api: Api, policies: Policies, fields: Object, said: str) -> None:
    if fields.get("messageExpression") == "object.nothing.name":
        fields = {**fields, "messageExpression": "string(object.nothing.name)"}
    await policies.enforce({"expression": SAYS["expression"], **fields})
    assert (await api.post("configmaps", config_map("bad"))).message.endswith(f"denied request: {said}")


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("oldObject == null", True),
        ("request.operation == 'CREATE' && request.resource.resource == 'configmaps'", True),
        ("request.userInfo.groups.exists(g, g == 'system:masters')", True),
        ("namespaceObject.metadata.name == request.namespace", True),
        ("has(namespaceObject.metadata.labels) && 'no' in namespaceObject.metadata.labels", False),
        ("authorizer.group('').resource('pods').check('list').allowed()", True),
        ("authorizer.group('apps').resource('deployments').subresource('scale').name('a').check('x').allowed()", True),
        ("authorizer.path('/healthz').check('get').allowed()", True),
        ("authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('list').allowed()", False),
        ("authorizer.requestResource.check('create').allowed()", True),
        ("object.data.all(k, object.data[k] == 'b')", True),
        ("object.data.?nothing.orValue('x') == 'x'", True),
    ],
)
async def test_what_expressions_see(api: Api, policies: Policies, expression: str, allowed: bool) -> None:
    await policies.enforce({"expression": f"object.metadata.name == 'probe' || ({expression})"})
    assert (await api.post("configmaps", config_map("one"))).code == (201 if allowed else 422)


async def test_variables_are_computed_when_they_are_read(api: Api, policies: Policies) -> None:
    variables = [
        {"name": "broken", "expression": "object.data.nothing"},
        {"name": "size", "expression": "size(object.data)"},
        {"name": "large", "expression": "variables.size > 1"},
    ]
    await policies.enforce(
        {"expression": "object.metadata.name != 'two' || variables.broken == 'x'"},
        {"expression": "!variables.large", "messageExpression": "string(variables.size) + ' are too many'"},
        variables=variables,
    )
    assert (await api.post("configmaps", config_map("one"))).code == 201
    answer = await api.post("configmaps", config_map("three", {"a": "1", "b": "2"}))
    assert answer.message.endswith("denied request: 2 are too many")
    answer = await api.post("configmaps", config_map("two"))
    assert 'composited variable "broken" fails to evaluate: no such key: nothing' in answer.message


@pytest.mark.parametrize(("failure_policy", "code"), [("Fail", 422), ("Ignore", 201)])
async def test_an_expression_without_a_value_fails_as_the_policy_says(
    api: Api, policies: Policies, failure_policy: str, code: int
) -> None:
    await policies.enforce({"expression": "object.data.nothing == 'x'"}, failurePolicy=failure_policy)
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == code
    if code == 422:
        said = "expression 'object.data.nothing == 'x'' resulted in error: no such key: nothing"
        assert answer.message.endswith(f"denied request: {said}")


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("object.metadata.name == 'probe'", 201),
        ("object.metadata.name.startsWith('b') || object.metadata.name == 'probe'", 422),
        ("object.metadata.name == 'probe' || object.data.nothing == 'x'", 422),
        ("object.metadata.name == 'probe' || !authorizer.group('').resource('pods').check('get').allowed()", 201),
    ],
)
async def test_conditions_choose_the_requests(api: Api, policies: Policies, condition: str, code: int) -> None:
    await policies.enforce(SAYS, matchConditions=[{"name": "chosen", "expression": condition}])
    assert (await api.post("configmaps", config_map("bad"))).code == code


async def test_a_binding_may_only_warn(api: Api, policies: Policies) -> None:
    await policies.enforce(SAYS, binding=policies.binding("Warn", "Audit"))
    answer = await api.post("configmaps", config_map("bad"))
    warning = (
        f"Validation failed for ValidatingAdmissionPolicy '{policies.name}' with binding '{policies.name}': is bad"
    )
    assert (answer.code, answer.warnings) == (201, [warning])


async def test_a_binding_may_choose_fewer_requests(api: Api, policies: Policies) -> None:
    rule = {**RULE, "resources": ["configmaps"], "resourceNames": ["probe", "worse"]}
    await policies.enforce(
        {"expression": "object.metadata.name == 'good'"},
        binding=policies.binding(matchResources={"resourceRules": [rule]}),
    )
    assert (await api.post("configmaps", config_map("bad"))).code == 201
    assert (await api.post("configmaps", config_map("worse"))).code == 422


async def test_excluded_requests_are_not_checked(api: Api, policies: Policies) -> None:
    rule = {**RULE, "resources": ["configmaps"]}
    constraints = policies.policy()["spec"]["matchConstraints"]
    constraints["excludeResourceRules"] = [{**rule, "operations": ["UPDATE"]}]
    checked = {"expression": "!('x' in object.data)"}
    await policies.enforce(checked, matchConstraints=constraints)
    assert (await api.post("configmaps", config_map("one"))).code == 201
    assert (await api.patch("configmaps", "one", {"data": {"x": "y"}})).code == 200
    assert (await api.post("configmaps", config_map("two", {"x": "y"}))).code == 422


@pytest.mark.parametrize(("action", "code"), [("Allow", 201), ("Deny", 422)])
async def test_parameters_are_objects_that_the_binding_names(
    api: Api, policies: Policies, action: str, code: int
) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await api.create("configmaps", config_map("limits", {"max": "1"}))
    reference = {"name": "limits", "namespace": api.namespace, "parameterNotFoundAction": action}
    await policies.enforce(
        {"expression": "size(object.data) <= int(params.data.max)"},
        binding=policies.binding(paramRef=reference),
        paramKind=kind,
    )
    assert (await api.post("configmaps", config_map("one"))).code == 201
    assert (await api.post("configmaps", config_map("two", {"a": "1", "b": "2"}))).code == 422
    await api.delete("configmaps", "limits")
    many = config_map("three", {"a": "1", "b": "2"})
    await api.until(
        lambda: api.post("configmaps", many, dryRun="All"), lambda answer: "int(params" not in answer.message
    )
    answer = await api.post("configmaps", many)
    assert answer.code == code
    if code == 422:
        why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        assert answer.message.endswith(f"denied request: {why}")


async def test_policies_come_after_mutation_and_before_validating_webhooks(
    api: Api, policies: Policies, hooks: Hooks
) -> None:
    answering(hooks, "/mutate", patch_of({"op": "add", "path": "/data/added", "value": "yes"}))
    await hooks.configure(MUTATING, hooks.hook("/mutate"))
    await hooks.configure(VALIDATING, hooks.hook("/check", name="b.example.com"))
    answering(hooks, "/check", {"allowed": False})
    await policies.enforce({"expression": "!('added' in object.data)", "message": "was changed"})
    hooks.server.asked.clear()
    answer = await api.post("configmaps", config_map("one"))
    assert answer.message.endswith("denied request: was changed")
    assert hooks.paths == ["/mutate"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"validations": []}, "spec.validations"),
        ({"validations": [{"expression": ""}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "1 +"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "'text'"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "params == null"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "variables.x"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "request.nothing == ''"}]}, "spec.validations[0].expression"),
        ({"validations": [{**SAYS, "reason": "Conflict"}]}, "spec.validations[0].reason"),
        ({"validations": [{**SAYS, "message": "a\nb"}]}, "spec.validations[0].message"),
        ({"validations": [{**SAYS, "messageExpression": "1"}]}, "spec.validations[0].messageExpression"),
        (
            {"validations": [{**SAYS, "messageExpression": "authorizer.path('/').check('get').reason()"}]},
            "spec.validations[0].messageExpression",
        ),
        ({"variables": [{"name": "in", "expression": "1"}]}, "spec.variables[0].name"),
        ({"variables": [{"name": "a", "expression": "b"}]}, "spec.variables[0].expression"),
        ({"failurePolicy": "Perhaps"}, "spec.failurePolicy"),
        ({"matchConstraints": {"resourceRules": []}}, "spec.matchConstraints.resourceRules"),
        ({"matchConditions": [{"name": "a", "expression": "1"}]}, "spec.matchConditions[0].expression"),
        ({"paramKind": {"apiVersion": "v1", "kind": ""}}, "spec.paramKind.kind"),
    ],
)
async def test_a_policy_that_cannot_work_is_refused(api: Api, policies: Policies, spec: Object, field: str) -> None:
    answer = await api.post(POLICIES, policies.policy(SAYS, **spec), dryRun="All")
    assert answer.refusal() == (422, "Invalid")
    assert field in {named for _, named in answer.causes}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"policyName": ""}, "spec.policyName"),
        ({"validationActions": []}, "spec.validationActions"),
        ({"validationActions": ["Deny", "Warn"]}, "spec.validationActions"),
        ({"validationActions": ["Shout"]}, "spec.validationActions[0]"),
        ({"paramRef": {"parameterNotFoundAction": "Allow"}}, "spec.paramRef"),
        ({"paramRef": {"name": "a"}}, "spec.paramRef.parameterNotFoundAction"),
    ],
)
async def test_a_binding_that_cannot_work_is_refused(api: Api, policies: Policies, spec: Object, field: str) -> None:
    answer = await api.post(BINDINGS, policies.binding(**spec), dryRun="All")
    assert answer.refusal() == (422, "Invalid")
    assert field in {named for _, named in answer.causes}


async def test_defaults_and_generation_of_a_policy(api: Api, policies: Policies) -> None:
    made = await api.create(POLICIES, policies.policy(SAYS))
    assert made["metadata"]["generation"] == 1
    assert made["spec"]["failurePolicy"] == "Fail"
    constraints = made["spec"]["matchConstraints"]
    assert (constraints["matchPolicy"], constraints["objectSelector"]) == ("Equivalent", {})
    assert constraints["resourceRules"][0]["scope"] == "*"
    changed = await api.patch(POLICIES, policies.name, {"spec": {"failurePolicy": "Ignore"}})
    assert changed.metadata["generation"] == 2


async def test_a_policy_that_refuses_everything_can_be_removed(api: Api, policies: Policies) -> None:
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    constraints = {"resourceRules": [everything], "objectSelector": {"matchLabels": {"test": api.namespace}}}
    await api.create(POLICIES, policies.policy({"expression": "false"}, matchConstraints=constraints))
    binding = policies.binding()
    binding["metadata"]["labels"] = {"test": api.namespace}
    await api.create(BINDINGS, binding)
    labelled = config_map("one")
    labelled["metadata"]["labels"] = {"test": api.namespace}
    await api.until(lambda: api.post("configmaps", labelled, dryRun="All"), lambda answer: answer.code == 422)
    assert (await api.delete(BINDINGS, policies.name)).code == 200
    await api.until(lambda: api.post("configmaps", labelled, dryRun="All"), lambda answer: answer.code == 201)
