"""A user who names a Secret for a container must have the right to read it: policy ``reads`` on a real API server.

The users here may do everything with our kinds and nothing else, except what a test grants. No webhook is registered,
so every refusal happens while admission is down. Without the policy, these requests were accepted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import trio

from core.api.objects import Object
from core.api.resource import OUR_RESOURCES
from deployment import registration
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.policies import reads
from deployment.policies.policy import documents
from tests.e2e.kubectl import Kubectl
from tools.control_plane.access import load_access
from tools.control_plane.session import SessionCluster

NAMESPACE = "reads"
AUTHOR = "tests.bubustack.io:author"
RBAC = "rbac.authorization.k8s.io"
KINDS = {resource.kind: resource for resource in OUR_RESOURCES}
SEEN_SECONDS = 30.0
HERS = [f"hers{index}" for index in range(reads.NAMES + 1)]


@pytest.fixture(scope="module")
def guarded(furnished: SessionCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """A server with the policy, and three users.

    mallory writes our kinds. nora may also read Secret ``hers``, and olga may use everything that a container can name.
    """
    kubectl = Kubectl(furnished, tmp_path_factory.mktemp("kubectl"))
    mark = {"tests.bubustack.io/clean-slate": "true"}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": mark}},
        *people(),
        *documents(reads.policy(DEFAULT_INSTALLATION), DEFAULT_INSTALLATION),
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)
    try:
        yield kubectl
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "--filename=-", stdin=text)


def people() -> list[Object]:
    """The rights of mallory, nora and olga."""
    return [
        *granted("author", ["mallory", "nora", "olga"], ours()),
        *granted("hers", ["nora"], [right("secrets", "get", names=["hers", *HERS])]),
        *granted(
            "all",
            ["olga"],
            [
                right("secrets", "get"),
                right("configmaps", "get"),
                right("persistentvolumeclaims", "get"),
                right("pods", "create"),
                right("serviceaccounts", "patch"),
            ],
        ),
    ]


def ours() -> list[Object]:
    groups = sorted({resource.group for resource in OUR_RESOURCES})
    return [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]


def right(plural: str, verb: str, **more: list[str]) -> Object:
    named = {"resourceNames": more["names"]} if more else {}
    return {"apiGroups": [""], "resources": [plural], "verbs": [verb], **named}


def granted(name: str, people: list[str], rules: list[Object]) -> list[Object]:
    role: Object = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole"}
    role["metadata"] = {"name": f"tests.bubustack.io:{name}"}
    binding = {
        **role,
        "kind": "ClusterRoleBinding",
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": person} for person in people],
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role["metadata"]["name"]},
    }
    return [{**role, "rules": rules}, binding]


@pytest.fixture
async def server(guarded: Kubectl, steerable: SessionCluster) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an administrator, who impersonates other users; returned once the policy is in force."""
    assert steerable.ready is not None
    access = load_access(steerable.kubeconfig.parent)
    headers = {"authorization": f"Bearer {steerable.ready.admin_token}"}
    async with httpx.AsyncClient(
        base_url=steerable.ready.url, headers=headers, verify=access.tls_context(), timeout=30, trust_env=False
    ) as client:
        with trio.fail_after(SEEN_SECONDS):
            while (await created(client, "mallory", engram(secrets={"api": "theirs"}))).status_code != 422:  # noqa: ASYNC110
                await trio.sleep(0.1)  # a server takes a moment to compile a policy, and sends no event then
        yield client


async def created(client: httpx.AsyncClient, person: str, obj: Object) -> httpx.Response:
    """The answer to a creation as a dry run, about which admission is asked as for any other request."""
    resource = KINDS[obj["kind"]]
    place = NAMESPACE if resource.namespaced else None
    headers = [("impersonate-user", person), ("impersonate-group", "system:authenticated")]
    return await client.post(resource.path(place), json=obj, headers=headers, params={"dryRun": "All"})


def thing(kind: str, spec: Object, **metadata: Any) -> Object:
    resource = KINDS[kind]
    return {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "probe", **metadata}, "spec": spec}


def engram(annotations: Object | None = None, **spec: Any) -> Object:
    return thing("Engram", {"templateRef": {"name": "t"}, **spec}, annotations=annotations or {})


def story(*steps: Object, **spec: Any) -> Object:
    return thing("Story", {"steps": [{"name": f"s{index}", **each} for index, each in enumerate(steps)], **spec})


def impulse(**spec: Any) -> Object:
    return thing("Impulse", {"templateRef": {"name": "t"}, "storyRef": {"name": "s"}, **spec})


