"""Admission by policy, on a server in this process. What both servers answer is in tests/conformance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from kubewire import Object
from localcluster.server.cluster import open_api_server
from localcluster.server.webhookcall import LocalWebhooks
from localcluster.transport import ASGIStreamingTransport

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
RULE: Object = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}


def policy(expression: str, name: str = "p", **spec: Any) -> Object:
    fields = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": expression}], **spec}
    return _head("ValidatingAdmissionPolicy", name) | {"spec": fields}


def binding(name: str = "p", **spec: Any) -> Object:
    fields = {"policyName": name, "validationActions": ["Deny"], **spec}
    return _head("ValidatingAdmissionPolicyBinding", name) | {"spec": fields}


def _head(kind: str, name: str) -> Object:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}}


async def nobody(store: object, path: str, raw: bytes) -> bytes:
    raise AssertionError(f"no webhook is registered, but {path} is called")


@asynccontextmanager
async def server(*stored: Object, registered: Sequence[Object] = ()) -> AsyncIterator[httpx.AsyncClient]:
    hooks = LocalWebhooks(("nowhere", "nobody"), nobody, registered)
    async with trio.open_nursery() as nursery, open_api_server(local_webhooks=hooks) as found:
        headers = {"authorization": f"Bearer {found.admin_token}"}
        transport = ASGIStreamingTransport(found.app, nursery)
        async with httpx.AsyncClient(base_url="http://cluster", headers=headers, transport=transport) as client:
            for each in stored:
                await created(client, each)
            yield client
        nursery.cancel_scope.cancel()


async def created(client: httpx.AsyncClient, obj: Object) -> None:
    kind = obj["kind"].lower()
    plural = "validatingadmissionpolicies" if kind.endswith("policy") else f"{kind}s"
    answer = await client.post(f"{ADMISSION}/{plural}", json=obj)
    assert answer.status_code == 201, answer.text


async def code(client: httpx.AsyncClient, name: str, **more: Any) -> int:
    answer = await client.post(MAPS, json={"metadata": {"name": name, **more}}, params={"dryRun": "All"})
    return answer.status_code


NAMED_GOOD = "object.metadata.name == 'good'"


async def test_a_registered_policy_is_in_force_and_is_no_object() -> None:
    async with server(registered=[policy(NAMED_GOOD), binding()]) as client:
        assert await code(client, "bad") == 422
        assert await code(client, "good") == 201
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
            assert (await client.get(f"{ADMISSION}/{plural}")).json()["items"] == []


async def test_a_policy_is_in_force_while_it_has_a_binding() -> None:
    async with server(policy(NAMED_GOOD)) as client:
        assert await code(client, "bad") == 201
        await created(client, binding())
        assert await code(client, "bad") == 422
        await client.delete(f"{ADMISSION}/validatingadmissionpolicybindings/p")
        assert await code(client, "bad") == 201


async def test_a_changed_policy_takes_effect_at_once() -> None:
    async with server(policy(NAMED_GOOD), binding()) as client:
        changed = policy("object.metadata.name == 'bad'")
        answer = await client.put(f"{ADMISSION}/validatingadmissionpolicies/p", json=changed)

        assert answer.json()["metadata"]["generation"] == 2
        assert await code(client, "bad") == 201
        assert await code(client, "good") == 422


async def test_parameters_are_selected_by_labels() -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    reference = {"selector": {"matchLabels": {"is": "limit"}}, "parameterNotFoundAction": "Allow"}
    checked = policy("object.metadata.name != params.metadata.name + 'x'", paramKind=kind)
    async with server(checked, binding(paramRef=reference)) as client:
        for name in ("a", "b"):
            labelled = {"metadata": {"name": name, "labels": {"is": "limit"}}}
            assert (await client.post(MAPS, json=labelled)).status_code == 201

        assert [await code(client, name) for name in ("ax", "bx", "cx")] == [422, 422, 201]


async def test_parameters_of_an_unknown_kind_count_as_a_failure() -> None:
    kind = {"apiVersion": "example.com/v1", "kind": "Limit"}
    reference = {"name": "a", "parameterNotFoundAction": "Allow"}
    for failure_policy, expected in (("Fail", 422), ("Ignore", 201)):
        checked = policy("true", paramKind=kind, failurePolicy=failure_policy)
        async with server(checked, binding(paramRef=reference)) as client:
            assert await code(client, "one") == expected


async def test_cluster_wide_objects_have_no_namespaced_parameters() -> None:
    rule = {**RULE, "resources": ["namespaces"]}
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    checked = policy("true", paramKind=kind, matchConstraints={"resourceRules": [rule]})
    reference = {"name": "a", "parameterNotFoundAction": "Allow"}
    async with server(checked, binding(paramRef=reference)) as client:
        answer = await client.post("/api/v1/namespaces", json={"metadata": {"name": "n"}})

    assert answer.status_code == 422
    assert "cannot use namespaced paramRef" in answer.json()["message"]


async def test_a_generated_name_stands_in_the_refusal() -> None:
    async with server(policy("false"), binding()) as client:
        answer = await client.post(MAPS, json={"metadata": {"generateName": "made-"}})

    assert answer.json()["message"].startswith('configmaps "made-')


async def test_tables_show_policies_and_bindings() -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    selected = binding(paramRef={"selector": {"matchLabels": {"a": "b"}}, "parameterNotFoundAction": "Deny"})
    accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with server(policy("true", paramKind=kind), policy("true", "q"), selected, binding("q")) as client:
        rows = []
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
            table = (await client.get(f"{ADMISSION}/{plural}", headers=accept)).json()
            rows.append([row["cells"][:3] for row in table["rows"]])

    assert rows == [[["p", 1, "v1/ConfigMap"], ["q", 1, "<unset>"]], [["p", "p", "a=b"], ["q", "q", "<unset>"]]]
