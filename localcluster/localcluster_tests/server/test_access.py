"""Tokens, authentication and authorization."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from localcluster.server import authn, authz, tokens
from localcluster.server.authn import Authenticator
from localcluster.server.authz import Attributes, Authorizer
from localcluster.server.errors import StatusError
from localcluster.server.identity import ADMIN, ANONYMOUS, Identity
from localcluster.server.request import Request
from localcluster.server.storage import Storage
from localcluster.server.store import Store
from localcluster.server.tokens import BoundObject, InvalidTokenError, TokenIssuer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage.open(None)
    yield storage
    storage.close()


@pytest.fixture
def store(storage: Storage) -> Store:
    return Store(storage)


def put(store: Store, collection: str, key: str, **fields: Any) -> None:
    namespace, _, name = key.rpartition("/")
    metadata = {"name": name, "uid": f"uid-of-{name}", **({"namespace": namespace} if namespace else {})}
    metadata |= fields.pop("metadata", {})
    target = store.collection(collection)
    store.write(target, key, {"metadata": metadata, **fields}, expected=target.get(key))


def remove(store: Store, collection: str, key: str) -> None:
    target = store.collection(collection)
    store.write(target, key, None, expected=target.get(key))


def issue(issuer: TokenIssuer, **options: Any) -> str:
    settings: dict[str, Any] = {
        "audiences": (tokens.AUDIENCE,),
        "issued_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
    }
    return issuer.issue("default", "bob", "uid-of-bob", **{**settings, **options})


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> dict[str, Any]:
        raise AssertionError("no body is read")

    return Request.of({"method": "GET", "path": "/api", "headers": raw}, receive)


def test_a_token_proves_its_account(storage: Storage) -> None:
    issuer = TokenIssuer.load(storage)
    claims = issuer.read(issue(issuer), NOW)
    assert (claims.namespace, claims.account, claims.account_uid) == ("default", "bob", "uid-of-bob")


def test_the_signing_key_survives_a_restart(storage: Storage) -> None:
    token = issue(TokenIssuer.load(storage))
    assert TokenIssuer.load(storage).read(token, NOW).account == "bob"


@pytest.mark.parametrize(
    ("options", "at", "why"),
    [
        ({}, NOW + timedelta(hours=2), "expired"),
        ({"issued_at": NOW + timedelta(hours=1), "expires_at": NOW + timedelta(hours=2)}, NOW, "not valid yet"),
        ({"audiences": ("somebody",)}, NOW, "other audiences"),
    ],
)
def test_a_token_is_only_good_in_its_time_and_place(
    storage: Storage, options: dict[str, Any], at: datetime, why: str
) -> None:
    issuer = TokenIssuer.load(storage)
    with pytest.raises(InvalidTokenError, match=why):
        issuer.read(issue(issuer, **options), at)


def test_a_forged_token_is_refused(storage: Storage) -> None:
    issuer = TokenIssuer.load(storage)
    header, payload, signature = issue(issuer).split(".")
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["kubernetes.io"]["serviceaccount"]["name"] = "admin"
    forged = base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    other = issue(TokenIssuer(ec.generate_private_key(ec.SECP256R1())))
    for token in (f"{header}.{forged}.{signature}", f"{none}.{payload}.", other, "nonsense", "a.b.c", ""):
        with pytest.raises(InvalidTokenError):
            issuer.read(token, NOW)


def authenticator(storage: Storage, store: Store) -> tuple[Authenticator, TokenIssuer]:
    issuer = TokenIssuer.load(storage)
    return Authenticator(store, issuer, {"admin-token": ADMIN}, lambda: NOW), issuer


def test_nobody_is_anonymous_and_nonsense_is_unauthorized(storage: Storage, store: Store) -> None:
    found, _ = authenticator(storage, store)
    assert found.authenticate(request()) is ANONYMOUS
    assert found.authenticate(request(authorization="Bearer admin-token")) is ADMIN
    for header in ("Bearer nonsense", "Bearer ", "Basic YTpi"):
        with pytest.raises(StatusError) as caught:
            found.authenticate(request(authorization=header))
        assert caught.value.code == 401


def test_a_token_dies_with_its_account_and_with_its_pod(storage: Storage, store: Store) -> None:
    found, issuer = authenticator(storage, store)
    put(store, "/serviceaccounts", "default/bob")
    put(store, "/pods", "default/p")
    plain = issue(issuer)
    bound = issue(issuer, bound=BoundObject("Pod", "p", "uid-of-p"))
    user = found.identity_of(bound)
    assert user.name == "system:serviceaccount:default:bob"
    assert "system:serviceaccounts:default" in user.groups
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    remove(store, "/pods", "default/p")
    with pytest.raises(InvalidTokenError, match="was deleted"):
        found.identity_of(bound)
    assert found.identity_of(plain).uid == "uid-of-bob"
    put(store, "/serviceaccounts", "default/bob", metadata={"uid": "another"})
    with pytest.raises(InvalidTokenError, match="was deleted"):
        found.identity_of(plain)


def test_impersonation_is_read_from_headers() -> None:
    assert authn.wanted_identity(request()) is None
    user = authn.wanted_identity(request(impersonate_user="system:serviceaccount:a:b"))
    assert user is not None
    assert set(user.groups) == {"system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"}
    with pytest.raises(StatusError):
        authn.wanted_identity(request(impersonate_group="x"))


BOB = Identity("system:serviceaccount:default:bob", ("system:authenticated",))


def grant(store: Store, rules: list[dict[str, Any]], *, cluster: bool = False) -> None:
    subject = {"kind": "ServiceAccount", "name": "bob", "namespace": "default"}
    if cluster:
        put(store, f"{authz.GROUP}/clusterroles", "r", rules=rules)
        reference = {"kind": "ClusterRole", "name": "r"}
        put(store, f"{authz.GROUP}/clusterrolebindings", "b", roleRef=reference, subjects=[subject])
    else:
        put(store, f"{authz.GROUP}/roles", "default/r", rules=rules)
        reference = {"kind": "Role", "name": "r"}
        put(store, f"{authz.GROUP}/rolebindings", "default/b", roleRef=reference, subjects=[subject])


def rule(verbs: str, groups: str, resources: str, *names: str) -> dict[str, Any]:
    found: dict[str, Any] = {"verbs": verbs.split(), "apiGroups": groups.split(",") if groups else [""]}
    return {**found, "resources": resources.split(), **({"resourceNames": list(names)} if names else {})}


@pytest.mark.parametrize(
    ("granted", "wanted", "expected"),
    [
        (rule("get", "", "pods"), Attributes("get", resource="pods", namespace="default"), True),
        (rule("get", "", "pods"), Attributes("list", resource="pods", namespace="default"), False),
        (rule("get", "", "pods"), Attributes("get", resource="pods", namespace="other"), False),
        (rule("get", "", "pods"), Attributes("get", resource="pods/log", namespace="default"), False),
        (rule("get", "", "pods/log"), Attributes("get", resource="pods/log", namespace="default"), True),
        (rule("get", "", "*/log"), Attributes("get", resource="pods/log", namespace="default"), True),
        (rule("*", "*", "*"), Attributes("delete", "apps", resource="deployments", namespace="default"), True),
        (rule("get", "apps", "deployments"), Attributes("get", "", resource="deployments", namespace="default"), False),
        (rule("get", "", "pods", "a"), Attributes("get", resource="pods", namespace="default", name="a"), True),
        (rule("get", "", "pods", "a"), Attributes("get", resource="pods", namespace="default", name="b"), False),
    ],
)
def test_a_rule_grants_exactly_what_it_says(
    store: Store, granted: dict[str, Any], wanted: Attributes, *, expected: bool
) -> None:
    grant(store, [granted])
    assert Authorizer(store).allows(BOB, wanted) is expected


def test_a_cluster_role_binding_reaches_everywhere(store: Store) -> None:
    grant(
        store, [rule("get", "", "pods"), {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]}], cluster=True
    )
    found = Authorizer(store)
    assert found.allows(BOB, Attributes("get", resource="pods", namespace="anywhere"))
    assert found.allows(BOB, Attributes("get", path="/metrics"))
    assert found.allows(BOB, Attributes("get", path="/logs/x/y"))
    assert not found.allows(BOB, Attributes("get", path="/other"))
    assert not found.allows(ANONYMOUS, Attributes("get", resource="pods", namespace="anywhere"))


def test_a_change_of_roles_takes_effect_at_once(store: Store) -> None:
    found = Authorizer(store)
    wanted = Attributes("get", resource="pods", namespace="default")
    assert not found.allows(BOB, wanted)
    grant(store, [rule("get", "", "pods")])
    assert found.reason(BOB, wanted) == (
        'RBAC: allowed by RoleBinding "b/default" of Role "r" to ServiceAccount "bob/default"'
    )
    remove(store, f"{authz.GROUP}/rolebindings", "default/b")
    assert not found.allows(BOB, wanted)


def test_aggregated_roles_grant_what_their_parts_grant(store: Store) -> None:
    part = {"metadata": {"labels": {"into": "whole"}}}
    put(store, f"{authz.GROUP}/clusterroles", "part", rules=[rule("get", "", "pods")], **part)
    aggregation = {"clusterRoleSelectors": [{"matchLabels": {"into": "whole"}}]}
    put(store, f"{authz.GROUP}/clusterroles", "whole", rules=None, aggregationRule=aggregation)
    subject = {"kind": "Group", "name": "system:authenticated"}
    reference = {"kind": "ClusterRole", "name": "whole"}
    put(store, f"{authz.GROUP}/clusterrolebindings", "b", roleRef=reference, subjects=[subject])
    assert Authorizer(store).allows(BOB, Attributes("get", resource="pods", namespace="default"))


def test_masters_need_no_role(store: Store) -> None:
    Authorizer(store).check(ADMIN, Attributes("delete", resource="nodes"))


def test_a_refusal_is_worded_as_by_the_real_server(store: Store) -> None:
    with pytest.raises(StatusError) as caught:
        Authorizer(store).check(BOB, Attributes("list", "apps", "v1", "deployments", "x"))
    assert caught.value.code == 403
    assert str(caught.value) == (
        'deployments.apps is forbidden: User "system:serviceaccount:default:bob" cannot list resource "deployments" in '
        'API group "apps" in the namespace "x"'
    )
