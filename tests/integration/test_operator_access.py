"""The ServiceAccount of the containers of one run, and the Secrets that they get, on a server that stores."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import ENGRAM, ROLE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT, STEP_RUN
from core.engine.errors import MissingReferenceError, NameConflictError, PortError, UnavailableError
from core.kube.errors import NotFoundError
from core.policy.settings import OperatorSettings, RunnerIdentity, StorageProvider, StorageSettings
from core.policy.sources import operator_storage
from core.workloads.runner import BASE_RULES
from core.workloads.storage_copy import ANNOTATION_COPY
from reconcilers.adapters.secret_check import SecretCheck
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE
from tests.unit.core.workloads.workload_samples import workload

NAME = "one-engram-runner"
KINDS = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING)
STORE = StorageSettings(StorageProvider.S3, s3_bucket="b", s3_credential_namespaces=("*",))


AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
GCS = StorageSettings(
    StorageProvider.GCS, gcs_bucket="b", gcs_auth_secret_name="keys", gcs_credential_namespaces=(NAMESPACE_NAME,)
)
AZURE = StorageSettings(
    StorageProvider.AZURE,
    azure_account="acc",
    azure_container="con",
    azure_auth_secret_name="keys",
    azure_credential_namespaces=(NAMESPACE_NAME,),
)


@pytest.fixture
async def of_runs(there: AdapterWorld) -> AdapterWorld:
    """Each run has an account of its own."""
    there.settings = OperatorSettings(runner_identity=RunnerIdentity.RUN)
    return there


def begun(run: Object) -> Object:
    return {**run, "status": {"startedAt": "2025-01-02T03:04:05Z"}}


async def test_a_new_run_gets_its_access_in_three_writes_and_without_an_event(of_runs: AdapterWorld) -> None:
    run, story = await of_runs.definitions()
    await of_runs.new_executor.prepare_run(run, story)
    assert sorted(of_runs.wire.writes) == ["POST rolebindings", "POST roles", "POST serviceaccounts"]
    assert of_runs.events.emitted == []
    for resource in KINDS:
        stored = await of_runs.client.get(resource, NAME, NAMESPACE_NAME)
        [owner] = stored["metadata"]["ownerReferences"]
        assert (owner["uid"], owner.get("controller")) == (run["metadata"]["uid"], None)


@pytest.mark.parametrize("how", ["as a new run", "as one that has started"])
async def test_what_is_there_already_is_left_alone(of_runs: AdapterWorld, how: str) -> None:
    run, story = await of_runs.definitions(
        execution={"rbac": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}}
    )
    await of_runs.new_executor.prepare_run(run, story)
    of_runs.wire.writes.clear()
    await of_runs.new_executor.prepare_run(run if how == "as a new run" else begun(run), story)
    attempts = 3 if how == "as a new run" else 0
    assert len(of_runs.wire.writes) == attempts
    assert of_runs.events.emitted == []


async def test_what_drifted_is_corrected(of_runs: AdapterWorld) -> None:
    run, story = await of_runs.definitions()
    annotations = {"serviceAccountAnnotations": {"role": "reader"}}
    story["spec"]["policy"] = {"storage": {"s3": {"bucket": "b", "authentication": annotations}}}
    await of_runs.new_executor.prepare_run(run, story)
    await of_runs.client.patch(ROLE, NAME, {"rules": []}, namespace=NAMESPACE_NAME)
    stranger = {"kind": "ServiceAccount", "name": "x", "namespace": "y"}
    await of_runs.client.patch(ROLE_BINDING, NAME, {"subjects": [stranger]}, namespace=NAMESPACE_NAME)
    annotations["serviceAccountAnnotations"] = {"zone": "a"}
    foreign = {"metadata": {"annotations": {"mine": "kept"}}}
    await of_runs.client.patch(SERVICE_ACCOUNT, NAME, foreign, namespace=NAMESPACE_NAME)
    await of_runs.new_executor.prepare_run(begun(run), story)
    account, role, binding = [await of_runs.client.get(kind, NAME, NAMESPACE_NAME) for kind in KINDS]
    assert account["metadata"]["annotations"] == {
        "mine": "kept",
        "zone": "a",
        "runs.bubustack.io/managed-storage-annotations": "zone",
    }
    assert role["rules"] == [dict(rule) for rule in BASE_RULES]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE_NAME}]
    assert {reason for _, _, reason in of_runs.events.emitted} == {
        "ServiceAccountUpdated",
        "RoleUpdated",
        "RoleBindingUpdated",
    }


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
async def test_access_of_somebody_else_is_refused_whatever_its_kind(of_runs: AdapterWorld, resource: Any) -> None:
    run, story = await of_runs.definitions()
    body: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": NAME}}
    if resource is ROLE:
        body["rules"] = []
    if resource is ROLE_BINDING:
        body["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "admin"}
    await of_runs.client.create(resource, body, namespace=NAMESPACE_NAME)
    with pytest.raises(NameConflictError, match=f"{resource.kind} team/{NAME} exists and does not belong to this run"):
        await of_runs.new_executor.prepare_run(run, story)


async def test_a_server_that_is_away_is_told_as_one_error(of_runs: AdapterWorld) -> None:
    run, story = await of_runs.definitions()
    of_runs.wire.refuse = "POST roles"
    with pytest.raises(UnavailableError):
        await of_runs.new_executor.prepare_run(run, story)
    of_runs.wire.refuse = ""
    await of_runs.new_executor.prepare_run(run, story)


async def test_an_engram_that_is_missing_or_misconfigured_does_not_keep_others_from_their_rights(
    of_runs: AdapterWorld,
) -> None:
    run, story = await of_runs.definitions()
    named = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["keys"]}
    greedy = {**named, "verbs": ["list"]}
    overrides = {"rbac": {"rules": [named, greedy]}, "imagePullPolicy": "often"}
    await of_runs.create(ENGRAM, "asking", {"templateRef": {"name": "http"}, "overrides": overrides})
    story["spec"]["steps"] += [
        {"name": "lost", "ref": {"name": "nobody"}},
        {"name": "asking", "ref": {"name": "asking"}},
    ]
    await of_runs.new_executor.prepare_run(run, story)
    role = await of_runs.client.get(ROLE, NAME, NAMESPACE_NAME)
    assert named in role["rules"]
    assert greedy not in role["rules"]


# Secrets.


def needing(
    mount_type: str = "env",
    *,
    secret: str = "openai",
    tls: str = "",
    storage: str = "",
    namespace: str = NAMESPACE_NAME,
) -> Any:
    """A workload that needs ``secret`` with a key ``token``, and perhaps other Secrets."""
    s3 = {"s3": {"bucket": "b", "authentication": {"secretRef": {"name": storage}}}}
    return workload(
        namespace=namespace,
        policy={"secrets": {"api": secret} if secret else {}, "storage": s3 if storage else None},
        secret_schema={"api": {"mountType": mount_type, "expectedKeys": ["token"]}},
        tls_secret=tls,
    )


async def checked(there: AdapterWorld, attempt: Any, *, default: str = "s3-keys") -> str:
    """The problem with the workload's Secrets; empty when there is none."""
    try:
        settings = OperatorSettings(storage=replace(STORE, s3_auth_secret_name=default))
        await SecretCheck(there.wired, OPERATOR_NAMESPACE, lambda: settings).check(attempt, settings.storage)
    except PortError as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def secret(there: AdapterWorld, name: str, namespace: str = NAMESPACE_NAME, **data: str) -> None:
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    await there.create(SECRET, name, encoded, namespace=namespace)


