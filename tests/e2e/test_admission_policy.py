"""The policies and the match conditions of the webhooks on a real API server, while admission is down.

The unit tests evaluate the policies with the operator's CEL library. Here the server evaluates them. Both must give the
same result for every case in the table of rules.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trio

from core.api import manifest
from core.api.keys import ANNOTATION_ATTEMPT, ANNOTATION_DEADLINE_AT, LABEL_WORKER_POOL
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, JOB, LEASE, OUR_RESOURCES, POD, SERVICE_ACCOUNT
from core.engine.step.assignment import Assignment, assignment_patch
from deployment import registration
from deployment.files import policies
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.permissions.table import CONFIG_NAME
from deployment.policies.policy import POLICY, documents
from tests.e2e.kubectl import Kubectl
from tests.e2e.policy_evaluation import ANN, TOO_DEEP, Request, refusals
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE
from tests.unit.webhooks.validate.rule_table import cases
from tools.control_plane.access import load_access
from tools.control_plane.session import SessionCluster
from webhooks.caller import ADMINISTRATORS, POD_NAME

PATIENCE_SECONDS = 30.0
_TYPES_CHECKED_SECONDS = 180.0
"""The controller manager checks one policy after the other, and other suites may have the cores."""
SEEN_SECONDS = 1.0
KINDS = {resource.kind: resource for resource in (*OUR_RESOURCES, JOB, LEASE, POD, SERVICE_ACCOUNT)}
EVERYTHING = "tests.bubustack.io:everything"
"""ClusterRole of the users in these tests, so that only admission can refuse them."""


@pytest.fixture(scope="module")
def kubectl(furnished: SessionCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(furnished, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="module")
def guarded(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A server with our policies, two namespaces, and users who may do everything with our kinds."""
    objects = [*people(), *namespaces(), settings("deny"), *_policies()]
    _apply(kubectl, objects)
    try:
        yield kubectl
    finally:
        # Once the last policy that reads a ConfigMap is gone, servers ignore changes of it, even after a new policy is
        # added. They read it again only if they have seen its deletion.
        _delete(kubectl, [settings("deny")])
        time.sleep(SEEN_SECONDS)
        _delete(kubectl, [*_policies(), *people()])


@pytest.fixture
def deserted(guarded: Kubectl) -> Iterator[Kubectl]:
    """The same server with our webhooks registered, and no Pod behind their Service."""
    configurations = [registration.mutating_configuration(), registration.validating_configuration()]
    _apply(guarded, configurations)
    try:
        yield guarded
    finally:
        _delete(guarded, configurations)


@asynccontextmanager
async def opened(cluster: SessionCluster) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an administrator, who impersonates other users."""
    assert cluster.ready is not None
    access = load_access(cluster.kubeconfig.parent)
    headers = {"authorization": f"Bearer {cluster.ready.admin_token}"}
    async with httpx.AsyncClient(
        base_url=cluster.ready.url, headers=headers, verify=access.tls_context(), timeout=30, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def server(guarded: Kubectl, steerable: SessionCluster) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(steerable) as client:
        await _change_settings(client, "deny")
        await _until_in_force(client)
        yield client


def people() -> list[Object]:
    """Everybody may do everything with our kinds."""
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": EVERYTHING}}
    groups = sorted({resource.group for resource in OUR_RESOURCES})
    rules = [
        {"apiGroups": [*groups, "batch", LEASE.group], "resources": ["*"], "verbs": ["*"]},
        # The objects that they name for containers. tests/e2e/test_admission_reads.py tests users without these rights.
        {"apiGroups": [""], "resources": ["secrets", "configmaps", "persistentvolumeclaims"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["patch"]},
    ]
    binding = {**role, "kind": "ClusterRoleBinding", "subjects": [group]}
    binding["roleRef"] = {"apiGroup": group["apiGroup"], "kind": "ClusterRole", "name": EVERYTHING}
    return [{**role, "rules": rules}, binding]


def namespaces() -> list[Object]:
    """The namespaces of the cases."""
    names = sorted({"team", "default", OPERATOR_NAMESPACE, NAMESPACE_NAME, "other", "shared"} - {"default"})
    mark = {"tests.bubustack.io/clean-slate": "true"}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": mark}} for name in names]


def settings(policy: str) -> Object:
    """The operator's ConfigMap."""
    head = {"apiVersion": "v1", "kind": CONFIG_MAP.kind}
    metadata = {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE}
    return {**head, "metadata": metadata, "data": {"references.cross-namespace-policy": policy}}


def _policies() -> list[Object]:
    return [document for policy in policies() for document in documents(policy, DEFAULT_INSTALLATION)]


