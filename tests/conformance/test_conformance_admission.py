"""Admission webhooks: mutation, validation, failure policies, configurations, and the content of a review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from core.api.objects import Object
from tests.conformance.conformance_api import Api
from tests.conformance.conformance_hooks import MUTATING, VALIDATING, Hooks, answering
from tests.conformance.conformance_kinds import GROUP, config_map, widget
from tests.integration.webhookserver import open_webhook_server, patch_of


async def test_a_mutating_webhook_changes_the_object(api: Api, hooks: Hooks) -> None:
    answering(hooks, "/mutate", patch_of({"op": "add", "path": "/data/added", "value": "yes"}))
    await hooks.configure(MUTATING, hooks.hook("/mutate"))
    created = await api.create("configmaps", config_map("one"))
    assert created["data"] == {"a": "b", "added": "yes"}
    assert (await api.read("configmaps", "one"))["data"]["added"] == "yes"


async def test_a_validating_webhook_refuses_in_its_own_words(api: Api, hooks: Hooks) -> None:
    status = {"message": "not today", "code": 422, "reason": "Invalid"}
    answering(hooks, "/no", {"allowed": False, "status": status})
    await hooks.configure(VALIDATING, hooks.hook("/no"))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.refusal() == (422, "Invalid")
    assert answer.message == 'admission webhook "a.example.com" denied the request: not today'
    assert (await api.get("configmaps", "one")).code == 404


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        ({"allowed": False}, 400, 'admission webhook "a.example.com" denied the request without explanation'),
        (
            {"allowed": False, "status": {"reason": "NotMine"}},
            400,
            'admission webhook "a.example.com" denied the request: NotMine',
        ),
        (
            {"allowed": False, "status": {"message": "no", "code": 403}},
            403,
            'admission webhook "a.example.com" denied the request: no',
        ),
        (
            {"allowed": False, "status": {"message": "no", "code": 200}},
            400,
            'admission webhook "a.example.com" denied the request: no',
        ),
    ],
    ids=["nothing said", "reason", "code", "code of success"],
)
async def test_how_a_refusal_is_worded(api: Api, hooks: Hooks, response: Object, code: int, message: str) -> None:
    answering(hooks, "/no", response)
    await hooks.configure(VALIDATING, hooks.hook("/no"))
    answer = await api.post("configmaps", config_map("one"))
    assert (answer.code, answer.message) == (code, message)


async def test_warnings_of_a_webhook_reach_the_client(api: Api, hooks: Hooks) -> None:
    answering(hooks, "/warn", {"allowed": True, "warnings": ["mind the gap"]})
    await hooks.configure(VALIDATING, hooks.hook("/warn"))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == 201
    assert answer.warnings == ["mind the gap"]


async def test_a_review_says_what_is_done_to_what_by_whom(api: Api, hooks: Hooks) -> None:
    await hooks.configure(VALIDATING, hooks.hook())
    await api.create("configmaps", config_map("one"), fieldManager="me")
    (review,) = hooks.asked
    assert review["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert review["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert review["requestKind"] == review["kind"]
    assert review["requestResource"] == review["resource"]
    assert (review["name"], review["namespace"], review["operation"]) == ("one", api.namespace, "CREATE")
    assert "system:masters" in review["userInfo"]["groups"]
    assert review["object"]["data"] == {"a": "b"}
    assert review["object"]["metadata"]["uid"]
    assert review["oldObject"] is None
    assert review["dryRun"] is False
    assert review["options"]["kind"] == "CreateOptions"
    assert review["options"]["fieldManager"] == "me"


async def test_updates_and_deletes_show_the_old_object(api: Api, hooks: Hooks) -> None:
    await api.create("configmaps", config_map("one"))
    await hooks.configure(VALIDATING, hooks.hook())
    await api.patch("configmaps", "one", {"data": {"x": "y"}})
    await api.delete("configmaps", "one")
    update, delete = hooks.asked
    assert (update["operation"], delete["operation"]) == ("UPDATE", "DELETE")
    assert update["oldObject"]["data"] == {"a": "b"}
    assert update["object"]["data"] == {"a": "b", "x": "y"}
    assert update["options"]["kind"] == "UpdateOptions"
    assert delete["object"] is None
    assert delete["oldObject"]["data"] == {"a": "b", "x": "y"}
    assert delete["options"]["kind"] == "DeleteOptions"


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ({"operations": ["CREATE"]}, ["CREATE"]),
        ({"operations": ["UPDATE", "DELETE"]}, ["UPDATE", "DELETE"]),
        ({"resources": ["*"]}, ["CREATE", "UPDATE", "DELETE"]),
        ({"resources": ["configmaps/*"]}, ["CREATE", "UPDATE", "DELETE"]),
        ({"resources": ["secrets"]}, []),
        ({"apiGroups": ["*"]}, ["CREATE", "UPDATE", "DELETE"]),
        ({"apiGroups": ["apps"]}, []),
        ({"apiVersions": ["v2"]}, []),
        ({"scope": "Cluster"}, []),
        ({"scope": "Namespaced"}, ["CREATE", "UPDATE", "DELETE"]),
    ],
)
async def test_rules_say_what_is_asked_about(api: Api, hooks: Hooks, rule: Object, asked: list[str]) -> None:
    whole = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], **rule}
    await hooks.configure(VALIDATING, hooks.hook(rules=[whole]))
    await api.create("configmaps", config_map("one"))
    await api.patch("configmaps", "one", {"data": {"x": "y"}})
    await api.delete("configmaps", "one")
    mine = [review for review in hooks.asked if review["resource"]["resource"] == "configmaps"]
    assert [review["operation"] for review in mine if review["name"] == "one"] == asked


async def test_subresources_are_asked_about_by_name(api: Api, hooks: Hooks) -> None:
    rule = {"operations": ["UPDATE"], "apiGroups": [GROUP], "apiVersions": ["v1"], "resources": ["widgets/status"]}
    await hooks.configure(VALIDATING, hooks.hook(rules=[rule]))
    await api.create("widgets", widget("one"))
    await api.patch("widgets", "one", {"spec": {"size": 4}})
    await api.patch("widgets", "one", {"status": {"phase": "New"}}, subresource="status")
    (review,) = hooks.asked
    assert review["subResource"] == "status"


async def test_an_object_selector_looks_at_old_and_new(api: Api, hooks: Hooks) -> None:
    await hooks.configure(VALIDATING, hooks.hook(objectSelector={"matchLabels": {"watched": "yes"}}))
    await api.create("configmaps", config_map("free"))
    await api.create("configmaps", config_map("one", labels={"watched": "yes"}))
    await api.patch("configmaps", "one", {"metadata": {"labels": {"watched": None}}})
    await api.patch("configmaps", "one", {"data": {"x": "y"}})
    assert [review["operation"] for review in hooks.asked] == ["CREATE", "UPDATE"]


async def test_another_namespace_is_not_asked_about(api: Api, hooks: Hooks) -> None:
    await hooks.configure(VALIDATING, hooks.hook())
    await api.create("namespaces", {"metadata": {"name": f"{api.namespace}-b"}})
    await Api(api.http, f"{api.namespace}-b").create("configmaps", config_map("one"))
    assert hooks.asked == []


# --- failure ---------------------------------------------------------------------------------------------------------

NOWHERE = "https://127.0.0.1:1/"


@pytest.mark.parametrize("plural", [VALIDATING, MUTATING])
@pytest.mark.parametrize(("policy", "code"), [("Fail", 500), ("Ignore", 201)])
async def test_a_webhook_that_is_not_there(api: Api, hooks: Hooks, plural: str, policy: str, code: int) -> None:
    client = {"url": NOWHERE, "caBundle": hooks.server.ca_bundle}
    await hooks.configure(plural, hooks.hook(clientConfig=client, failurePolicy=policy))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == code, answer.message
    if policy == "Fail":
        assert answer.reason == "InternalError"
        assert answer.message.startswith(
            'Internal error occurred: failed calling webhook "a.example.com": failed to call webhook: '
        )


async def test_fail_is_the_default(api: Api, hooks: Hooks) -> None:
    client = {"url": NOWHERE, "caBundle": hooks.server.ca_bundle}
    await hooks.configure(VALIDATING, hooks.hook(clientConfig=client))
    assert (await api.post("configmaps", config_map("one"))).code == 500


async def test_a_refusal_counts_though_failures_are_ignored(api: Api, hooks: Hooks) -> None:
    answering(hooks, "/no", {"allowed": False})
    await hooks.configure(VALIDATING, hooks.hook("/no", failurePolicy="Ignore"))
    assert (await api.post("configmaps", config_map("one"))).code == 400


async def test_a_slow_webhook_times_out(api: Api, hooks: Hooks) -> None:
    async def sleep(_: Object) -> Object:
        await trio.sleep(20)
        return {"allowed": True}

    hooks.server.handlers["/slow"] = sleep
    await hooks.configure(VALIDATING, hooks.hook("/slow", timeoutSeconds=1))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == 500
    assert "context deadline exceeded" in answer.message


async def test_a_certificate_of_another_authority_is_not_trusted(api: Api, hooks: Hooks, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with open_webhook_server(tmp_path / "other") as other:
        client = {**hooks.server.client_config("/allow"), "caBundle": other.ca_bundle}
        await hooks.configure(VALIDATING, hooks.hook(clientConfig=client))
        answer = await api.post("configmaps", config_map("one"))
    assert answer.code == 500
    assert "certificate" in answer.message
    assert hooks.asked == []


ADDITION = patch_of({"op": "add", "path": "/data/x", "value": "y"})["patch"]


@pytest.mark.parametrize(
    "response",
    [
        {"uid": "another", "allowed": True},
        {"allowed": True, "patchType": "JSONPatch", "patch": "bm90IGpzb24="},
        {"allowed": True, "patch": ADDITION},
        {"allowed": True, "patchType": "Strange", "patch": ADDITION},
        patch_of({"op": "remove", "path": "/nothing"}),
    ],
    ids=["another uid", "patch is no JSON", "no patch type", "unknown patch type", "patch does not fit"],
)
async def test_an_answer_that_cannot_be_used_is_a_failure(api: Api, hooks: Hooks, response: Object) -> None:
    answering(hooks, "/odd", response)
    await hooks.configure(MUTATING, hooks.hook("/odd"))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == 500, answer.body


# --- mutation --------------------------------------------------------------------------------------------------------


async def test_what_a_webhook_breaks_is_refused(api: Api, hooks: Hooks) -> None:
    answering(hooks, "/spoil", patch_of({"op": "replace", "path": "/spec/size", "value": 0}))
    rule = {"operations": ["CREATE"], "apiGroups": [GROUP], "apiVersions": ["v1"], "resources": ["widgets"]}
    await hooks.configure(MUTATING, hooks.hook("/spoil", rules=[rule]))
    answer = await api.post("widgets", widget("one"))
    assert answer.refusal() == (422, "Invalid")
    assert ("FieldValueInvalid", "spec.size") in answer.causes


async def test_mutations_follow_each_other_and_validation_comes_last(api: Api, hooks: Hooks) -> None:
    answering(hooks, "/first", patch_of({"op": "add", "path": "/data/first", "value": "1"}))
    answering(hooks, "/second", patch_of({"op": "add", "path": "/data/second", "value": "2"}))
    await hooks.configure(VALIDATING, hooks.hook())
    await hooks.configure(MUTATING, hooks.hook("/first"), hooks.hook("/second", name="b.example.com"))
    await api.create("configmaps", config_map("one"))
    assert hooks.paths == ["/first", "/second", "/allow"]
    assert hooks.asked[1]["object"]["data"] == {"a": "b", "first": "1"}
    assert hooks.asked[2]["object"]["data"] == {"a": "b", "first": "1", "second": "2"}


async def test_a_webhook_may_ask_to_see_later_changes(api: Api, hooks: Hooks) -> None:
    async def count(request: Object) -> Object:
        wanted = "again" if "late" in request["object"]["data"] else "once"
        return patch_of({"op": "add", "path": "/data/seen", "value": wanted})

    hooks.server.handlers["/count"] = count
    answering(hooks, "/late", patch_of({"op": "add", "path": "/data/late", "value": "yes"}))
    again = hooks.hook("/count", reinvocationPolicy="IfNeeded")
    await hooks.configure(MUTATING, again, hooks.hook("/late", name="b.example.com"))
    created = await api.create("configmaps", config_map("one"))
    assert created["data"] == {"a": "b", "seen": "again", "late": "yes"}
    assert hooks.paths == ["/count", "/late", "/count"]


async def test_dry_runs_tell_the_webhook(api: Api, hooks: Hooks) -> None:
    await hooks.configure(VALIDATING, hooks.hook(sideEffects="NoneOnDryRun"))
    await api.post("configmaps", config_map("one"), dryRun="All")
    (review,) = hooks.asked
    assert review["dryRun"] is True
    assert review["options"]["dryRun"] == ["All"]


# --- configurations --------------------------------------------------------------------------------------------------


def ruling(**change: Any) -> Object:
    """Change the only rule."""
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    return {"rules": [{**rule, **change}]}


def conditional(name: str, expression: str, times: int = 1) -> Object:
    return {"matchConditions": [{"name": name, "expression": expression}] * times}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "bare"}, "name"),
        ({"sideEffects": "Some"}, "sideEffects"),
        ({"admissionReviewVersions": []}, "admissionReviewVersions"),
        ({"admissionReviewVersions": ["v9"]}, "admissionReviewVersions"),
        ({"timeoutSeconds": 31}, "timeoutSeconds"),
        ({"failurePolicy": "Maybe"}, "failurePolicy"),
        ({"matchPolicy": "Maybe"}, "matchPolicy"),
        ({"clientConfig": {}}, "clientConfig"),
        ({"clientConfig": {"url": "http://example.com"}}, "clientConfig.url"),
        ({"clientConfig": {"url": "https://example.com/?a=b"}}, "clientConfig.url"),
        (ruling(operations=["SING"]), "rules[0].operations[0]"),
        (ruling(resources=[]), "rules[0].resources"),
        (ruling(scope="Wide"), "rules[0].scope"),
        (conditional("x", "object."), "matchConditions[0].expression"),
        (conditional("x", "nothing == 1"), "matchConditions[0].expression"),
        (conditional("x", "request.nothing == 'x'"), "matchConditions[0].expression"),
        (conditional("x", "1 + 1"), "matchConditions[0].expression"),
        (conditional("x", "object.metadata.name"), "matchConditions[0].expression"),
        (conditional("x", "cel.bind(x, 1, x == 1)"), "matchConditions[0].expression"),
        (conditional("x", ""), "matchConditions[0].expression"),
        (conditional("", "true"), "matchConditions[0].name"),
        (conditional("a b", "true"), "matchConditions[0].name"),
        (conditional("x", "true", 2), "matchConditions[1].name"),
        (conditional("x", "true", 65), "matchConditions"),
    ],
)
async def test_a_bad_configuration_is_refused(api: Api, hooks: Hooks, change: Object, field: str) -> None:
    answer = await api.post(VALIDATING, hooks.body(hooks.hook(**change)))
    assert answer.refusal() == (422, "Invalid")
    assert f"webhooks[0].{field}" in {where for _, where in answer.causes}


async def test_a_configuration_is_completed(api: Api, hooks: Hooks) -> None:
    answer = await api.post(MUTATING, hooks.body(hooks.hook()), dryRun="All")
    (found,) = answer.body["webhooks"]
    assert (found["failurePolicy"], found["matchPolicy"], found["timeoutSeconds"]) == ("Fail", "Equivalent", 10)
    assert (found["objectSelector"], found["reinvocationPolicy"]) == ({}, "Never")
    assert found["rules"][0]["scope"] == "*"