async def test_secrets_with_their_keys_must_exist(there: AdapterWorld) -> None:
    assert await checked(there, needing(tls="tls")) == (
        "MissingReferenceError: in namespace team: Secret 'openai' (secrets.api) does not exist; "
        "TLS Secret 'tls' does not exist"
    )
    await secret(there, "openai", other="s3cr3t")
    await secret(there, "tls", crt="x")
    problem = await checked(there, needing(tls="tls"))
    assert problem == "MissingReferenceError: in namespace team: Secret 'openai' lacks token"
    await there.client.patch(SECRET, "openai", {"stringData": {"token": "x"}}, namespace=NAMESPACE_NAME)
    assert await checked(there, needing(tls="tls")) == ""
    assert there.wire.writes == []


@pytest.mark.parametrize("name", ["a/b", "..", "Upper", "%2e"])
async def test_a_name_that_cannot_be_one_names_nothing(there: AdapterWorld, name: str) -> None:
    assert await checked(there, needing(secret=name)) == (
        f"MissingReferenceError: in namespace team: Secret {name!r} (secrets.api) does not exist"
    )


async def test_files_may_lack_keys(there: AdapterWorld) -> None:
    await secret(there, "openai")
    assert await checked(there, needing("file")) == ""
    assert "lacks token" in await checked(there, needing("both"))


