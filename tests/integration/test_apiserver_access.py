"""Rights over HTTP: anonymous users, service accounts, impersonation, reviews, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import open_cluster

PODS = "/api/v1/namespaces/default/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


async def account(cluster: Any, name: str, *rules: dict[str, Any]) -> str:
    """Create a service account with its own role; returns a token."""
    await cluster.create(ACCOUNTS, {"metadata": {"name": name}})
    if rules:
        roles = f"{RBAC}/namespaces/default"
        await cluster.create(f"{roles}/roles", {"metadata": {"name": name}, "rules": list(rules)})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subjects = [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]
        await cluster.create(
            f"{roles}/rolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects}
        )
    request = await cluster.create(f"{ACCOUNTS}/{name}/token", {"spec": {"expirationSeconds": 3600}})
    token: str = request["status"]["token"]
    return token


async def test_anonymous_users_see_health_and_version_only(cluster: Any) -> None:
    async with cluster.client_as("") as client:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await client.get(path)).status_code == 200
        answer = await client.get(PODS)
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace '
            '"default"'
        )
        assert (await client.get("/apis")).status_code == 403


async def test_a_wrong_token_is_unauthorized(cluster: Any) -> None:
    async with cluster.client_as("nonsense") as client:
        answer = await client.get(PODS)
        assert answer.status_code == 401
        assert answer.json()["reason"] == "Unauthorized"


async def test_a_service_account_may_do_what_its_role_says(cluster: Any) -> None:
    token = await account(cluster, "bob", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]})
    async with cluster.client_as(token) as client:
        assert (await client.get(PODS)).status_code == 200
        assert (await client.get(f"{PODS}/x")).status_code == 403
        assert (await client.get("/api/v1/pods")).status_code == 403
        assert (await client.post(PODS, json={})).status_code == 403
        assert (await client.get("/apis")).status_code == 200, "discovery is open to the authenticated"


async def test_a_token_dies_with_its_account(cluster: Any) -> None:
    token = await account(cluster, "bob", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    async with cluster.client_as(token) as client:
        assert (await client.get(PODS)).status_code == 200
        await cluster.client.delete(f"{ACCOUNTS}/bob")
        assert (await client.get(PODS)).status_code == 401


async def test_access_reviews_answer_as_requests_would(cluster: Any) -> None:
    token = await account(cluster, "bob", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    async def may(client: Any, verb: str) -> bool:
        spec = {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "default"}}
        answer = await client.post(reviews, json={"spec": spec})
        assert answer.status_code == 201
        allowed: bool = answer.json()["status"]["allowed"]
        return allowed

    async with cluster.client_as(token) as client:
        assert await may(client, "list")
        assert not await may(client, "delete")
        rules = (
            await client.post(
                "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", json={"spec": {"namespace": "default"}}
            )
        ).json()["status"]["resourceRules"]
        assert {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]} in rules
        whoami = (await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})).json()
        assert whoami["status"]["userInfo"]["username"] == "system:serviceaccount:default:bob"
    assert await may(cluster.client, "delete")


async def test_subject_and_token_reviews_are_for_those_who_ask_for_others(cluster: Any) -> None:
    token = await account(cluster, "bob", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    attributes = {"verb": "list", "resource": "pods", "namespace": "default"}
    spec = {"user": "system:serviceaccount:default:bob", "resourceAttributes": attributes}
    assert (await cluster.create(reviews, {"spec": spec}))["status"]["allowed"] is True
    assert (await cluster.client.post(reviews, json={"spec": {"user": "x"}})).status_code == 422
    token_reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    good = await cluster.create(token_reviews, {"spec": {"token": token}})
    assert good["status"]["authenticated"] is True
    assert (await cluster.create(token_reviews, {"spec": {"token": "x"}}))["status"]["authenticated"] is False
    async with cluster.client_as(token) as client:
        assert (await client.post(reviews, json={"spec": spec})).status_code == 403


async def test_impersonation_needs_its_own_right(cluster: Any) -> None:
    token = await account(cluster, "bob", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    as_bob = {"impersonate-user": "system:serviceaccount:default:bob"}
    assert (await cluster.client.get(PODS, headers=as_bob)).status_code == 200
    assert (await cluster.client.get(f"{PODS}/x", headers=as_bob)).status_code == 403
    async with cluster.client_as(token) as client:
        answer = await client.get(PODS, headers={"impersonate-user": "kubernetes-admin"})
        assert answer.status_code == 403
        assert 'cannot impersonate resource "users"' in answer.json()["message"]
        group = {"impersonate-user": "x", "impersonate-group": "system:masters"}
        assert (await client.get(PODS, headers=group)).status_code == 403


async def test_who_may_impersonate_an_account_may_not_say_in_which_pod_it_works(cluster: Any) -> None:
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}
    token = await account(cluster, "bob", rule, {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    as_bob = {"impersonate-user": "system:serviceaccount:default:bob"}
    in_a_pod = {**as_bob, "impersonate-extra-authentication.kubernetes.io%2fpod-name": "run-step-x7k2p"}
    assert (await cluster.client.get(PODS, headers=in_a_pod)).status_code == 200
    async with cluster.client_as(token) as client:
        assert (await client.get(PODS, headers=as_bob)).status_code == 200
        answer = await client.get(PODS, headers=in_a_pod)
        assert answer.status_code == 403
        assert 'resource "userextras/authentication.kubernetes.io/pod-name"' in answer.json()["message"]
    del in_a_pod["impersonate-user"]
    assert (await cluster.client.get(PODS, headers=in_a_pod)).status_code == 400


async def test_nobody_grants_more_than_they_have(cluster: Any) -> None:
    may_write_roles = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update"]}
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    token = await account(cluster, "bob", may_write_roles, pods)
    roles = f"{RBAC}/namespaces/default/roles"
    async with cluster.client_as(token) as client:
        assert (await client.post(roles, json={"metadata": {"name": "fine"}, "rules": [pods]})).status_code == 201
        greedy = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        answer = await client.post(roles, json={"metadata": {"name": "greedy"}, "rules": [pods, greedy]})
        assert answer.status_code == 403
        assert "is attempting to grant RBAC permissions not currently held" in answer.json()["message"]
        assert 'Resources:["secrets"]' in answer.json()["message"]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        subjects = [{"kind": "ServiceAccount", "name": "bob", "namespace": "default"}]
        binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": subjects}
        answer = await client.post(f"{RBAC}/namespaces/default/rolebindings", json=binding)
        assert answer.status_code == 403


async def test_a_binding_needs_its_role_first_unless_one_may_bind_anything(cluster: Any) -> None:
    may_write = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create"]}
    token = await account(cluster, "bob", may_write)
    bindings = f"{RBAC}/namespaces/default/rolebindings"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "later"}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": []}
    async with cluster.client_as(token) as client:
        answer = await client.post(bindings, json=binding)
        assert answer.status_code == 404
        assert answer.json()["message"] == 'roles.rbac.authorization.k8s.io "later" not found'
    assert (await cluster.client.post(bindings, json=binding)).status_code == 201


@pytest.mark.parametrize(("seconds", "code"), [(60, 422), (600, 201), (1 << 40, 422)])
async def test_a_tokens_lifetime_has_bounds(cluster: Any, seconds: int, code: int) -> None:
    body = {"spec": {"expirationSeconds": seconds}}
    assert (await cluster.client.post(f"{ACCOUNTS}/default/token", json=body)).status_code == code


async def test_a_token_can_be_bound_to_a_pod(cluster: Any) -> None:
    await cluster.create(PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    bound = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}}
    token = (await cluster.create(f"{ACCOUNTS}/default/token", bound))["status"]["token"]
    async with cluster.client_as(token) as client:
        assert (await client.get("/api")).status_code == 200
        await cluster.client.delete(f"{PODS}/p")
        assert (await client.get("/api")).status_code == 401
    missing = {"spec": {"boundObjectRef": {"kind": "Pod", "name": "nope"}}}
    assert (await cluster.client.post(f"{ACCOUNTS}/default/token", json=missing)).status_code == 404


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    async with open_cluster(path) as cluster:
        token = await account(cluster, "bob", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
        admin, revision = cluster.server.admin_token, cluster.server.store.revision
        before = (await cluster.client.get(f"{ACCOUNTS}/bob")).json()
    async with open_cluster(path) as cluster:
        assert cluster.server.admin_token == admin
        assert cluster.server.store.revision == revision
        assert (await cluster.client.get(f"{ACCOUNTS}/bob")).json() == before
        async with cluster.client_as(token) as client:
            assert (await client.get(PODS)).status_code == 200
        answer = await cluster.client.get(PODS, params={"watch": "true", "resourceVersion": str(revision - 1)})
        assert answer.status_code == 410, "what happened before the restart cannot be replayed"
