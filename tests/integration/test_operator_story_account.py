"""The account that the containers of all runs of a Story share, on a server that stores."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from core.api import keys
from core.api.objects import Object
from core.api.resource import ENGRAM, JOB, POD, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, STEP_RUN, STORY, STORY_RUN
from core.engine.errors import NameConflictError, UnavailableError
from core.policy.settings import OperatorSettings, RunnerIdentity
from core.workloads.story_runner import RUNNER_BASE_ROLE
from reconcilers.adapters.job_executor import JobExecutor
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME, eventually

READS: Object = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["keys"]}


async def another(there: AdapterWorld, name: str = "two") -> Object:
    return await there.create(STORY_RUN, name, {"storyRef": {"name": "report"}})


async def kinds(there: AdapterWorld) -> list[tuple[str, str]]:
    """Kind and name of what exists for identity."""
    found = []
    for resource in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING):
        for obj in (await there.client.list(resource, NAMESPACE_NAME)).items:
            if keys.LABEL_RUNNER_OF_STORY in (obj["metadata"].get("labels") or {}):
                found.append((resource.kind, obj["metadata"]["name"]))
    return sorted(found)


async def test_the_first_run_of_a_story_writes_two_objects_and_later_ones_nothing(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    await there.known(there.world.engrams, "http")
    name = await there.story_account(run, story)
    executor = there.new_executor
    await executor.prepare_run(run, story)
    assert there.wire.writes == ["POST serviceaccounts", "POST rolebindings"]
    assert there.events.emitted == []
    account = await there.client.get(SERVICE_ACCOUNT, name, NAMESPACE_NAME)
    binding = await there.client.get(ROLE_BINDING, name, NAMESPACE_NAME)
    assert "ownerReferences" not in account["metadata"]
    assert account["metadata"]["annotations"] == {keys.ANNOTATION_RUNNER_OF_STORY: f"{NAMESPACE_NAME}/report"}
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("ClusterRole", RUNNER_BASE_ROLE)
    assert [owner["uid"] for owner in binding["metadata"]["ownerReferences"]] == [account["metadata"]["uid"]]
    there.wire.writes.clear()
    there.wire.reads.clear()

    await executor.prepare_run(await another(there), story)
    await executor.prepare_run(run, story)
    await there.new_executor.prepare_run(await another(there, "three"), story)  # another process

    assert (there.wire.writes, there.wire.reads) == ([], [])
    assert await kinds(there) == [("RoleBinding", name), ("ServiceAccount", name)]


async def test_a_container_has_the_account_of_its_story(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    made = await there.step_runs.create_step_run(run, await there.manifest(run, story), False)
    await there.new_executor.start(await there.order(run, story, made))
    job = await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == await there.story_account(run, story)
    assert job["metadata"]["ownerReferences"][0]["kind"] == STEP_RUN.kind


async def test_extra_rules_are_in_a_role_of_their_own_and_other_rules_mean_another_account(
    there: AdapterWorld,
) -> None:
    run, story = await there.definitions()
    plain = await there.story_account(run, story)
    await there.new_executor.prepare_run(run, story)
    asking = {"templateRef": {"name": "http"}, "overrides": {"rbac": {"rules": [READS]}}}
    await there.create(ENGRAM, "asking", asking)
    story["spec"]["steps"].append({"name": "asking", "ref": {"name": "asking"}})
    await there.known(there.world.engrams, "asking")
    wider = await there.story_account(run, story)
    await there.new_executor.prepare_run(run, story)

    assert wider != plain
    assert (await there.client.get(ROLE, wider, NAMESPACE_NAME))["rules"] == [READS]
    extra = await there.client.get(ROLE_BINDING, f"{wider}-extra", NAMESPACE_NAME)
    assert (extra["roleRef"]["kind"], extra["roleRef"]["name"]) == ("Role", wider)
    assert [subject["name"] for subject in extra["subjects"]] == [wider]
    assert await kinds(there) == sorted(
        [
            *(("ServiceAccount", name) for name in (plain, wider)),
            ("Role", wider),
            *(("RoleBinding", name) for name in (plain, wider, f"{wider}-extra")),
        ]
    )


async def test_what_somebody_has_changed_or_deleted_is_as_before_when_the_next_container_starts(
    there: AdapterWorld,
) -> None:
    run, story = await there.definitions()
    annotations = {"serviceAccountAnnotations": {"cloud": "reader"}}
    story["spec"]["policy"] = {"storage": {"s3": {"bucket": "b", "authentication": annotations}}}
    executor, name = there.new_executor, await there.story_account(run, story)
    await executor.prepare_run(run, story)
    made = await there.step_runs.create_step_run(run, await there.manifest(run, story), False)
    stranger = {"kind": "ServiceAccount", "name": "x", "namespace": "y"}
    marked = {keys.ANNOTATION_RUNNER_RETIRED: "true", "cloud": "admin", "mine": "kept"}
    changed = {"metadata": {"annotations": marked}}
    await there.client.patch(SERVICE_ACCOUNT, name, changed, namespace=NAMESPACE_NAME)
    await there.client.patch(ROLE_BINDING, name, {"subjects": [stranger]}, namespace=NAMESPACE_NAME)
    await there.known(there.world.informer(ROLE_BINDING), name, lambda obj: obj["subjects"][0]["name"] == "x")
    await there.known(there.world.informer(SERVICE_ACCOUNT), name, lambda obj: "mine" in obj["metadata"]["annotations"])

    await executor.start(await there.order(run, story, made))

    account = await there.client.get(SERVICE_ACCOUNT, name, NAMESPACE_NAME)
    assert account["metadata"]["annotations"] == {
        "mine": "kept",
        "cloud": "reader",
        keys.ANNOTATION_MANAGED_STORAGE: "cloud",
        keys.ANNOTATION_RUNNER_OF_STORY: f"{NAMESPACE_NAME}/report",
    }
    assert (await there.client.get(ROLE_BINDING, name, NAMESPACE_NAME))["subjects"][0]["name"] == name

    await there.client.delete(SERVICE_ACCOUNT, name, NAMESPACE_NAME)
    await there.known(there.world.informer(SERVICE_ACCOUNT), name, lambda obj: obj is None)
    await until_prepared(executor, run, story)
    again = await there.client.get(SERVICE_ACCOUNT, name, NAMESPACE_NAME)
    assert again["metadata"]["uid"] != account["metadata"]["uid"]
    binding = await there.client.get(ROLE_BINDING, name, NAMESPACE_NAME)
    assert [owner["uid"] for owner in binding["metadata"]["ownerReferences"]] == [again["metadata"]["uid"]]


async def until_prepared(executor: JobExecutor, run: Object, story: Object) -> None:
    """As the engine does it: again while the garbage collector still removes what bound the former account."""
    with trio.fail_after(30):
        while True:
            try:
                await executor.prepare_run(run, story)
                return
            except UnavailableError:
                await trio.sleep(0.05)


@pytest.mark.parametrize("resource", [SERVICE_ACCOUNT, ROLE_BINDING], ids=lambda resource: resource.kind)
async def test_an_object_of_somebody_else_is_neither_used_nor_changed(there: AdapterWorld, resource: Any) -> None:
    run, story = await there.definitions()
    name = await there.story_account(run, story)
    body: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}
    if resource is ROLE_BINDING:
        body["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    stored = await there.client.create(resource, body, namespace=NAMESPACE_NAME)

    with pytest.raises(NameConflictError, match=f"{resource.kind} team/{name} exists and does not belong to the Story"):
        await there.new_executor.prepare_run(run, story)

    assert await there.client.get(resource, name, NAMESPACE_NAME) == stored


async def test_an_answer_that_was_lost_and_a_server_that_is_away_change_nothing(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    name, executor = await there.story_account(run, story), there.new_executor
    there.wire.refuse = "POST rolebindings"
    with pytest.raises(UnavailableError):
        await executor.prepare_run(run, story)
    there.wire.refuse, there.wire.lose_answer_to = "", "POST rolebindings"
    with pytest.raises(UnavailableError):
        await executor.prepare_run(run, story)
    await executor.prepare_run(run, story)
    assert await kinds(there) == [("RoleBinding", name), ("ServiceAccount", name)]


async def test_a_run_keeps_its_account_when_the_setting_changes_and_another_process_gives_it_the_other(
    there: AdapterWorld,
) -> None:
    run, story = await there.definitions()
    executor = there.new_executor
    await executor.prepare_run(run, story)
    there.settings = OperatorSettings(runner_identity=RunnerIdentity.RUN)
    made = await there.step_runs.create_step_run(run, await there.manifest(run, story), False)
    order = await there.order(run, story, made)
    await executor.start(order)
    job = await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == await there.story_account(run, story)

    await there.client.delete(JOB, "one-fetch", NAMESPACE_NAME, propagation="Background")
    await there.known(there.world.jobs, "one-fetch", lambda obj: obj is None)
    await eventually(lambda: _has_no_pods(there))  # a real controller may just have made one
    await there.new_executor.start(order)
    job = await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "one-engram-runner"
    await there.client.get(ROLE, "one-engram-runner", NAMESPACE_NAME)


async def _has_no_pods(there: AdapterWorld) -> bool:
    return not (await there.client.list(POD, NAMESPACE_NAME)).items


async def test_stories_of_one_name_in_two_namespaces_share_no_account(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    elsewhere = {**story, "metadata": {**story["metadata"], "namespace": "lib"}}
    names = [await there.story_account(run, each) for each in (story, elsewhere)]
    assert len(set(names)) == 2
    assert (await there.client.get(STORY, "report", NAMESPACE_NAME))["metadata"]["name"] == "report"
