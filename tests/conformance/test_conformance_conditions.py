"""Match conditions of admission webhooks: what they can read, and what happens when they have no result."""

from __future__ import annotations

import pytest

from tests.conformance.conformance_api import Api, ServerUnderTest
from tests.conformance.conformance_hooks import MUTATING, VALIDATING, Hooks, answering
from tests.conformance.conformance_kinds import config_map
from tests.integration.webhookserver import patch_of


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("true", "CREATE UPDATE DELETE"),
        ("false", ""),
        ("request.operation == 'UPDATE'", "UPDATE"),
        ("request.name == 'one'", "CREATE UPDATE DELETE"),
        ("request.namespace == 'elsewhere'", ""),
        ("request.userInfo.groups.exists(g, g == 'system:masters')", "CREATE UPDATE DELETE"),
        ("!request.userInfo.username.startsWith('system:')", "CREATE UPDATE DELETE"),
        ("object == null", "DELETE"),
        ("object != null && has(object.data) && 'x' in object.data", "UPDATE"),
        ("oldObject != null && object != null && object.data != oldObject.data", "UPDATE"),
        ("(object == null ? oldObject : object).metadata.name.matches('^o')", "CREATE UPDATE DELETE"),
        ("request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap'", "CREATE UPDATE DELETE"),
        ("request.dryRun", ""),
        ("has(object.metadata.labels) && object.metadata.labels['a'] == 'b'", "ERROR"),
    ],
)
async def test_conditions_choose_what_is_asked_about(api: Api, hooks: Hooks, expression: str, asked: str) -> None:
    condition = {"name": "chosen", "expression": expression}
    await hooks.configure(VALIDATING, hooks.hook(matchConditions=[condition]))
    assert (await api.post("configmaps", config_map("one"))).code == 201
    assert (await api.patch("configmaps", "one", {"data": {"x": "y"}})).code == 200
    deleted = await api.delete("configmaps", "one")
    if asked == "ERROR":
        assert deleted.code == 403
        return
    assert " ".join(review["operation"] for review in hooks.asked) == asked


async def test_all_conditions_must_hold(api: Api, hooks: Hooks) -> None:
    conditions = [
        {"name": "first", "expression": "request.operation == 'CREATE'"},
        {"name": "second", "expression": "object.data.size() > 1"},
    ]
    await hooks.configure(VALIDATING, hooks.hook(matchConditions=conditions))
    await api.create("configmaps", config_map("one"))
    await api.create("configmaps", config_map("two", {"a": "1", "b": "2"}))
    assert [review["name"] for review in hooks.asked] == ["two"]


@pytest.mark.parametrize(("policy", "code"), [("Fail", 403), ("Ignore", 201)])
async def test_a_condition_without_an_answer_fails_as_the_webhook_would(
    api: Api, hooks: Hooks, policy: str, code: int
) -> None:
    condition = {"name": "broken", "expression": "object.nothing == 'x'"}
    await hooks.configure(VALIDATING, hooks.hook(matchConditions=[condition], failurePolicy=policy))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == code, answer.body
    assert hooks.asked == []


async def test_a_condition_that_fails_does_not_matter_when_another_is_false(api: Api, hooks: Hooks) -> None:
    conditions = [
        {"name": "broken", "expression": "object.nothing == 'x'"},
        {"name": "never", "expression": "false"},
    ]
    await hooks.configure(VALIDATING, hooks.hook(matchConditions=conditions))
    assert (await api.post("configmaps", config_map("one"))).code == 201
    assert hooks.asked == []


async def test_conditions_may_ask_who_else_may(api: Api, hooks: Hooks, server: ServerUnderTest) -> None:
    expression = "authorizer.group('').resource('pods').check('list').allowed()"
    conditions = [{"name": "x", "expression": expression}]
    answer = await api.post(VALIDATING, hooks.body(hooks.hook(matchConditions=conditions)), dryRun="All")
    if server.refuses("authorizer in match conditions"):
        assert answer.refusal() == (422, "Invalid")
        assert "match conditions of a local cluster have no authorizer" in answer.message
    else:
        assert answer.code == 201


async def test_what_conditions_could_not_tell_is_told(api: Api, hooks: Hooks) -> None:
    conditions = [{"name": name, "expression": f"object.{name} == 'x'"} for name in ("no", "nothing")]
    await hooks.configure(VALIDATING, hooks.hook(matchConditions=conditions))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.refusal() == (403, "Forbidden")
    assert answer.message == (
        "configmaps \"one\" is forbidden: [expression 'object.no == 'x'' resulted in error: no such key: no, "
        "expression 'object.nothing == 'x'' resulted in error: no such key: nothing]"
    )


async def test_mutating_webhooks_have_conditions_too(api: Api, hooks: Hooks) -> None:
    answering(hooks, "/mutate", patch_of({"op": "add", "path": "/data/added", "value": "yes"}))
    condition = {"name": "two", "expression": "object.metadata.name == 'two'"}
    await hooks.configure(MUTATING, hooks.hook("/mutate", matchConditions=[condition]))
    assert (await api.create("configmaps", config_map("one")))["data"] == {"a": "b"}
    assert (await api.create("configmaps", config_map("two")))["data"] == {"a": "b", "added": "yes"}