def use(secret: str) -> Object:
    return {"ref": {"name": "worker"}, "secrets": {"api": secret}}


def parallel(*branches: Object) -> Object:
    steps = [{"name": f"b{index}", **branch} for index, branch in enumerate(branches)]
    return {"type": "parallel", "with": {"steps": steps}}


def nested(secret: str, depth: int) -> Object:
    step = use(secret)
    for _ in range(depth):
        step = parallel(step)
    return step


def s3(secret: str) -> Object:
    return {"storage": {"s3": {"bucket": "b", "authentication": {"secretRef": {"name": secret}}}}}


def claim(name: str) -> Object:
    return {"storage": {"file": {"path": "/data", "volumeClaimName": name}}}


def mounted(*, claim: str = "", settings: str = "") -> Object:
    source = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"configMap": {"name": settings}}
    return {"volumes": [{"name": "v", "mountPath": "/v", **source}]}


def rules(plural: str, *names: str) -> Object:
    rule = {"apiGroups": [""], "resources": [plural], "verbs": ["get"], "resourceNames": list(names)}
    return {"rbac": {"rules": [rule]}}


ROLE_ARN = {"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}}
SECRETS_BY_NAME: dict[str, Any] = {
    "Engram secrets": lambda name: engram(secrets={"api": name}),
    "Engram store": lambda name: engram(overrides=s3(name)),
    "Engram rule": lambda name: engram(overrides=rules("secrets", name)),
    "Engram TLS": lambda name: engram({"engram.bubustack.io/tls-secret": name}),
    "Engram TLS, general": lambda name: engram({"bubustack.io/tls-secret": f" {name} "}),
    "Story step": lambda name: story(use(name)),
    "Story compensation": lambda name: story({"ref": {"name": "w"}}, compensations=[{"name": "c", **use(name)}]),
    "Story finally": lambda name: story({"ref": {"name": "w"}}, **{"finally": [{"name": "f", **use(name)}]}),
    "Story branch": lambda name: story(nested(name, 1)),
    "Story branch, deepest": lambda name: story(nested(name, 8)),
    "Story step store": lambda name: story({"ref": {"name": "w"}, "execution": s3(name)}),
    "Story branch store": lambda name: story(parallel({"ref": {"name": "w"}, "execution": s3(name)})),
    "Story store": lambda name: story({"ref": {"name": "w"}}, policy=s3(name)),
    "Story execution store": lambda name: story({"ref": {"name": "w"}}, policy={"execution": s3(name)}),
    "Engram pull secret": lambda name: engram(overrides={"imagePullSecrets": [name]}),
    "Engram policy pull secret": lambda name: engram(executionPolicy={"imagePullSecrets": [name]}),
    "Story step pull secret": lambda name: story({"ref": {"name": "w"}, "execution": {"imagePullSecrets": [name]}}),
    "Story pull secret": lambda name: story({"ref": {"name": "w"}}, policy={"execution": {"imagePullSecrets": [name]}}),
    "Impulse pull secret": lambda name: impulse(execution={"imagePullSecrets": [name]}),
    "Impulse secrets": lambda name: impulse(secrets={"api": name}),
    "Impulse store": lambda name: impulse(execution=s3(name)),
    "Impulse rule": lambda name: impulse(execution=rules("secrets", name)),
}


@pytest.mark.parametrize("place", SECRETS_BY_NAME)
async def test_nobody_names_a_secret_that_he_may_not_read(server: httpx.AsyncClient, place: str) -> None:
    make = SECRETS_BY_NAME[place]
    refused = await created(server, "mallory", make("database-admin"))
    assert refused.status_code == 422, refused.text
    assert "spec: names Secret database-admin, which you may not read" in refused.json()["message"]
    assert (await created(server, "nora", make("database-admin"))).status_code == 422
    assert (await created(server, "nora", make("hers"))).status_code == 201
    assert (await created(server, "olga", make("database-admin"))).status_code == 201


OTHERS_BY_NAME: list[tuple[Object, str]] = [
    (engram(overrides=rules("configmaps", "settings")), "names ConfigMap settings, which you may not read"),
    (engram(overrides=claim("data")), "names PersistentVolumeClaim data, which you may not read"),
    (story(use("hers") | {"execution": claim("data")}), "names PersistentVolumeClaim data, which you may not read"),
    (impulse(execution=claim("data")), "names PersistentVolumeClaim data, which you may not read"),
    (engram(overrides=mounted(claim="data")), "names PersistentVolumeClaim data, which you may not read"),
    (engram(executionPolicy=mounted(settings="ini")), "names ConfigMap ini, which you may not read"),
    (
        story({"ref": {"name": "w"}, "execution": mounted(claim="data")}),
        "names PersistentVolumeClaim data, which you may not read",
    ),
    (
        story(parallel({"ref": {"name": "w"}, "execution": mounted(settings="ini")})),
        "names ConfigMap ini, which you may not read",
    ),
    (
        story({"ref": {"name": "w"}}, policy={"execution": mounted(settings="ini")}),
        "names ConfigMap ini, which you may not read",
    ),
    (impulse(execution=mounted(claim="data")), "names PersistentVolumeClaim data, which you may not read"),
    (
        story({"ref": {"name": "w"}}, policy={"storage": {"s3": {"bucket": "b", "authentication": ROLE_ARN}}}),
        "you need the permission to patch ServiceAccounts",
    ),
    (
        impulse(execution={"storage": {"s3": {"bucket": "b", "authentication": ROLE_ARN}}}),
        "you need the permission to patch ServiceAccounts",
    ),
    (impulse(execution={"serviceAccountName": "admin"}), "you need the permission to create Pods"),
    (
        thing(
            "EngramTemplate",
            {"version": "1", "image": "i", "supportedModes": ["job"], "execution": rules("secrets", "a")},
        ),
        "names Secrets in every namespace",
    ),
    (
        thing(
            "ImpulseTemplate",
            {"version": "1", "image": "i", "supportedModes": ["deployment"], "execution": rules("secrets", "a")},
        ),
        "names Secrets in every namespace",
    ),
]


@pytest.mark.parametrize(
    ("obj", "said"),
    OTHERS_BY_NAME,
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_nor_anything_else_that_containers_would_use_for_him(
    server: httpx.AsyncClient, obj: Object, said: str
) -> None:
    refused = await created(server, "nora", obj)
    assert refused.status_code == 422, refused.text
    assert said in refused.json()["message"]
    assert (await created(server, "olga", obj)).status_code == 201


async def test_as_many_names_as_somebody_may_read_by_name_and_no_more(server: httpx.AsyncClient) -> None:
    assert (await created(server, "nora", story(*map(use, HERS[:-1])))).status_code == 201
    refused = await created(server, "nora", story(*map(use, HERS)))
    assert "more than 8 secrets" in refused.json()["message"]
    assert (await created(server, "olga", story(*map(use, HERS)))).status_code == 201
    refused = await created(server, "nora", story(*map(use, HERS[2:]), use("other")))
    assert "names Secret other" in refused.json()["message"]


LARGE = ((100, 0), (100, 100))
"""Steps, and branches of each."""


@pytest.mark.parametrize(("steps", "branches"), LARGE)
async def test_large_stories_are_within_what_a_policy_may_cost(
    server: httpx.AsyncClient, steps: int, branches: int
) -> None:
    step = parallel(*[{"ref": {"name": "w"}}] * branches, use("hers")) if branches else use("hers")
    answer = await created(server, "nora", story(*[step] * steps))
    assert answer.status_code == 201, answer.text


async def test_what_names_nothing_needs_no_right(server: httpx.AsyncClient) -> None:
    for obj in (engram(), story({"ref": {"name": "w"}}, parallel({"ref": {"name": "w"}})), impulse()):
        assert (await created(server, "mallory", obj)).status_code == 201


async def test_what_is_odd_is_no_way_around(server: httpx.AsyncClient) -> None:
    """No schema checks branches. A branch that is not a valid step hides nothing beside it."""
    odd: list[Any] = [5, "text", {"name": 1, "secrets": ["a"]}, {"secrets": {"a": 1}}, {"execution": "x"}]
    for each in odd:
        hidden = {"type": "parallel", "with": {"steps": [each, {"name": "b", **use("database-admin")}]}}
        assert (await created(server, "mallory", story(hidden))).status_code == 422, each


async def test_it_holds_while_our_webhooks_are_registered_and_nobody_answers(
    server: httpx.AsyncClient, guarded: Kubectl
) -> None:
    configurations = [registration.mutating_configuration(), registration.validating_configuration()]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": configurations})
    guarded("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)
    try:
        with trio.fail_after(SEEN_SECONDS):
            while (await created(server, "olga", engram(secrets={"api": "any"}))).status_code != 500:  # noqa: ASYNC110
                await trio.sleep(0.1)
        refused = await created(server, "mallory", engram(secrets={"api": "any"}))
        assert refused.status_code == 422, refused.text
        assert "names Secret any, which you may not read" in refused.json()["message"]
    finally:
        guarded("delete", "--ignore-not-found", "--wait=false", "--filename=-", stdin=text)
