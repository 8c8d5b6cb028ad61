"""Admission and conversion webhooks, called over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from core.api.objects import Object
from tests.integration.webhookserver import WebhookServer, open_webhook_server, patch_of
from tests.integration.widgets import DEFINITIONS, WIDGETS, definition, version, widget

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with open_webhook_server(tmp_path, "hook.default.svc") as server:
        yield server


def hook(config: Object, name: str = "a.example.com", **fields: Any) -> Object:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}
    return {
        "name": name,
        "clientConfig": config,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }


async def configure(cluster: Any, kind: str, *hooks: Object, name: str = "c") -> None:
    plural = f"{kind.lower()}webhookconfigurations"
    await cluster.create(f"{REGISTRATION}/{plural}", {"metadata": {"name": name}, "webhooks": list(hooks)})


def config_map(name: str = "one", **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


async def allow(_: Object) -> Object:
    return {"allowed": True}


async def test_a_mutating_webhook_changes_the_object(cluster: Any, webhook: WebhookServer) -> None:
    async def label(_: Object) -> Object:
        return {**patch_of({"op": "add", "path": "/data/added", "value": "yes"}), "warnings": ["changed"]}

    webhook.handlers["/mutate"] = label
    await configure(cluster, "Mutating", hook(webhook.client_config("/mutate")))
    answer = await cluster.client.post(CONFIGMAPS, json=config_map())
    assert answer.json()["data"] == {"a": "b", "added": "yes"}
    assert answer.headers["warning"] == '299 - "changed"'
    ((_, request),) = webhook.asked
    assert request["operation"] == "CREATE"
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert request["object"]["data"] == {"a": "b"}
    assert request["options"]["kind"] == "CreateOptions"


async def test_a_validating_webhook_refuses_in_its_own_words(cluster: Any, webhook: WebhookServer) -> None:
    async def refuse(_: Object) -> Object:
        return {"allowed": False, "status": {"message": "not today", "code": 422, "reason": "Invalid"}}

    webhook.handlers["/validate"] = refuse
    await configure(cluster, "Validating", hook(webhook.client_config("/validate")))
    answer = await cluster.client.post(CONFIGMAPS, json=config_map())
    assert answer.status_code == 422
    assert answer.json()["message"] == 'admission webhook "a.example.com" denied the request: not today'
    assert answer.json()["reason"] == "Invalid"
    assert (await cluster.client.get(f"{CONFIGMAPS}/one")).status_code == 404


async def test_updates_and_deletes_are_reviewed_with_the_old_object(cluster: Any, webhook: WebhookServer) -> None:
    webhook.handlers["/validate"] = allow
    await cluster.create(CONFIGMAPS, config_map())
    await configure(cluster, "Validating", hook(webhook.client_config("/validate")))
    await cluster.client.patch(f"{CONFIGMAPS}/one", content=b'{"data":{"x":"y"}}', headers=MERGE)
    await cluster.client.delete(f"{CONFIGMAPS}/one")
    update, delete = (request for _, request in webhook.asked)
    assert update["oldObject"]["data"] == {"a": "b"}
    assert update["object"]["data"] == {"a": "b", "x": "y"}
    assert delete["operation"] == "DELETE"
    assert delete["object"] is None
    assert delete["oldObject"]["data"] == {"a": "b", "x": "y"}


async def test_a_failing_webhook_refuses_or_is_passed_over_as_configured(cluster: Any, webhook: WebhookServer) -> None:
    nowhere = {"url": "https://127.0.0.1:1/", "caBundle": webhook.ca_bundle}
    await configure(cluster, "Validating", hook(nowhere))
    answer = await cluster.client.post(CONFIGMAPS, json=config_map())
    assert answer.status_code == 500
    message = answer.json()["message"]
    assert message.startswith(
        'Internal error occurred: failed calling webhook "a.example.com": failed to call webhook:'
    )
    path = f"{REGISTRATION}/validatingwebhookconfigurations/c"
    patch = {"webhooks": [hook(nowhere, failurePolicy="Ignore")]}
    assert (await cluster.client.patch(path, content=orjson.dumps(patch), headers=MERGE)).status_code == 200
    assert (await cluster.client.post(CONFIGMAPS, json=config_map())).status_code == 201


async def test_a_slow_webhook_times_out(cluster: Any, webhook: WebhookServer) -> None:
    async def sleep(_: Object) -> Object:
        await trio.sleep(30)
        return {"allowed": True}

    webhook.handlers["/slow"] = sleep
    await configure(cluster, "Validating", hook(webhook.client_config("/slow"), timeoutSeconds=1))
    answer = await cluster.client.post(CONFIGMAPS, json=config_map())
    assert answer.status_code == 500
    assert "context deadline exceeded" in answer.json()["message"]


async def test_a_certificate_of_another_authority_is_not_trusted(
    cluster: Any, webhook: WebhookServer, tmp_path: Path
) -> None:
    webhook.handlers["/validate"] = allow
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    async with open_webhook_server(elsewhere) as other:
        config = {**webhook.client_config("/validate"), "caBundle": other.ca_bundle}
        await configure(cluster, "Validating", hook(config))
        answer = await cluster.client.post(CONFIGMAPS, json=config_map())
    assert answer.status_code == 500
    assert "certificate verify failed" in answer.json()["message"]
    assert webhook.asked == []


async def test_a_service_is_found_and_its_name_verified(cluster: Any, webhook: WebhookServer) -> None:
    webhook.handlers["/validate"] = allow
    service = {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443, "targetPort": webhook.port}]}}
    await cluster.create("/api/v1/namespaces/default/services", service)
    reference = {"name": "hook", "namespace": "default", "path": "/validate"}
    await configure(cluster, "Validating", hook({"service": reference, "caBundle": webhook.ca_bundle}))
    assert (await cluster.client.post(CONFIGMAPS, json=config_map())).status_code == 201
    assert len(webhook.asked) == 1
    await cluster.client.delete("/api/v1/namespaces/default/services/hook")
    answer = await cluster.client.post(CONFIGMAPS, json=config_map("two"))
    assert 'service "hook" not found' in answer.json()["message"]


async def test_earlier_webhooks_see_later_changes_when_they_ask_to(cluster: Any, webhook: WebhookServer) -> None:
    async def count(request: Object) -> Object:
        seen = request["object"]["data"].get("seen", "")
        wanted = "again" if "late" in request["object"]["data"] else "once"
        if seen == wanted:
            return {"allowed": True}
        return patch_of({"op": "add", "path": "/data/seen", "value": wanted})

    async def late(_: Object) -> Object:
        return patch_of({"op": "add", "path": "/data/late", "value": "yes"})

    webhook.handlers |= {"/count": count, "/late": late}
    await configure(
        cluster,
        "Mutating",
        hook(webhook.client_config("/count"), "a.example.com", reinvocationPolicy="IfNeeded"),
        hook(webhook.client_config("/late"), "b.example.com"),
    )
    created = await cluster.create(CONFIGMAPS, config_map())
    assert created["data"] == {"a": "b", "seen": "again", "late": "yes"}
    assert [path for path, _ in webhook.asked] == ["/count", "/late", "/count"]


async def test_what_a_webhook_breaks_is_validated(cluster: Any, webhook: WebhookServer) -> None:
    async def spoil(_: Object) -> Object:
        return patch_of({"op": "replace", "path": "/spec/size", "value": 0})

    webhook.handlers["/mutate"] = spoil
    await cluster.create(DEFINITIONS, definition())
    rule = {"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}
    await configure(cluster, "Mutating", hook(webhook.client_config("/mutate"), rules=[rule]))
    answer = await cluster.client.post(WIDGETS, json=widget("a"))
    assert answer.status_code == 422
    assert "spec.size" in answer.json()["message"]


async def test_dry_runs_tell_the_webhook(cluster: Any, webhook: WebhookServer) -> None:
    webhook.handlers["/validate"] = allow
    await configure(cluster, "Validating", hook(webhook.client_config("/validate"), sideEffects="NoneOnDryRun"))
    await cluster.client.post(CONFIGMAPS, json=config_map(), params={"dryRun": "All"})
    ((_, request),) = webhook.asked
    assert request["dryRun"] is True
    assert request["options"]["dryRun"] == ["All"]


async def test_match_conditions_choose_what_is_asked_about(cluster: Any, webhook: WebhookServer) -> None:
    webhook.handlers["/validate"] = allow
    conditions = [{"name": "two", "expression": "object.metadata.name == 'two'"}]
    await configure(cluster, "Validating", hook(webhook.client_config("/validate"), matchConditions=conditions))
    await cluster.create(CONFIGMAPS, config_map("one"))
    await cluster.create(CONFIGMAPS, config_map("two"))
    assert [request["name"] for _, request in webhook.asked] == ["two"]


async def convert(request: Object) -> Object:
    """Converts between ``v1.spec.color`` and ``v2.spec.paint``."""
    names = ("color", "paint") if request["desiredAPIVersion"].endswith("v2") else ("paint", "color")
    converted = []
    for obj in request["objects"]:
        spec = {names[1] if name == names[0] else name: value for name, value in obj["spec"].items()}
        converted.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
    return {"convertedObjects": converted, "result": {"status": "Success"}}


def converted_definition(webhook: WebhookServer) -> Object:
    loose = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [version("v1", schema=loose), version("v2", storage=False, schema=loose)]
    for found in versions:
        del found["selectableFields"]
    conversion = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": webhook.client_config("/convert"), "conversionReviewVersions": ["v1"]},
    }
    return definition(*versions, conversion=conversion)


async def test_objects_are_converted_by_webhook(cluster: Any, webhook: WebhookServer) -> None:
    webhook.handlers["/convert"] = convert
    await cluster.create(DEFINITIONS, converted_definition(webhook))
    second = WIDGETS.replace("/v1/", "/v2/")
    await cluster.create(WIDGETS, widget("a"))
    assert (await cluster.client.get(f"{second}/a")).json()["spec"] == {"paint": "red"}
    created = await cluster.create(second, widget("b", {"paint": "blue"}, "v2"))
    assert created["apiVersion"] == "example.com/v2"
    assert (await cluster.client.get(f"{WIDGETS}/b")).json()["spec"] == {"color": "blue"}
    listed = (await cluster.client.get(second)).json()
    assert [item["spec"] for item in listed["items"]] == [{"paint": "red"}, {"paint": "blue"}]
    resource = cluster.registry.find("example.com", "v2", "widgets")
    async with cluster.registry.open_watch(resource, None) as events:
        assert (await events.receive()).object["spec"] == {"paint": "red"}


async def test_a_conversion_that_fails_is_told(cluster: Any, webhook: WebhookServer) -> None:
    async def refuse(_: Object) -> Object:
        return {"convertedObjects": [], "result": {"status": "Failure", "message": "cannot"}}

    webhook.handlers["/convert"] = refuse
    await cluster.create(DEFINITIONS, converted_definition(webhook))
    await cluster.create(WIDGETS, widget("a"))
    answer = await cluster.client.get(f"{WIDGETS.replace('/v1/', '/v2/')}/a")
    assert answer.status_code == 500
    assert "conversion webhook for example.com/v1, Kind=Widget failed: cannot" in answer.json()["message"]


async def test_an_equivalent_version_is_shown_in_the_version_of_the_rule(cluster: Any, webhook: WebhookServer) -> None:
    webhook.handlers |= {"/convert": convert, "/validate": allow}
    await cluster.create(DEFINITIONS, converted_definition(webhook))
    rule = {"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["widgets"]}
    await configure(cluster, "Validating", hook(webhook.client_config("/validate"), rules=[rule]))
    await cluster.create(WIDGETS, widget("a"))
    (request,) = (request for path, request in webhook.asked if path == "/validate")
    assert request["object"]["spec"] == {"paint": "red"}
    assert request["kind"]["version"] == "v2"
    assert request["requestKind"]["version"] == "v1"
