"""Authentication and authorization: anonymous users, tokens, token requests, RBAC with 403s, impersonation, reviews."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Answer, Api, ServerUnderTest
from tests.conformance.conformance_kinds import GROUP, config_map, pod, widget

RBAC = "rbac.authorization.k8s.io"
READ_MAPS: Object = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}


async def account(api: Api, name: str, *rules: Object) -> str:
    """Create a service account with its own role; returns a token."""
    await api.create("serviceaccounts", {"metadata": {"name": name}})
    if rules:
        await api.create("roles", {"metadata": {"name": name}, "rules": list(rules)})
        subjects = [{"kind": "ServiceAccount", "name": name, "namespace": api.namespace}]
        await api.create("rolebindings", binding(name, {"kind": "Role", "name": name}, subjects))
    answer = await api.post("serviceaccounts", {"spec": {"expirationSeconds": 3600}}, name, "token")
    assert answer.code == 201, answer.body
    token: str = answer.body["status"]["token"]
    return token


def binding(name: str, role: Object, subjects: list[Object]) -> Object:
    return {"metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, **role}, "subjects": subjects}


@asynccontextmanager
async def acting(server: ServerUnderTest, api: Api, token: str) -> AsyncIterator[Api]:
    async with server.client(token) as http:
        yield Api(http, api.namespace)


# --- authentication --------------------------------------------------------------------------------------------------


async def test_anonymous_users_see_health_and_version_only(api: Api, server: ServerUnderTest) -> None:
    async with acting(server, api, "") as anonymous:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await anonymous.send("GET", path)).code == 200
        answer = await anonymous.list("configmaps")
        assert answer.refusal() == (403, "Forbidden")
        assert answer.message == (
            'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the '
            f'namespace "{api.namespace}"'
        )
        assert (await anonymous.send("GET", "/apis")).code == 403


@pytest.mark.parametrize("token", ["nonsense", "a.b.c"])
async def test_a_wrong_token_is_unauthorized(api: Api, server: ServerUnderTest, token: str) -> None:
    async with acting(server, api, token) as stranger:
        answer = await stranger.list("configmaps")
    assert answer.refusal() == (401, "Unauthorized")
    assert answer.message == "Unauthorized"


async def test_a_client_certificate_is_looked_at_or_not_asked_for(server: ServerUnderTest) -> None:
    """The embedded cluster knows only bearer tokens. A client without one is anonymous."""
    if not server.refuses("client certificates"):
        return
    async with httpx.AsyncClient(base_url=server.url, verify=server.tls) as client:
        answer = await client.get("/api/v1/namespaces")
    assert answer.status_code == 403
    assert 'User "system:anonymous"' in answer.json()["message"]


# --- RBAC ------------------------------------------------------------------------------------------------------------


async def test_a_service_account_may_do_what_its_role_says(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", READ_MAPS)
    await api.create("configmaps", config_map("one"))
    async with acting(server, api, token) as bob:
        assert (await bob.get("configmaps", "one")).code == 200
        assert (await bob.list("configmaps")).code == 200
        assert (await bob.send("GET", "/apis")).code == 200, "discovery is open to the authenticated"


@pytest.mark.parametrize(
    ("method", "path", "verb", "what"),
    [
        ("POST", "{ns}/configmaps", "create", 'resource "configmaps" in API group "" in the namespace "{name}"'),
        ("DELETE", "{ns}/configmaps/x", "delete", 'resource "configmaps" in API group "" in the namespace "{name}"'),
        ("DELETE", "{ns}/secrets", "deletecollection", 'resource "secrets" in API group "" in the namespace "{name}"'),
        ("PATCH", "{ns}/configmaps/x", "patch", 'resource "configmaps" in API group "" in the namespace "{name}"'),
        ("PUT", "{ns}/configmaps/x", "update", 'resource "configmaps" in API group "" in the namespace "{name}"'),
        ("GET", "{ns}/secrets/x", "get", 'resource "secrets" in API group "" in the namespace "{name}"'),
        ("GET", "{ns}/pods/x/log", "get", 'resource "pods/log" in API group "" in the namespace "{name}"'),
        ("GET", "/api/v1/configmaps", "list", 'resource "configmaps" in API group "" at the cluster scope'),
        ("GET", "/api/v1/nodes", "list", 'resource "nodes" in API group "" at the cluster scope'),
        ("GET", "/apis/apps/v1/deployments", "list", 'resource "deployments" in API group "apps" at the cluster scope'),
        ("GET", "/metrics", "get", 'path "/metrics"'),
    ],
)  # fmt: skip
async def test_what_no_role_allows_is_forbidden(
    api: Api, server: ServerUnderTest, method: str, path: str, verb: str, what: str
) -> None:
    token = await account(api, "bob", READ_MAPS)
    async with acting(server, api, token) as bob:
        answer = await bob.send(method, path.format(ns=f"/api/v1/namespaces/{api.namespace}"), {})
    assert answer.refusal() == (403, "Forbidden")
    user = f"system:serviceaccount:{api.namespace}:bob"
    assert f'User "{user}" cannot {verb} {what.format(name=api.namespace)}' in answer.message


async def test_a_watch_is_no_list(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", {**READ_MAPS, "verbs": ["list"]})
    async with acting(server, api, token) as bob:
        assert (await bob.list("configmaps")).code == 200
        answer = await bob.list("configmaps", watch="1")
    assert answer.refusal() == (403, "Forbidden")
    assert 'cannot watch resource "configmaps"' in answer.message


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, True),
        ({"apiGroups": [GROUP], "resources": ["widgets"], "verbs": ["get"]}, True),
        ({"apiGroups": [GROUP], "resources": ["widgets"], "verbs": ["get"], "resourceNames": ["one"]}, True),
        ({"apiGroups": [GROUP], "resources": ["widgets"], "verbs": ["get"], "resourceNames": ["two"]}, False),
        ({"apiGroups": [""], "resources": ["widgets"], "verbs": ["get"]}, False),
        ({"apiGroups": [GROUP], "resources": ["widgets/status"], "verbs": ["get"]}, False),
        ({"apiGroups": [GROUP], "resources": ["*/status"], "verbs": ["get"]}, False),
        ({"apiGroups": [GROUP], "resources": ["*"], "verbs": ["list"]}, False),
    ],
)
async def test_rules_match_by_group_resource_verb_and_name(
    api: Api, server: ServerUnderTest, rule: Object, *, allowed: bool
) -> None:
    token = await account(api, "bob", rule)
    await api.create("widgets", widget("one"))
    async with acting(server, api, token) as bob:
        assert (await bob.get("widgets", "one")).code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("resource", "allowed"), [("widgets/status", True), ("*/status", True), ("widgets", False), ("*", True)]
)
async def test_subresources_have_rights_of_their_own(
    api: Api, server: ServerUnderTest, resource: str, *, allowed: bool
) -> None:
    token = await account(api, "bob", {"apiGroups": [GROUP], "resources": [resource], "verbs": ["patch"]})
    await api.create("widgets", widget("one"))
    async with acting(server, api, token) as bob:
        answer = await bob.patch("widgets", "one", {"status": {"phase": "New"}}, subresource="status")
    assert answer.code == (200 if allowed else 403)


async def test_a_right_given_is_there_and_taken_away_is_gone(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", READ_MAPS)
    async with acting(server, api, token) as bob:
        assert (await bob.list("configmaps")).code == 200
        await api.delete("rolebindings", "bob")
        await api.until(lambda: bob.list("configmaps"), lambda answer: answer.code == 403)


async def test_a_group_of_accounts_can_be_bound(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob")
    await api.create("roles", {"metadata": {"name": "maps"}, "rules": [READ_MAPS]})
    group = {"kind": "Group", "apiGroup": RBAC, "name": f"system:serviceaccounts:{api.namespace}"}
    await api.create("rolebindings", binding("all", {"kind": "Role", "name": "maps"}, [group]))
    async with acting(server, api, token) as bob:
        await api.until(lambda: bob.list("configmaps"), lambda answer: answer.code == 200)


async def test_a_cluster_role_can_be_bound_to_one_namespace(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob")
    subject = {"kind": "ServiceAccount", "name": "bob", "namespace": api.namespace}
    await api.create("rolebindings", binding("viewer", {"kind": "ClusterRole", "name": "view"}, [subject]))
    async with acting(server, api, token) as bob:
        await api.until(lambda: bob.list("configmaps"), lambda answer: answer.code == 200)
        assert (await bob.list("secrets")).code == 403
        assert (await bob.send("GET", "/api/v1/configmaps")).code == 403


async def test_nobody_grants_more_than_they_have(api: Api, server: ServerUnderTest) -> None:
    grants = {"apiGroups": [RBAC], "resources": ["*"], "verbs": ["create", "update"]}
    token = await account(api, "bob", grants, READ_MAPS)
    async with acting(server, api, token) as bob:
        assert (await bob.post("roles", {"metadata": {"name": "fine"}, "rules": [READ_MAPS]})).code == 201
        greedy = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        answer = await bob.post("roles", {"metadata": {"name": "greedy"}, "rules": [greedy]})
        assert answer.refusal() == (403, "Forbidden")
        assert "is attempting to grant RBAC permissions not currently held" in answer.message
        assert '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in answer.message
        role = {"kind": "ClusterRole", "name": "cluster-admin"}
        assert (await bob.post("rolebindings", binding("all", role, []))).code == 403


async def test_a_roles_reference_cannot_be_changed(api: Api) -> None:
    await api.create("rolebindings", binding("one", {"kind": "ClusterRole", "name": "view"}, []))
    answer = await api.patch("rolebindings", "one", {"roleRef": {"name": "edit"}})
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueInvalid", "roleRef")}


# --- token requests --------------------------------------------------------------------------------------------------


def claims(token: str) -> Object:
    payload = token.split(".")[1]
    found: Object = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


async def test_a_token_says_whose_it_is(api: Api) -> None:
    found = claims(await account(api, "bob"))
    assert found["sub"] == f"system:serviceaccount:{api.namespace}:bob"
    assert found["exp"] - found["iat"] == 3600
    assert found["kubernetes.io"]["namespace"] == api.namespace
    assert found["kubernetes.io"]["serviceaccount"]["name"] == "bob"
    assert found["aud"]
    assert found["iss"]


async def test_a_token_request_is_answered_with_its_end(api: Api) -> None:
    await api.create("serviceaccounts", {"metadata": {"name": "bob"}})
    answer = await api.post("serviceaccounts", {"spec": {}}, "bob", "token")
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("TokenRequest", "authentication.k8s.io/v1")
    assert answer.spec["expirationSeconds"] == 3600
    assert answer.body["status"]["expirationTimestamp"].endswith("Z")


@pytest.mark.parametrize(("seconds", "code"), [(60, 422), (600, 201), (1 << 40, 422)])
async def test_a_tokens_life_has_bounds(api: Api, seconds: int, code: int) -> None:
    await api.create("serviceaccounts", {"metadata": {"name": "bob"}})
    answer = await api.post("serviceaccounts", {"spec": {"expirationSeconds": seconds}}, "bob", "token")
    assert answer.code == code
    if code == 422:
        assert answer.causes == {("FieldValueInvalid", "spec.expirationSeconds")}


async def test_a_token_for_nobody_is_not_found(api: Api) -> None:
    answer = await api.post("serviceaccounts", {"spec": {}}, "nobody", "token")
    assert answer.refusal() == (404, "NotFound")


async def test_a_token_dies_with_its_account(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", READ_MAPS)
    async with acting(server, api, token) as bob:
        assert (await bob.list("configmaps")).code == 200
        await api.delete("serviceaccounts", "bob")
        await api.until(lambda: bob.list("configmaps"), lambda answer: answer.code == 401)


async def test_a_token_can_be_bound_to_a_pod(api: Api, server: ServerUnderTest) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "one"}
    answer = await api.post("serviceaccounts", {"spec": {"boundObjectRef": reference}}, "default", "token")
    token = answer.body["status"]["token"]
    assert claims(token)["kubernetes.io"]["pod"]["name"] == "one"
    async with acting(server, api, token) as bound:
        assert (await bound.send("GET", "/api")).code == 200
        await api.delete("pods", "one")
        await api.until(lambda: bound.send("GET", "/api"), lambda answer: answer.code == 401)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ({"kind": "Pod", "apiVersion": "v1", "name": "none"}, 404),
        ({"kind": "Widget", "apiVersion": f"{GROUP}/v1", "name": "x"}, 400),
    ],
)
async def test_a_token_is_bound_to_what_is_there_only(api: Api, reference: Object, code: int) -> None:
    await api.until_pods_are_taken()
    answer = await api.post("serviceaccounts", {"spec": {"boundObjectRef": reference}}, "default", "token")
    assert answer.code == code, answer.body


async def test_the_user_of_a_token_that_is_bound_to_a_pod_has_the_name_and_the_uid_of_the_pod(
    api: Api, server: ServerUnderTest
) -> None:
    """The policies that say who may report a step depend on this."""
    await api.until_pods_are_taken()
    uid = (await api.create("pods", pod("one")))["metadata"]["uid"]
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": uid}
    answer = await api.post("serviceaccounts", {"spec": {"boundObjectRef": reference}}, "default", "token")
    token = answer.body["status"]["token"]
    review = {"spec": {"token": token}}
    reviewed = await api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    async with acting(server, api, token) as container:
        itself = await container.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    for user in (reviewed.body["status"]["user"], itself.body["status"]["userInfo"]):
        assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["one"]
        assert user["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]


async def test_a_token_for_another_audience_is_not_for_the_server(api: Api, server: ServerUnderTest) -> None:
    await api.until_pods_are_taken()
    answer = await api.post("serviceaccounts", {"spec": {"audiences": ["elsewhere"]}}, "default", "token")
    token = answer.body["status"]["token"]
    assert claims(token)["aud"] == ["elsewhere"]
    async with acting(server, api, token) as stranger:
        assert (await stranger.send("GET", "/api")).code == 401
    review = {"spec": {"token": token, "audiences": ["elsewhere"]}}
    found = await api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert found.body["status"]["authenticated"] is True
    assert found.body["status"]["audiences"] == ["elsewhere"]


# --- impersonation and reviews ---------------------------------------------------------------------------------------


async def impersonated(api: Api, path: str, **headers: str) -> Answer:
    answer = await api.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(answer.status_code, answer.json(), answer.headers)


async def test_an_administrator_may_act_as_another(api: Api) -> None:
    await account(api, "bob", READ_MAPS)
    user = f"system:serviceaccount:{api.namespace}:bob"
    assert (await impersonated(api, api.path("configmaps"), impersonate_user=user)).code == 200
    answer = await impersonated(api, api.path("secrets"), impersonate_user=user)
    assert f'User "{user}" cannot list resource "secrets"' in answer.message


@pytest.mark.parametrize(
    "headers",
    [
        {"impersonate_user": "ann"},
        {"impersonate_user": "ann", "impersonate_group": "system:masters"},
        {"impersonate_user": "system:serviceaccount:default:x"},
    ],
    ids=["user", "group", "service account"],
)
async def test_impersonation_needs_its_own_right(api: Api, server: ServerUnderTest, headers: dict[str, str]) -> None:
    token = await account(api, "bob", READ_MAPS)
    async with acting(server, api, token) as bob:
        answer = await impersonated(bob, api.path("configmaps"), **headers)
    assert answer.refusal() == (403, "Forbidden")
    assert "cannot impersonate" in answer.message


async def may(client: Api, verb: str, **attributes: Any) -> bool:
    spec = {"resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": client.namespace, **attributes}}
    answer = await client.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": spec})
    assert answer.code == 201
    allowed: bool = answer.body["status"]["allowed"]
    return allowed


async def test_access_reviews_answer_as_requests_would(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", READ_MAPS)
    async with acting(server, api, token) as bob:
        assert await may(bob, "list")
        assert not await may(bob, "delete")
        assert not await may(bob, "list", namespace="default")
        assert not await may(bob, "list", resource="secrets")
    assert await may(api, "delete")


async def test_everybody_may_ask_who_they_are(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob")
    async with acting(server, api, token) as bob:
        answer = await bob.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    found = answer.body["status"]["userInfo"]
    assert found["username"] == f"system:serviceaccount:{api.namespace}:bob"
    assert {"system:serviceaccounts", "system:authenticated", f"system:serviceaccounts:{api.namespace}"} <= set(
        found["groups"]
    )


async def test_rules_of_a_namespace_are_told(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", READ_MAPS)
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    async with acting(server, api, token) as bob:
        answer = await bob.send("POST", path, {"spec": {"namespace": api.namespace}})
    assert READ_MAPS in answer.body["status"]["resourceRules"]


async def test_others_are_reviewed_by_those_who_may(api: Api, server: ServerUnderTest) -> None:
    token = await account(api, "bob", READ_MAPS)
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    attributes = {"verb": "list", "resource": "configmaps", "namespace": api.namespace}
    user = f"system:serviceaccount:{api.namespace}:bob"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{api.namespace}", "system:authenticated"]
    review = {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}
    assert (await api.send("POST", path, review)).body["status"]["allowed"] is True
    assert (await api.send("POST", path, {"spec": {"user": "x"}})).code == 422
    async with acting(server, api, token) as bob:
        assert (await bob.send("POST", path, review)).code == 403


@pytest.mark.parametrize("good", [True, False])
async def test_tokens_are_reviewed(api: Api, good: bool) -> None:
    token = await account(api, "bob") if good else "nonsense"
    answer = await api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    assert answer.code == 201
    assert answer.body["status"].get("authenticated", False) is good
    if good:
        assert answer.body["status"]["user"]["username"].endswith(":bob")


async def test_a_pods_eviction_is_done_or_refused(api: Api, server: ServerUnderTest) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}}
    answer = await api.post("pods", eviction, "one", "eviction")
    if server.refuses("eviction"):
        assert answer.code == 501
        assert answer.message == "pods/eviction is not served by a local cluster: delete the pod instead"
    else:
        assert answer.code == 201
