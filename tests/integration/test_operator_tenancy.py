"""Attacks of a tenant who may only write Stories, Engrams and runs: what the tenant must not get."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.api.conditions import find_condition
from core.api.keys import ANNOTATION_RUNNER_OF_STORY
from core.api.objects import Object
from core.api.resource import ENGRAM, EVENT, JOB, ROLE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT, STEP_RUN, STORY_RUN
from core.engine.errors import DeniedError, RejectedError
from core.kube.errors import NotFoundError
from core.policy.settings import CrossNamespacePolicy, OperatorSettings, StorageProvider, StorageSettings
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE, OperatorCluster, status_of, step

STORE = StorageSettings(
    provider=StorageProvider.S3,
    s3_bucket="payloads",
    s3_region="eu-central-1",
    s3_endpoint="https://minio.storage:9000",
    s3_auth_secret_name="store-keys",
    s3_credential_namespaces=(NAMESPACE_NAME,),
)
OWN_BLOCK = {
    "bucket": "payloads",
    "endpoint": "https://minio.storage:9000",
    "authentication": {"secretRef": {"name": "store-keys"}},
}


async def operators_store(there: AdapterWorld, **settings: Any) -> None:
    """Give the operator an S3 store with its credentials, and one more secret in the same Secret."""
    there.settings = replace(there.settings, storage=replace(STORE, **settings))
    data = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush", "ADMIN_PASSWORD": "hush hush"}
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    await there.create(SECRET, "store-keys", encoded, namespace=OPERATOR_NAMESPACE)


async def step_run_of(there: AdapterWorld, run: Object) -> Object:
    manifest = {
        "apiVersion": STEP_RUN.api_version,
        "kind": STEP_RUN.kind,
        "metadata": {
            "name": "one-fetch",
            "namespace": NAMESPACE_NAME,
            "ownerReferences": [
                {
                    "apiVersion": run["apiVersion"],
                    "kind": "StoryRun",
                    "name": "one",
                    "uid": run["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {"storyRunRef": {"name": "one"}, "stepId": "fetch", "engramRef": {"name": "http"}},
    }
    return await there.client.create(STEP_RUN, manifest)


async def started(
    there: AdapterWorld, template: Object | None = None, engram: Object | None = None, **spec: Any
) -> Object:
    """The Job of the one step of a Story with ``spec``. Raises what ``start`` raises."""
    run, story = await there.definitions(**(template or {}))
    if engram:
        await there.client.patch(ENGRAM, "http", {"spec": engram}, namespace=NAMESPACE_NAME)
        await there.known(
            there.world.engrams, "http", lambda obj: obj is not None and engram.keys() <= obj["spec"].keys()
        )
    story["spec"] |= spec
    step_run = await step_run_of(there, run)
    await there.executor.start(await there.order(run, story, step_run))
    return await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)


async def secrets_of_the_tenant(there: AdapterWorld) -> list[Object]:
    """The tenant's Secrets that hold the operator's credentials."""
    found = (await there.client.list(SECRET, NAMESPACE_NAME)).items
    return [each for each in found if "AWS_SECRET_ACCESS_KEY" in (each.get("data") or {})]


ELSEWHERE = {"endpoint": "https://collector.attacker.example"}


@pytest.mark.parametrize(
    "foreign",
    [
        {"endpoint": "http://minio.storage:9000"},
        {"endpoint": "https://minio.storage:9000@collector.attacker.example"},
        {"endpoint": ""},
        {"bucket": "somebody-elses"},
        {"region": "x.attacker.example/"},
    ],
    ids=str,
)
async def test_the_operators_credentials_never_go_with_a_store_that_somebody_else_describes(
    there: AdapterWorld, foreign: Object
) -> None:
    await operators_store(there)
    with pytest.raises(RejectedError, match="storage Secret team/store-keys does not exist; create it"):
        await started(there, policy={"storage": {"s3": {**OWN_BLOCK, **foreign}}})
    assert await secrets_of_the_tenant(there) == []


@pytest.mark.parametrize("layer", ["EngramTemplate", "Engram", "Story", "Story execution", "step"])
async def test_whatever_layer_describes_the_store(there: AdapterWorld, layer: str) -> None:
    await operators_store(there)
    storage = {"storage": {"s3": {**OWN_BLOCK, **ELSEWHERE}}}
    of_story: dict[str, Object] = {
        "Story": {"policy": storage},
        "Story execution": {"policy": {"execution": storage}},
        "step": {"steps": [{"name": "fetch", "ref": {"name": "http"}, "execution": storage}]},
    }
    spec = of_story.get(layer, {})
    template: Object = {"execution": storage} if layer == "EngramTemplate" else {}
    engram: Object = {"overrides": storage} if layer == "Engram" else {}
    with pytest.raises(RejectedError, match="storage Secret team/store-keys does not exist; create it"):
        await started(there, template=template, engram=engram, **spec)
    assert await secrets_of_the_tenant(there) == []


async def test_a_copy_that_an_earlier_release_left_goes_with_no_foreign_store(there: AdapterWorld) -> None:
    await operators_store(there)
    marks = {"annotations": {"bubustack.io/managed-storage-secret": "true"}}
    await there.create(SECRET, "store-keys", {"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="}, **marks)
    elsewhere = {"s3": {**OWN_BLOCK, **ELSEWHERE}}
    with pytest.raises(RejectedError, match=r"only go to that store; this one differs in storage\.s3\.endpoint"):
        await started(there, policy={"storage": elsewhere})
    with pytest.raises(NotFoundError):
        await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)


@pytest.mark.parametrize("how", ["the operator's default", "a Story that names it"])
async def test_a_namespace_that_the_platform_has_not_let_in_gets_no_copy_and_is_told_the_remedy(
    there: AdapterWorld, how: str
) -> None:
    await operators_store(there, s3_credential_namespaces=("others",))
    spec = {} if how == "the operator's default" else {"policy": {"storage": {"s3": OWN_BLOCK}}}
    with pytest.raises(DeniedError, match=r"add it to controller\.storage\.s3\.credential-namespaces"):
        await started(there, **spec)
    assert await secrets_of_the_tenant(there) == []


async def test_a_copy_has_the_credentials_only_and_goes_with_its_step(there: AdapterWorld) -> None:
    await operators_store(there)
    job = await started(there)
    [copy] = await secrets_of_the_tenant(there)
    [container] = job["spec"]["template"]["spec"]["containers"]
    named = {
        each["valueFrom"]["secretKeyRef"]["name"]
        for each in container["env"]
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    assert named == {copy["metadata"]["name"]} != {"store-keys"}
    assert set(copy["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert copy["immutable"] is True
    step_run = await there.client.get(STEP_RUN, "one-fetch", NAMESPACE_NAME)
    [owner] = copy["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("StepRun", step_run["metadata"]["uid"])


async def test_a_namespace_that_brings_its_own_secret_may_use_any_store(there: AdapterWorld) -> None:
    await operators_store(there, s3_credential_namespaces=())
    await there.create(SECRET, "store-keys", {"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="})
    job = await started(there, policy={"storage": {"s3": {**OWN_BLOCK, "endpoint": "https://theirs.example"}}})
    assert '"name": "store-keys"' in str(job["spec"]["template"]).replace("'", '"')
    assert len(await secrets_of_the_tenant(there)) == 1


# What an Engram of another namespace may choose.


async def borrowed(there: AdapterWorld, overrides: Object | None = None, **engram: Any) -> tuple[Object, Object]:
    """A run and Story of ``team`` whose step uses an Engram of ``lib`` with the given fields."""
    run, story = await there.definitions(secretSchema={"api": {"mountType": "env"}})
    await there.namespace("lib")
    spec = {
        "templateRef": {"name": "http"},
        "overrides": overrides or {},
        "secrets": {"api": "database-admin"},
        **engram,
    }
    await there.create(ENGRAM, "shared", spec, namespace="lib")
    await there.create(SECRET, "database-admin", {"password": "aHVzaA=="})
    there.settings = replace(there.settings, cross_namespace_policy=CrossNamespacePolicy.ALLOW)
    story["spec"]["steps"][0]["ref"] = {"name": "shared", "namespace": "lib"}
    return run, story


async def test_an_engram_of_another_namespace_mounts_no_secret_of_this_one(there: AdapterWorld) -> None:
    run, story = await borrowed(there)
    order = await there.order(run, story, await step_run_of(there, run))
    await there.executor.start(order)
    job = await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)
    assert "database-admin" not in str(job["spec"]["template"])
    assert "PolicyEnforced" in [reason for _, _, reason in there.events.emitted]


async def test_an_engram_of_another_namespace_gets_no_rights_on_secrets_of_this_one(there: AdapterWorld) -> None:
    named = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["database-admin"]}
    run, story = await borrowed(there, {"rbac": {"rules": [named]}})
    await there.executor.prepare_run(run, story)
    await there.client.get(ROLE_BINDING, await there.story_account(run, story), NAMESPACE_NAME)
    assert (await there.client.list(ROLE, NAMESPACE_NAME)).items == []
    assert "RuleRefused" in [reason for _, _, reason in there.events.emitted]


async def test_a_story_of_another_namespace_gives_the_account_no_role_at_a_cloud_provider(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    story["metadata"]["namespace"] = "lib"
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/of-the-team"}
    story["spec"]["policy"] = {
        "storage": {"s3": {"bucket": "b", "authentication": {"serviceAccountAnnotations": role}}}
    }
    story["spec"]["steps"][0]["ref"]["namespace"] = NAMESPACE_NAME
    await there.executor.prepare_run(run, story)
    account = await there.client.get(SERVICE_ACCOUNT, await there.story_account(run, story), NAMESPACE_NAME)
    assert list(account["metadata"]["annotations"]) == [ANNOTATION_RUNNER_OF_STORY]


@pytest.mark.parametrize("reference", ["database-admin:password", {"name": "database-admin", "key": "password"}])
async def test_a_step_has_nothing_read_that_only_another_steps_engram_may_read(
    there: AdapterWorld, reference: Any
) -> None:
    """The account could read it, because all steps share it."""
    run, story = await there.definitions()
    named = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["database-admin"]}
    await there.create(ENGRAM, "trusted", {"templateRef": {"name": "http"}, "overrides": {"rbac": {"rules": [named]}}})
    step_run = await step_run_of(there, run)
    order = await there.order(run, story, step_run, deep=[{"a": {"$bubuSecretRef": reference}}])
    story["spec"]["steps"].append({"name": "other", "ref": {"name": "trusted"}})
    with pytest.raises(RejectedError, match="refers to Secret 'database-admin', which only the Engram of another step"):
        await there.executor.start(order)
    with pytest.raises(NotFoundError):
        await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)
    story["spec"]["steps"].pop()
    await there.executor.start(order)  # no Engram of this run grants it: the API server decides, as usual


async def test_a_step_has_read_what_its_own_engram_asks_for(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    named = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["mine"]}
    await there.create(ENGRAM, "asking", {"templateRef": {"name": "http"}, "overrides": {"rbac": {"rules": [named]}}})
    story["spec"]["steps"] = [{"name": "fetch", "ref": {"name": "asking"}}]
    order = await there.order(run, story, await step_run_of(there, run), key={"$bubuSecretRef": "team/mine:key"})
    await there.executor.start(order)


# What a Secret may not set.


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("LD_", "PRELOAD"), ("PA", "TH"), ("PYTHON", "PATH"), ("BUBU_", "TRIGGER_DATA"), ("BASH_", "ENV")],
)
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "as it comes"])
async def test_a_secret_sets_no_variable_that_decides_what_a_program_runs(
    there: AdapterWorld, prefix: str, key: str, listed: bool
) -> None:
    await there.create(SECRET, "theirs", {key: "eA=="})
    schema = {"api": {"mountType": "env", "envPrefix": prefix, **({"expectedKeys": [key]} if listed else {})}}
    step = {"name": "fetch", "ref": {"name": "http"}, "secrets": {"api": "theirs"}}
    with pytest.raises(RejectedError, match=f"Secret 'theirs' .* would set {prefix}{key}, which control the program"):
        await started(there, template={"secretSchema": schema}, steps=[step])


# What a run reveals.


async def test_a_run_waits_until_its_namespace_is_let_in_says_so_and_leaves_no_copy_behind(
    world: OperatorCluster,
) -> None:
    now = replace(OperatorSettings(), storage=replace(STORE, s3_credential_namespaces=()))
    data = {"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="}
    await world.client.create(SECRET, {"metadata": {"name": "store-keys"}, "data": data}, namespace=OPERATOR_NAMESPACE)
    await world.engram("greet")
    await world.story("greet", step("greet"))
    async with world.operator(settings=lambda: now):
        await world.run("one", "greet")
        run = await world.until(STORY_RUN, "one", lambda obj: reason_of(obj) == "PermissionDenied")
        assert "add it to controller.storage.s3.credential-namespaces" in status_of(run)["message"]
        assert [name for name in await world.names(SECRET) if "storage" in name] == []
        now = replace(now, storage=STORE)
        run = await world.finished("one", seconds=60)
        assert status_of(run)["phase"] == "Succeeded"
        assert len([name for name in await world.names(SECRET) if name.startswith("one-greet-storage-")]) == 1
        await world.client.delete(STORY_RUN, "one", NAMESPACE_NAME)

        async def collected() -> bool:
            return not [name for name in await world.names(SECRET) if "storage" in name]

        await world.eventually(collected)


async def test_what_a_story_asks_for_in_vain_is_told_and_the_pod_has_what_is_stricter(world: OperatorCluster) -> None:
    weak = {
        "security": {"runAsNonRoot": False, "readOnlyRootFilesystem": False, "allowPrivilegeEscalation": True},
        "placement": {"tolerations": [{"operator": "Exists"}]},
    }
    await world.engram("greet")
    await world.story("greet", step("greet", execution=weak), policy={"priority": 2**31 - 1})
    async with world.operator():
        await world.run("one", "greet")
        run = await world.finished("one")
        events = (await world.client.list(EVENT, NAMESPACE_NAME)).items
    assert run["metadata"]["labels"]["bubustack.io/queue-priority"] == "100"
    told = {event["reason"] for event in events}
    assert {"PolicyEnforced", "PriorityBounded"} <= told
    [job] = (await world.client.list(JOB, NAMESPACE_NAME)).items
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert "tolerations" not in pod


def reason_of(run: Object) -> str:
    ready = find_condition(status_of(run).get("conditions") or (), "Ready")
    return ready["reason"] if ready is not None else ""


@pytest.mark.parametrize(
    ("given", "inputs", "where"),
    [
        ({"a": ["{{ inputs.data }}"]}, {"data": {"$bubuStorageRef": "outputs/other/run/k.json"}}, "with.a[0]"),
        ({"a": {"$bubuStorageRef": "outputs/team/../other/k.json"}}, {}, "with.a"),
        ({"$bubuStorageRef": "team/other/k.json", "$bubuStoragePath": "x"}, {}, "with"),
    ],
)
async def test_no_container_gets_a_reference_to_stored_data_of_another_namespace(
    world: OperatorCluster, tmp_path: Path, given: Object, inputs: Object, where: str
) -> None:
    await world.engram("work", f"touch {tmp_path}/began")
    fields: dict[str, Any] = {"with": given}
    await world.story("report", step("work", **fields))
    async with world.operator():
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "report"}, "inputs": inputs})
        run = await world.finished("one")
    state = status_of(run)["stepStates"]["work"]
    assert state["phase"] == "Failed"
    assert f"{where}.$bubuStorageRef: " in state["message"]
    assert "other/k.json" in state["message"] or "other/run/k.json" in state["message"]
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize("key", ["inputs/team/0f3a/data.json", "outputs/_shared/data.json"])
async def test_a_container_gets_references_to_stored_data_of_its_own_namespace_and_of_all(
    world: OperatorCluster, tmp_path: Path, key: str
) -> None:
    await world.engram("work", f'printf %s "$BUBU_TRIGGER_DATA" > {tmp_path}/given')
    fields: dict[str, Any] = {"with": {"a": "{{ inputs.data }}"}}
    await world.story("report", step("work", **fields))
    reference = {"$bubuStorageRef": key}
    async with world.operator():
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "report"}, "inputs": {"data": reference}})
        run = await world.finished("one")
    assert status_of(run)["phase"] == "Succeeded"
    assert json.loads((tmp_path / "given").read_text()) == {"a": reference}