async def test_a_changed_storage_secret_is_copied_anew_and_what_was_copied_stays(there: AdapterWorld) -> None:
    wanted = await of_a_step(there, needing(secret="", storage="s3-keys"))
    assert f"storage Secret {OPERATOR_NAMESPACE}/s3-keys does not exist" in await checked(there, wanted)
    await secret(there, "s3-keys", OPERATOR_NAMESPACE, **AWS, other="x")
    for _ in range(2):  # as after a crash
        assert await checked(there, wanted) == ""
    [copy] = await copies(there)
    assert copy["metadata"]["annotations"] == {
        "bubustack.io/managed-storage-secret": "true",
        "bubustack.io/managed-storage-secret-source": f"{OPERATOR_NAMESPACE}/s3-keys",
    }
    assert copy["data"] == {"AWS_ACCESS_KEY_ID": "YQ==", "AWS_SECRET_ACCESS_KEY": "cw=="}
    change = {"data": {"AWS_ACCESS_KEY_ID": "Yg=="}}
    await there.client.patch(SECRET, "s3-keys", change, namespace=OPERATOR_NAMESPACE)
    assert await checked(there, wanted) == ""
    assert sorted(each["data"]["AWS_ACCESS_KEY_ID"] for each in await copies(there)) == ["YQ==", "Yg=="]
    assert set(there.wire.writes) == {"POST secrets"}