def _apply(kubectl: Kubectl, objects: list[Object]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)


def _delete(kubectl: Kubectl, objects: list[Object]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("delete", "--ignore-not-found", "--wait=false", "--filename=-", stdin=text)


async def _until_in_force(client: httpx.AsyncClient) -> None:
    """Wait until the policies are in force. A server takes a moment to compile them and to see their ConfigMap."""
    for probe in (_engram_with("x" * 70_000), _engram_that_asks("*")):
        await _until(client, probe, _by_a_policy)


async def _until(client: httpx.AsyncClient, probe: Object, expected: Callable[[httpx.Response], bool]) -> None:
    """Try to create ``probe`` until the answer is as expected."""
    answer = None
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            answer = await _ask(client, Request(probe, None))
            if expected(answer):
                return
            await trio.sleep(0.1)
    raise AssertionError(answer.text if answer is not None else "no answer")


def _story(name: str, elsewhere: str = "") -> Object:
    reference = {"name": "worker"} | ({"namespace": elsewhere} if elsewhere else {})
    return _object("Story", name, {"steps": [{"name": "a", "ref": reference}]})


def _engram_with(text: str) -> Object:
    return _object("Engram", "probe", {"templateRef": {"name": "t"}, "with": {"a": text}})


def _engram_that_asks(verb: str) -> Object:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": [verb]}
    return _object("Engram", "probe", {"templateRef": {"name": "t"}, "overrides": {"rbac": {"rules": [rule]}}})


def _object(kind: str, name: str, spec: Object, **metadata: Any) -> Object:
    resource = KINDS[kind]
    place = {"namespace": "team"} if resource.namespaced else {}
    head = {"apiVersion": resource.api_version, "kind": kind}
    return {**head, "metadata": {"name": name, **place, **metadata}, "spec": spec}


def _path(obj: Object, *, named: bool, subresource: str = "") -> str:
    resource, metadata = KINDS[obj["kind"]], obj["metadata"]
    namespace = metadata.get("namespace") if resource.namespaced else None
    return resource.path(namespace, metadata["name"] if named else None, subresource or None)


async def _ask(client: httpx.AsyncClient, request: Request, *, dry: bool = True) -> httpx.Response:
    """Send the request as its user.

    By default it is a dry run, about which admission is asked as for any other request.
    """
    groups = [("impersonate-group", group) for group in (*request.groups, "system:authenticated")]
    pod = [(f"impersonate-extra-{quote(POD_NAME, safe='')}", request.pod)] if request.pod else []
    headers = [("impersonate-user", request.username), *groups, *pod]
    query = {"dryRun": "All"} if dry else {}
    verb, named = ("POST", False) if request.old is None else ("PUT", True)
    path = _path(request.new, named=named, subresource=request.subresource)
    return await client.request(verb, path, json=request.new, headers=headers, params=query)


async def _stored(client: httpx.AsyncClient, obj: Object) -> Object:
    """Store the object as an administrator, including its status."""
    made = await client.post(_path(obj, named=False), json=_without_status(obj))
    assert made.status_code == 201, made.text
    version = made.json()["metadata"]["resourceVersion"]
    if obj.get("status"):
        whole = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
        made = await client.put(_path(obj, named=True, subresource="status"), json=whole)
        assert made.status_code == 200, made.text
    stored: Object = made.json()
    return stored


def _without_status(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key != "status"}


def _by_a_policy(answer: httpx.Response) -> bool:
    return answer.status_code == 422 and "ValidatingAdmissionPolicy" in answer.text


def _cases() -> list[tuple[str, Any, Request]]:
    """Cases that can be sent to a server: they fit the schema, and their names are valid."""
    found = []
    for case in cases():
        for which in ("accepted", "refused"):
            new = copy.deepcopy(getattr(case, which))
            old = copy.deepcopy(case.old)
            caller = case.caller or case.author
            if caller is None:  # only the checks for all users apply to an administrator
                request = Request(new, old, ANN, (ADMINISTRATORS,))
            else:
                username = DEFAULT_INSTALLATION.user if caller.is_operator else caller.username
                old, subresource = (old or {}, "status") if case.caller is not None else (old, "")
                request = Request(new, old, username, tuple(caller.groups), subresource, caller.pod)
            if _is_askable(request):
                found.append((f"{case.rule} {case.path} {which}", case, request))
    return found


def _is_askable(request: Request) -> bool:
    for obj in (request.new, request.old):
        if not obj:
            continue
        if len(json.dumps(obj)) > 1_000_000 or not isinstance(obj.get("metadata"), dict):
            return False
        if "deletionTimestamp" in obj["metadata"] or "generateName" in obj["metadata"]:
            return False
        if manifest.errors_of(_without_status(obj)) or not obj["metadata"].get("name"):
            return False
    return request.subresource == "" or bool(request.old)


async def test_the_server_says_of_every_case_what_the_unit_tests_say(server: httpx.AsyncClient) -> None:
    await play_cases(server, step=1)


async def play_cases(server: httpx.AsyncClient, *, step: int) -> None:
    """Compare the answers of the server with those of the unit tests; ``step`` 3 takes every third case.

    Accepted and refused cases alternate, so an even number would take only one kind. The server compiles the policies
    one after the other, so the first case that a policy refuses is asked until it does.
    """
    disagreements, refused, asked, in_force = [], 0, 0, set[str]()
    current = ""
    for name, case, request in sorted(_cases()[::step], key=lambda each: str(each[1].world.policy)):
        if str(case.world.policy) != current:
            current = str(case.world.policy)
            await _change_settings(server, current)
        expected = refusals(request, {"references.cross-namespace-policy": current})
        answer = await _answer_to(server, request)
        if not in_force.issuperset(expected):
            with trio.move_on_after(PATIENCE_SECONDS):
                while answer is not None and not _by_a_policy(answer):
                    await trio.sleep(0.1)
                    answer = await _answer_to(server, request)
        if answer is None:
            continue
        in_force |= expected.keys()
        asked += 1
        if any(f"'{DEFAULT_INSTALLATION.prefix}{policy}'" in answer.text for policy in TOO_DEEP):
            assert name.startswith("status/size"), name
            continue
        refused += bool(expected)
        if _by_a_policy(answer) != bool(expected):
            disagreements.append((name, expected, answer.text))

    assert disagreements == []
    assert asked > 250 // step
    assert refused > 30 // step


async def _answer_to(client: httpx.AsyncClient, request: Request) -> httpx.Response | None:
    """The answer to the request. None if the server cannot be brought to store the old object of the case."""
    if not request.old:
        answer = await _ask(client, request)
        return answer if answer.status_code in (201, 422, 409) else None
    await client.delete(_path(request.old, named=True))
    try:
        stored = await _stored(client, request.old)
    except AssertionError:
        return None
    new = {**request.new, "metadata": {**request.new["metadata"]}}
    new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
    answer = await _ask(client, replace(request, new=new, old=stored))
    await client.delete(_path(request.old, named=True))
    return answer


async def _change_settings(client: httpx.AsyncClient, policy: str) -> None:
    """Change the settings; returns once the server's policies use them."""
    path = CONFIG_MAP.path(OPERATOR_NAMESPACE, CONFIG_NAME)
    body = {"data": {"references.cross-namespace-policy": policy}}
    headers = {"content-type": "application/merge-patch+json"}
    (await client.patch(path, json=body, headers=headers)).raise_for_status()
    await _until(client, _story("probe", "shared"), lambda answer: _by_a_policy(answer) == (policy == "deny"))


async def test_a_refusal_names_the_field_and_is_no_matter_of_rights(server: httpx.AsyncClient) -> None:
    answer = await _ask(server, Request(_story("s", "shared"), None))

    assert answer.status_code == 422
    assert answer.json()["reason"] == "Invalid"
    assert "spec.steps[].ref: refers to another namespace" in answer.json()["message"]


async def test_the_server_finds_nothing_wrong_with_the_policies(guarded: Kubectl) -> None:
    """The server's type checker knows our schemas, and reports in the status of each policy."""
    ours: list[Object] = []
    with trio.fail_after(_TYPES_CHECKED_SECONDS):
        while len(ours) < len(policies()):
            await trio.sleep(0.2)
            found = json.loads(guarded("get", POLICY.plural, "--output=json").out)["items"]
            ours = [each for each in found if _is_checked(each)]

    assert [each["status"].get("typeChecking", {}) for each in ours] == [{}] * len(ours)


def _is_checked(policy: Object) -> bool:
    seen = policy.get("status", {}).get("observedGeneration")
    name: str = policy["metadata"]["name"]
    return name.startswith(DEFAULT_INSTALLATION.prefix) and bool(seen == policy["metadata"]["generation"])


# The role edit may write our kinds and Jobs, but must not be able to take the place of the operator.


RUNNER = "system:serviceaccount:team:forged-engram-runner"
SHARED = "pipeline-3f9c2a7d1b-engram-runner"
"""The account of a Story."""
CONTROLS: Object = {"apiVersion": "runs.bubustack.io/v1alpha1", "controller": True}


async def test_nobody_makes_marks_or_changes_what_the_operator_acts_on(server: httpx.AsyncClient) -> None:
    run = await _fresh(server, _object("StoryRun", "forged", {"storyRef": {"name": "s"}}))
    owner = {**CONTROLS, "kind": "StoryRun", "name": "forged", "uid": run["metadata"]["uid"]}
    spec = {"storyRunRef": {"name": "forged"}, "stepId": "a", "input": {"amount": 1}}
    step = _object("StepRun", "forged-a", spec, ownerReferences=[owner])
    child = _object("StoryRun", "forged-child", {"storyRef": {"name": "s"}}, ownerReferences=[owner])
    timers = {"runs.bubustack.io/step-timers": '{"ask":{"gateTimeoutAt":"2001-01-01T00:00:00Z"}}'}
    marked = _changed(run, "metadata", annotations=timers)
    asks = _changed(run, "metadata", annotations={"storyrun.bubustack.io/redrive-token": "again"}, labels={"a": "b"})

    refused = [Request(step, None), Request(child, None), Request(marked, run)]
    refused.append(Request(_changed(step, "metadata", deletionTimestamp=AT), None))  # no user can set this field
    refused.append(Request(_object("StoryRun", "new", {"storyRef": {"name": "s"}}, annotations=timers), None))
    passed = [Request(asks, run), Request(marked, run, DEFAULT_INSTALLATION.user), Request(step, None, ANN, (ADMINS,))]
    await _expect(server, refused, passed)

    step = await _made_by_operator(server, step)
    maker = {**CONTROLS, "kind": "StepRun", "name": "forged-a", "uid": step["metadata"]["uid"]}
    pod_spec = {"restartPolicy": "Never", "containers": [{"name": "engram", "image": "i"}]}
    job = _object("Job", "forged-a", {"template": {"spec": pod_spec}}, ownerReferences=[maker])
    refused = [
        Request(_changed(step, "spec", input={"amount": 1_000_000}), step),
        Request(_changed(step, "spec", executionOverrides={"debug": True}), step, RUNNER, (), "", "forged-a-x7k2p"),
        Request(_changed(step, "metadata", annotations={"runs.bubustack.io/step-path": "b"}), step),
        Request(_changed(step, "metadata", ownerReferences=[{**owner, "uid": "another"}]), step),
        Request(job, None),
    ]
    passed = [
        Request(_changed(step, "metadata", labels={"a": "b"}, finalizers=["a.b/c"]), step),
        Request(_changed(step, "metadata", ownerReferences=[]), step),  # garbage collection with --cascade=orphan
        Request(job, None, DEFAULT_INSTALLATION.user),
        Request({**job, "metadata": {"name": "free", "namespace": "team"}}, None),
    ]
    await _expect(server, refused, passed)

    job = await _made_by_operator(server, job)
    job["metadata"]["resourceVersion"] = ""  # its controller writes to it, too
    refused = [Request(_changed(job, "metadata", annotations={key: "7"}), job) for key in JOB_MARKS]
    await _expect(
        server, refused, [Request(_changed(job, "metadata", labels={**job["metadata"]["labels"], "a": "b"}), job)]
    )
    for obj in (step, run):
        await server.delete(_path(obj, named=True))


async def test_the_container_of_an_impulse_changes_no_spec(server: httpx.AsyncClient) -> None:
    hook = await _fresh(server, _object("Impulse", "hook", {"templateRef": {"name": "t"}, "storyRef": {"name": "s"}}))
    container = "system:serviceaccount:team:hook-impulse-runner"
    bolder = _changed(hook, "spec", execution={"serviceAccountName": "deployer"})
    seen = _changed(hook, "metadata", annotations={"seen": "1"})
    await _expect(server, [Request(bolder, hook, container)], [Request(seen, hook, container), Request(bolder, hook)])


async def test_effects_are_claimed_and_completed_by_the_containers_of_the_step_alone(
    server: httpx.AsyncClient,
) -> None:
    spec = {"stepRunRef": {"name": "mine-charge"}, "effectKey": "deliver", "holderIdentity": "h1"}
    claim = await _fresh(server, _object("EffectClaim", "mine-charge-effect-1", spec))
    done = _changed(claim, "spec", completionStatus="completed", completedAt="2026-01-01T00:00:00Z")
    taken = _changed(claim, "spec", holderIdentity="h2", leaseTransitions=1)
    another = _object("EffectClaim", "mine-charge-effect-2", {**spec, "effectKey": "other"})
    own, other = "system:serviceaccount:team:mine-engram-runner", "system:serviceaccount:team:yours-engram-runner"

    def by(user: str, pod: str) -> list[Request]:
        writes: list[tuple[Object, Object | None]] = [(done, claim), (taken, claim), (another, None)]
        return [Request(new, old, user, (), "", pod) for new, old in writes]

    strangers = [*by(other, "yours-charge-x7k2p"), *by(own, ""), *by(own, "mine-other-x7k2p"), *by(ANN, "")]
    namesake = by("system:serviceaccount:other:mine-engram-runner", "mine-charge-x7k2p")
    labelled = Request(_changed(claim, "metadata", labels={"a": "b"}), claim)
    await _expect(
        server, [*strangers, *namesake], [*by(own, "mine-charge-x7k2p"), *by(own, "mine-charge-later"), labelled]
    )
    await server.delete(_path(claim, named=True))


async def test_the_token_that_is_mounted_into_a_pod_says_for_which_step_it_speaks(server: httpx.AsyncClient) -> None:
    """Uses tokens that the server has issued, as Pods have them; all containers of two runs have one account."""
    account = await _fresh(server, _without_spec("ServiceAccount", SHARED))
    made, steps, tokens = [account], [], []
    for name in ("real-a", "real-b", "second-a"):
        run = name.partition("-")[0]
        spec = {"storyRunRef": {"name": run}, "stepId": name[-1]}
        steps.append(await _made_by_operator(server, _object("StepRun", name, spec)))
        pod_spec = {"serviceAccountName": SHARED, "containers": [{"name": "engram", "image": "i"}]}
        tokens.append(await _token_of(server, await _fresh(server, _object("Pod", f"{name}-x7k2p", pod_spec))))
    tokens.append(await _token_of(server, None))
    done = {"phase": "Succeeded", "exitCode": 0, "exitClass": "success", "output": {"a": 1}, "retries": 0}
    conditions = [{"type": "Ready", "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": AT}]

    codes = {
        (step["metadata"]["name"], number, word): await _report(server, step, token, status)
        for step in steps
        for number, token in enumerate(tokens)
        for word, status in (("done", done), ("conditions", {**done, "conditions": conditions}))
    }

    own = {("real-a", 0, "done"), ("real-b", 1, "done"), ("second-a", 2, "done")}
    assert {what for what, code in codes.items() if code == 200} == own
    assert set(codes.values()) == {200, 422}

    waits = {"phase": "Pending", "retries": 1, "nextRetryAt": AT}
    assert (await _write_status(server, steps[0], waits)).status_code == 200
    assert await _report(server, steps[0], tokens[0], {"phase": "Canceled"}) == 422  # its attempt is over
    assert (await _write_status(server, steps[0], {"phase": "Running", "nextRetryAt": None})).status_code == 200
    assert await _report(server, steps[0], tokens[0], {"phase": "Succeeded"}) == 200
    for obj in (*steps, *made):
        await server.delete(_path(obj, named=True))


async def test_only_the_pod_of_a_worker_keeps_the_worker_alive(server: httpx.AsyncClient) -> None:
    account = await _fresh(server, _without_spec("ServiceAccount", SHARED))
    pod_spec = {"serviceAccountName": SHARED, "containers": [{"name": "engram", "image": "i"}]}
    pods = [await _fresh(server, _object("Pod", f"fetcher-0123456789-{end}", pod_spec)) for end in ("aaaaa", "bbbbb")]
    own, other, none = [await _token_of(server, pod) for pod in (*pods, None)]
    name, uid = pods[0]["metadata"]["name"], pods[0]["metadata"]["uid"]
    lease = _object("Lease", name, {"holderIdentity": uid, "renewTime": f"{AT[:-1]}.000000Z"})
    lease["metadata"]["labels"] = {LABEL_WORKER_POOL: "fetcher-0123456789"}
    path, place = _path(lease, named=True), _path(lease, named=False)

    async def asked(token: str, verb: str, where: str, body: Object) -> int:
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        headers = {"authorization": f"Bearer {token}", "content-type": kind}
        return (await server.request(verb, where, json=body, headers=headers)).status_code

    assert [await asked(token, "POST", place, lease) for token in (other, none, own)] == [422, 422, 201]
    for change in ({"spec": {"renewTime": f"{AT[:-1]}.500000Z"}}, {"metadata": {"labels": {LABEL_WORKER_POOL: None}}}):
        assert [await asked(token, "PATCH", path, change) for token in (other, none)] == [422, 422]
    assert await asked(own, "PATCH", path, {"spec": {"renewTime": f"{AT[:-1]}.500000Z"}}) == 200
    for obj in (lease, *pods, account):
        await server.delete(_path(obj, named=True))


async def test_a_recorded_result_stays_although_the_pod_is_still_there(server: httpx.AsyncClient) -> None:
    account = await _fresh(server, _without_spec("ServiceAccount", SHARED))
    pod_spec = {"serviceAccountName": SHARED, "containers": [{"name": "engram", "image": "i"}]}
    pod = await _fresh(server, _object("Pod", "kept-a-x7k2p", pod_spec))
    step = await _made_by_operator(
        server, _object("StepRun", "kept-a", {"storyRunRef": {"name": "kept"}, "stepId": "a"})
    )
    token = await _token_of(server, pod)
    going = {"type": "Progressing", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": AT}
    reported = {"phase": "Succeeded", "output": {"a": 1}, "conditions": [going]}
    assert (await _write_status(server, step, reported)).status_code == 200
    assert await _report(server, step, token, {"output": {"a": 2}}) == 200  # the operator has not recorded it yet

    done = {**going, "status": "False", "reason": "Completed"}
    assert (await _write_status(server, step, {"conditions": [done]})).status_code == 200

    for forged in ({"output": {"b": 2}}, {"output": None}, {"phase": "Failed"}, {"exitCode": 1}, {"podName": "p"}):
        assert await _report(server, step, token, forged) == 422, forged
    for late in ({"logs": {"k": "v"}}, {"effects": [{"seq": 1, "key": "k"}]}, {"phase": "Succeeded"}):
        assert await _report(server, step, token, late) == 200, late
    for obj in (step, pod, account):
        await server.delete(_path(obj, named=True))


async def test_a_warm_step_is_reported_with_the_token_of_its_worker_alone(server: httpx.AsyncClient) -> None:
    """Both workers have the account of their pool; a step of each, and one whose second attempt the other has."""
    account = await _fresh(server, _without_spec("ServiceAccount", SHARED))
    pod_spec = {"serviceAccountName": SHARED, "containers": [{"name": "engram", "image": "i"}]}
    pods = [await _fresh(server, _object("Pod", f"pool-0123456789-7d9b8c6f5-{end}", pod_spec)) for end in ("a", "b")]
    tokens = [await _token_of(server, pod) for pod in pods]
    steps = []
    for name, attempt, pod in (("warm-a", 0, pods[0]), ("warm-b", 0, pods[1]), ("warm-c", 1, pods[1])):
        given = Assignment(attempt, pod["metadata"]["name"], pod["metadata"]["uid"])
        spec = {"storyRunRef": {"name": "warm"}, "stepId": name[-1], "executor": "worker"}
        steps.append(await _made_by_operator(server, _object("StepRun", name, spec, **assignment_patch(given))))
    retried = {"phase": "Pending", "retries": 1, "nextRetryAt": AT}
    assert (await _write_status(server, steps[2], retried)).status_code == 200
    late = Assignment(0, pods[0]["metadata"]["name"], pods[0]["metadata"]["uid"])
    spec = {"storyRunRef": {"name": "warm"}, "stepId": "d", "executor": "worker"}
    steps.append(await _made_by_operator(server, _object("StepRun", "warm-d", spec, **assignment_patch(late))))
    assert (await _write_status(server, steps[3], retried)).status_code == 200
    exited = {"workerExit": {"attempt": 0, "exitCode": 137}}

    codes = {
        (step["metadata"]["name"], number, word): await _report(server, step, token, status)
        for step in steps
        for number, token in enumerate(tokens)
        for word, status in (("done", {"phase": "Succeeded", "output": {"a": 1}}), ("exited", exited))
    }

    own = {(name, number, word) for name, number in (("warm-a", 0), ("warm-b", 1), ("warm-c", 1)) for word in WORDS}
    assert {what for what, code in codes.items() if code == 200} == {*own, ("warm-d", 0, "exited")}
    assert set(codes.values()) == {200, 422}
    again = await _fresh(server, _object("Pod", pods[0]["metadata"]["name"], pod_spec))
    assert await _report(server, steps[0], await _token_of(server, again), {"phase": "Succeeded"}) == 422
    for obj in (*steps, again, pods[1], account):
        await server.delete(_path(obj, named=True))


WORDS = ("done", "exited")
"""What a worker may report of its current attempt: a result, and that its process has ended."""


async def test_a_person_with_kubectl_reports_for_no_step(server: httpx.AsyncClient, guarded: Kubectl) -> None:
    step = await _made_by_operator(
        server, _object("StepRun", "told-a", {"storyRunRef": {"name": "told"}, "stepId": "a"})
    )
    patch = ("--subresource=status", "--type=merge", "--patch", '{"status":{"phase":"Failed"}}')

    with pytest.raises(AssertionError, match="only the operator and the containers of the step's attempt"):
        guarded("--namespace=team", f"--as={ANN}", "patch", "stepruns", "told-a", *patch)

    await server.delete(_path(step, named=True))


async def test_of_a_status_containers_write_what_sdks_write(server: httpx.AsyncClient) -> None:
    step = await _made_by_operator(
        server, _object("StepRun", "said-a", {"storyRunRef": {"name": "said"}, "stepId": "a"})
    )
    runner = ("system:serviceaccount:team:said-engram-runner", (), "status", "said-a-x7k2p")
    told = {
        "podName": "said-a-x7k2p",
        "startedAt": AT,
        "finishedAt": AT,
        "duration": "1s",
        "retries": 0,
        "error": {"version": "v1", "type": "execution_error", "message": "m"},
        "signals": {"k": {"v": 1}},
        "signalEvents": [{"seq": 1, "key": "k"}],
        "effects": [{"seq": 1, "key": "k"}],
        "logs": {"$bubuStorageRef": "k"},
        "needs": ["b"],
        "lastFailureMsg": "m",
        "exitCode": 1,
        "exitClass": "terminal",
    }
    phases = ("Pending", "Running", "Paused", "Succeeded", "Failed", "Canceled", "Timeout", "Aborted")
    passed = [Request({**step, "status": {**told, "phase": phase}}, step, *runner) for phase in phases]
    refused = [
        Request({**step, "status": {"phase": "Failed", **wrong}}, step, *runner)
        for wrong in (
            {"retries": 1},
            {"nextRetryAt": AT},
            {"lastOutputAt": AT},
            {"observedGeneration": 1},
            {"trace": {"traceId": "t"}},
            {"handoff": {"phase": "ready"}},
            {"cached": True},
            {"cachedFrom": {"key": "k", "storedAt": AT}},
            {"inputSchemaRef": {"ref": "x"}},
            {"outputSchemaRef": {"ref": "x"}},
            {"phase": "Skipped"},
            {"phase": "Finished"},
        )
    ]
    await _expect(server, refused, passed)
    await server.delete(_path(step, named=True))


async def test_a_decision_is_neither_older_than_its_run_nor_given_another_time(server: httpx.AsyncClient) -> None:
    decided = {"gates": {"old": {"state": "Approved", "updatedBy": "bob", "updatedAt": AT}}}
    run = await _fresh(server, {**_object("StoryRun", "timed", {"storyRef": {"name": "s"}}), "status": decided})

    def says(**gates: Object) -> Request:
        return Request({**run, "status": {"gates": {**decided["gates"], **gates}}}, run, ANN, (), "status")

    refused = [
        says(ask={"state": "Approved", "updatedAt": "2001-01-01T00:00:00Z"}),
        says(old={"state": "Approved", "updatedBy": "ann", "updatedAt": AT}),
        says(old={"state": "Approved", "updatedBy": "bob"}),
    ]
    now = run["metadata"]["creationTimestamp"]
    passed = [says(ask={"state": "Approved"}), says(ask={"state": "Rejected", "updatedAt": now}), says()]
    await _expect(server, refused, passed)
    await server.delete(_path(run, named=True))


AT = "2026-01-01T00:00:00Z"
JOB_MARKS = (ANNOTATION_ATTEMPT, ANNOTATION_DEADLINE_AT)
ADMINS = ADMINISTRATORS


async def _expect(client: httpx.AsyncClient, refused: list[Request], passed: list[Request]) -> None:
    for request in refused:
        answer = await _ask(client, request)
        assert _by_a_policy(answer), (request, answer.text)
    for request in passed:
        answer = await _ask(client, request)
        assert answer.status_code in (200, 201), (request, answer.text)


def _changed(obj: Object, part: str, **fields: Any) -> Object:
    return {**obj, part: {**obj[part], **fields}}


def _without_spec(kind: str, name: str) -> Object:
    return {key: value for key, value in _object(kind, name, {}).items() if key != "spec"}


async def _token_of(client: httpx.AsyncClient, pod: Object | None) -> str:
    """A token of the account ``SHARED``, bound to a Pod or to none."""
    spec: Object = {"expirationSeconds": 600}
    if pod is not None:
        metadata = pod["metadata"]
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = SERVICE_ACCOUNT.path("team", SHARED, "token")
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["status"]["token"]
    return token


async def _write_status(client: httpx.AsyncClient, step: Object, status: Object) -> httpx.Response:
    """The operator merges ``status`` into the status of a step."""
    headers = {"content-type": "application/merge-patch+json", "impersonate-user": DEFAULT_INSTALLATION.user}
    path = _path(step, named=True, subresource="status")
    return await client.patch(path, json={"status": status}, headers=headers)


async def _report(client: httpx.AsyncClient, step: Object, token: str, status: Object) -> int:
    """How the server answers a container that merges ``status`` into the status of its step, as SDKs do."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/merge-patch+json"}
    path = _path(step, named=True, subresource="status")
    answer = await client.patch(path, json={"status": status}, headers=headers, params={"dryRun": "All"})
    return answer.status_code


# While admission is down.


async def test_without_admission_new_specs_of_people_are_refused(server: httpx.AsyncClient, deserted: Kubectl) -> None:
    await _until_deserted(server)
    for obj in (
        _story("s"),
        _object("Engram", "e", {"templateRef": {"name": "t"}}),
        _object("EngramTemplate", "t", {"version": "1", "image": "i", "supportedModes": ["job"]}),
        _object("StoryRun", "r", {"storyRef": {"name": "s"}}),
        _object("Transport", "t", {"provider": "p", "driver": "d", "supportedBinary": ["a/b"]}),
    ):
        answer = await _ask(server, Request(obj, None))

        assert answer.status_code == 500, answer.text
        assert "failed calling webhook" in answer.text


async def test_without_admission_existing_work_continues(
    server: httpx.AsyncClient, guarded: Kubectl, request: pytest.FixtureRequest
) -> None:
    run = await _fresh(server, _object("StoryRun", "going", {"storyRef": {"name": "s"}}))
    story = await _fresh(server, _story("going"))
    going = await _fresh(server, _object("Engram", "going", {"templateRef": {"name": "t"}}, finalizers=["a.b/c"]))
    request.getfixturevalue("deserted")
    await _until_deserted(server)

    # Labels, finalizers and deletion.
    for stored in (run, story):
        stored["metadata"]["labels"] = {"a": "b"}
        assert (await _ask(server, Request(stored, stored))).status_code == 200
    assert (await server.delete(_path(going, named=True))).status_code in (200, 202)
    going = (await server.get(_path(going, named=True))).json()
    going["metadata"]["finalizers"] = []
    assert (await _ask(server, Request(going, going), dry=False)).status_code == 200
    assert (await server.get(_path(going, named=True))).status_code == 404

    # The operator creates steps and records their states. Containers report.
    step = _object("StepRun", "going-a", {"storyRunRef": {"name": "going"}, "stepId": "a"})
    assert (await _ask(server, Request(step, None, DEFAULT_INSTALLATION.user))).status_code == 201
    assert _by_a_policy(await _ask(server, Request(step, None)))
    step = await _made_by_operator(server, step)
    running = {**run, "status": {"phase": "Running"}}
    assert (await _ask(server, Request(running, run, DEFAULT_INSTALLATION.user, (), "status"))).status_code == 200
    done, runner = {**step, "status": {"phase": "Succeeded"}}, "system:serviceaccount:team:going-engram-runner"
    assert (await _ask(server, Request(done, step, runner, (), "status", "going-a-x7k2p"))).status_code == 200
    assert _by_a_policy(await _ask(server, Request(done, step, runner, (), "status", "going-b-x7k2p")))

    # Other users write no status and no identity, even now.
    assert _by_a_policy(await _ask(server, Request(running, run, ANN, (), "status")))
    assert _by_a_policy(await _ask(server, Request(done, step, ANN, (), "status")))
    approved = {**run, "status": {"gates": {"g": {"state": "Approved"}}}}
    assert (await _ask(server, Request(approved, run, ANN, (), "status"))).status_code == 200
    marked = copy.deepcopy(run)
    marked["metadata"]["annotations"] = {"storyrun.bubustack.io/trigger-token": "t"}
    assert _by_a_policy(await _ask(server, Request(marked, run)))

    # The spec of a run cannot cancel it now, because that is a new spec.
    canceled = {**run, "spec": {**run["spec"], "cancelRequested": True}}
    assert (await _ask(server, Request(canceled, run))).status_code == 500
    for obj in (step, run, story):
        await server.delete(_path(obj, named=True))


async def test_the_operators_own_namespace_is_not_asked_about(server: httpx.AsyncClient, deserted: Kubectl) -> None:
    await _until_deserted(server)
    story = _story("s")
    story["metadata"]["namespace"] = OPERATOR_NAMESPACE

    assert (await _ask(server, Request(story, None))).status_code == 201


async def _until_deserted(client: httpx.AsyncClient) -> None:
    await _until(client, _story("probe"), lambda answer: answer.status_code == 500)


async def _fresh(client: httpx.AsyncClient, obj: Object) -> Object:
    await client.delete(_path(obj, named=True))
    return await _stored(client, obj)


async def _made_by_operator(client: httpx.AsyncClient, obj: Object) -> Object:
    answer = await _ask(client, Request(obj, None, DEFAULT_INSTALLATION.user), dry=False)
    assert answer.status_code == 201, answer.text
    made: Object = answer.json()
    return made
