"""Which webhook is called for which request, and which parts of its answer are used."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from localcluster.server import webhookconfig, webhookreview
from localcluster.server.builtin import BUILTIN
from localcluster.server.identity import ADMIN
from localcluster.server.types import ResourceType
from localcluster.server.webhookreview import InvalidAnswerError
from localcluster.server.writeport import AdmissionRequest

PODS = next(resource for resource in BUILTIN if resource.plural == "pods")
NODES = next(resource for resource in BUILTIN if resource.plural == "nodes")
NAMESPACES = next(resource for resource in BUILTIN if resource.plural == "namespaces")
WIDGETS = replace(PODS, group="example.com", plural="widgets", kind="Widget", served_versions=("v1", "v2"), custom=True)
WIDGETS_V2 = replace(WIDGETS, version="v2")


def request(resource: ResourceType = PODS, **options: Any) -> AdmissionRequest:
    settings: dict[str, Any] = {
        "operation": "CREATE",
        "resource": resource,
        "namespace": "default" if resource.namespaced else None,
        "name": "x",
        "subresource": "",
        "obj": {"kind": resource.kind, "metadata": {"name": "x", "labels": {"a": "b"}}},
        "old": None,
        "user": ADMIN,
        "dry_run": False,
        "options": {},
    }
    return AdmissionRequest(**{**settings, **options})


def rule(**fields: Any) -> dict[str, Any]:
    return {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], **fields}


def hook(**fields: Any) -> webhookconfig.Hook:
    webhook = {"name": "h.example.com", "clientConfig": {"url": "https://h"}, "sideEffects": "None", **fields}
    (found,) = webhookconfig.hooks_of({"metadata": {"name": "c"}, "webhooks": [webhook]})
    return found


def find(group: str, version: str, plural: str) -> ResourceType | None:
    known = {(found.group, found.version, found.plural): found for found in (WIDGETS, WIDGETS_V2)}
    return known.get((group, version, plural))


@pytest.mark.parametrize(
    ("fields", "asked", "expected"),
    [
        ({}, request(), True),
        ({"operations": ["UPDATE"]}, request(), False),
        ({"operations": ["UPDATE", "CREATE"]}, request(), True),
        ({"apiGroups": [""]}, request(), True),
        ({"apiGroups": ["apps"]}, request(), False),
        ({"resources": ["pods"]}, request(), True),
        ({"resources": ["pods"]}, request(subresource="status"), False),
        ({"resources": ["pods/status"]}, request(subresource="status"), True),
        ({"resources": ["pods/*"]}, request(subresource="log"), True),
        ({"resources": ["*/*"]}, request(subresource="log"), True),
        ({"resources": ["*"]}, request(subresource="log"), False),
        ({"resources": ["*/status"]}, request(subresource="status"), True),
        ({"scope": "Cluster"}, request(), False),
        ({"scope": "Cluster"}, request(NODES), True),
        ({"scope": "Namespaced"}, request(NODES), False),
    ],
)
def test_rules_say_what_a_hook_is_asked_about(
    fields: dict[str, Any], asked: AdmissionRequest, *, expected: bool
) -> None:
    assert (hook(rules=[rule(**fields)]).target(asked, find) is not None) is expected


def test_an_equivalent_version_is_asked_about_in_the_version_of_the_rule() -> None:
    rules = [rule(apiGroups=["example.com"], apiVersions=["v2"])]
    assert hook(rules=rules).target(request(WIDGETS), find) is WIDGETS_V2
    assert hook(rules=rules, matchPolicy="Exact").target(request(WIDGETS), find) is None


def test_configurations_are_never_shown_to_hooks() -> None:
    configurations = next(found for found in BUILTIN if found.plural == "mutatingwebhookconfigurations")
    assert hook(rules=[rule()]).target(request(configurations), find) is None


@pytest.mark.parametrize(
    ("fields", "asked", "namespace_labels", "expected"),
    [
        ({}, request(), {}, True),
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, request(), {}, True),
        ({"objectSelector": {"matchLabels": {"a": "c"}}}, request(), {}, False),
        ({"objectSelector": {"matchLabels": {"a": "c"}}}, request(old={"metadata": {"labels": {"a": "c"}}}), {}, True),
        ({"namespaceSelector": {"matchLabels": {"n": "1"}}}, request(), {"n": "1"}, True),
        ({"namespaceSelector": {"matchLabels": {"n": "1"}}}, request(), {"n": "2"}, False),
        ({"namespaceSelector": {"matchLabels": {"n": "1"}}}, request(NODES), {}, True),
        ({"namespaceSelector": {"matchLabels": {"a": "b"}}}, request(NAMESPACES), {}, True),
    ],
)
def test_selectors_narrow_it_down(
    fields: dict[str, Any], asked: AdmissionRequest, namespace_labels: dict[str, str], *, expected: bool
) -> None:
    assert hook(**fields).selects(asked, namespace_labels) is expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"admissionReviewVersions": ["v1beta1"]}, "webhooks[0].admissionReviewVersions"),
        ({"clientConfig": {"url": "https://h", "caBundle": "bm90IGEgY2VydA=="}}, "webhooks[0].clientConfig.caBundle"),
        ({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, "webhooks[0].objectSelector"),
    ],
)
def test_what_is_not_supported_is_refused_when_it_is_configured(fields: dict[str, Any], field: str) -> None:
    webhook = {"clientConfig": {"url": "https://h"}, "admissionReviewVersions": ["v1"], **fields}
    (found,) = webhookconfig.why_unsupported({"webhooks": [webhook]})
    assert found.field == field


def answer(**response: Any) -> dict[str, Any]:
    response = {"uid": "u", "allowed": True, **response}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"patch": base64.b64encode(orjson.dumps(operations)).decode(), "patchType": "JSONPatch"}


def test_a_review_tells_who_asks_for_what() -> None:
    review = webhookreview.review_of(request(WIDGETS), WIDGETS_V2, {"spec": 1}, None)["request"]
    assert review["kind"] == {"group": "example.com", "version": "v2", "kind": "Widget"}
    assert review["requestKind"]["version"] == "v1"
    assert review["resource"]["resource"] == "widgets"
    assert review["userInfo"]["username"] == "kubernetes-admin"
    assert review["object"] == {"spec": 1}
    assert review["oldObject"] is None
    assert review["namespace"] == "default"


def test_an_allowing_answer_may_patch_and_warn() -> None:
    operations = patch({"op": "add", "path": "/metadata/labels", "value": {"x": "y"}})
    verdict = webhookreview.verdict_of(answer(warnings=["careful"], **operations), "u", mutating=True)
    assert verdict.allowed
    assert verdict.warnings == ("careful",)
    patched = webhookreview.patched({"kind": "Pod", "metadata": {}}, verdict)
    assert patched["metadata"] == {"labels": {"x": "y"}}


@pytest.mark.parametrize(
    ("given", "mutating", "text"),
    [
        ({"response": {}}, True, "expected webhook response"),
        ({**answer(), "response": None}, True, "absent"),
        (answer(uid="other"), True, "response.uid"),
        (answer(patch="e30="), True, "only one of"),
        (answer(patch="e30=", patchType="Merge"), True, "patchType"),
        (answer(patch="!", patchType="JSONPatch"), True, "base64"),
        (answer(patch="e30=", patchType="JSONPatch"), True, "list of operations"),
        (answer(**patch()), False, "validating webhook may not"),
    ],
)
def test_an_answer_that_is_none_is_refused(given: dict[str, Any], *, mutating: bool, text: str) -> None:
    with pytest.raises(InvalidAnswerError, match=text):
        webhookreview.verdict_of(given, "u", mutating=mutating)


@pytest.mark.parametrize(
    "operation",
    [{"op": "remove", "path": "/nope"}, {"op": "replace", "path": "/kind", "value": "Other"}],
)
def test_a_patch_that_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    verdict = webhookreview.verdict_of(answer(**patch(operation)), "u", mutating=True)
    with pytest.raises(InvalidAnswerError):
        webhookreview.patched({"kind": "Pod", "metadata": {}}, verdict)


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        ({}, 400, 'admission webhook "h" denied the request without explanation'),
        ({"message": "no", "code": 403}, 403, 'admission webhook "h" denied the request: no'),
        ({"reason": "Invalid", "code": 200}, 400, 'admission webhook "h" denied the request: Invalid'),
    ],
)
def test_a_denial_is_shown_with_the_hooks_name(result: dict[str, Any], code: int, message: str) -> None:
    error = webhookreview.denial("h", result)
    assert error.code == code
    assert str(error) == message