@pytest.mark.parametrize(
    ("settings", "data", "needed"),
    [
        (GCS, {"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}, "GOOGLE_SERVICE_ACCOUNT_KEY"),
        (
            AZURE,
            {"AZURE_STORAGE_SAS_TOKEN": "sig"},
            (
                "AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and "
                "AZURE_TENANT_ID"
            ),
        ),
    ],
    ids=["gcs", "azure"],
)
async def test_credentials_of_other_providers_are_copied_without_the_rest_of_their_secret(
    there: AdapterWorld, settings: StorageSettings, data: dict[str, str], needed: str
) -> None:
    operators = OperatorSettings(storage=settings)
    block = operator_storage(operators)
    wanted = await of_a_step(there, workload(namespace=NAMESPACE_NAME, policy={"secrets": {}, "storage": block}))

    async def problem(own: OperatorSettings) -> str:
        try:
            await SecretCheck(there.wired, OPERATOR_NAMESPACE, lambda: own).check(wanted, settings)
        except PortError as error:
            return str(error)
        return ""

    await secret(there, "keys", OPERATOR_NAMESPACE, other="x")
    assert await problem(operators) == f"storage Secret {OPERATOR_NAMESPACE}/keys needs {needed}"
    assert await copies(there) == []
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    await there.client.patch(SECRET, "keys", {"data": encoded}, namespace=OPERATOR_NAMESPACE)
    nobody = replace(operators, storage=replace(settings, gcs_credential_namespaces=(), azure_credential_namespaces=()))
    assert f"add it to controller.storage.{settings.provider}.credential-namespaces" in await problem(nobody)
    assert await copies(there) == []

    assert await problem(operators) == ""

    [copy] = await copies(there)
    assert copy["data"] == encoded


async def test_what_somebody_put_in_the_place_of_a_copy_is_not_used(there: AdapterWorld) -> None:
    wanted = await of_a_step(there, needing(secret="", storage="s3-keys"))
    await secret(there, "s3-keys", OPERATOR_NAMESPACE, **AWS)
    assert await checked(there, wanted) == ""
    [copy] = await copies(there)
    await there.client.delete(SECRET, copy["metadata"]["name"], NAMESPACE_NAME)
    await secret(there, copy["metadata"]["name"], AWS_ACCESS_KEY_ID="another")
    assert "is not the copy of bobrapet-system's storage Secret that it must be" in await checked(there, wanted)


async def of_a_step(there: AdapterWorld, attempt: Any) -> Any:
    """The workload of an existing StepRun. On a real cluster, an object without its owner would be collected."""
    spec = {"storyRunRef": {"name": "demo-run"}, "stepId": "fetch", "engramRef": {"name": "fetcher"}}
    stored = await there.create(STEP_RUN, attempt.step_run_name, spec)
    return replace(attempt, step_run_uid=stored["metadata"]["uid"])


async def copies(there: AdapterWorld) -> list[Object]:
    found = (await there.client.list(SECRET, NAMESPACE_NAME)).items
    return [each for each in found if ANNOTATION_COPY in (each["metadata"].get("annotations") or {})]


async def test_only_the_operators_own_secret_is_ever_copied(there: AdapterWorld) -> None:
    await secret(there, "private", OPERATOR_NAMESPACE, a="1")
    problem = await checked(there, needing(secret="", storage="private"))
    assert problem.startswith(f"{MissingReferenceError.__name__}: storage Secret team/private does not exist")
    await secret(there, "private", **AWS)
    assert await checked(there, needing(secret="", storage="private")) == ""
    assert there.wire.writes == []


async def test_beside_the_operator_nothing_is_copied(there: AdapterWorld) -> None:
    await secret(there, "s3-keys", OPERATOR_NAMESPACE, **AWS)
    attempt = needing(secret="", storage="s3-keys", namespace=OPERATOR_NAMESPACE)
    assert await checked(there, attempt) == ""
    with pytest.raises(NotFoundError):
        await there.client.get(SECRET, "s3-keys", NAMESPACE_NAME)


async def test_errors_never_hold_what_is_secret(there: AdapterWorld) -> None:
    await secret(there, "s3-keys", OPERATOR_NAMESPACE, AWS_SECRET_ACCESS_KEY="hush")
    await secret(there, "openai", other="hush")
    texts = [
        await checked(there, needing()),
        await checked(there, needing(storage="s3-keys")),
        await checked(there, replace(needing(), namespace="nowhere")),
    ]
    assert all(texts[:2])
    assert not any(word in text for text in texts for word in ("hush", "aHVzaA"))


async def test_access_of_an_earlier_run_of_the_name_is_waited_for(of_runs: AdapterWorld) -> None:
    """A user may replace a run faster than the garbage collector works."""
    run, story = await of_runs.definitions()
    await of_runs.new_executor.prepare_run(run, story)
    successor = {**run, "metadata": {**run["metadata"], "uid": "00000000-0000-0000-0000-000000000001"}}

    with pytest.raises(UnavailableError, match=f"team/{NAME} of a deleted run is still being removed"):
        await of_runs.new_executor.prepare_run(successor, story)

    stored = await of_runs.client.get(SERVICE_ACCOUNT, NAME, NAMESPACE_NAME)
    assert stored["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]
