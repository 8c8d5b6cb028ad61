"""Pools of warm workers: equal steps share one, everything that reaches the container makes another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.api import keys
from core.api.objects import Object
from core.policy.warm import WarmPolicy
from core.workloads.environment import batch_environment
from core.workloads.step_workload import StepWorkload
from core.workloads.worker_access import worker_rights
from core.workloads.worker_pool import (
    MAX_POOL_NAME,
    OF_STEP,
    WorkersWanted,
    environment_of,
    standing_pool,
    workers_wanted,
)
from tests.unit.core.workloads.workload_samples import POLICY, WORKLOAD, workload

WARM = WarmPolicy(replicas=2, max_replicas=10, concurrency=4, idle_timeout=timedelta(minutes=5))


def pool(of: StepWorkload = WORKLOAD, warm: WarmPolicy = WARM, **annotations: str) -> WorkersWanted:
    return workers_wanted(of, warm, "team-a", annotations)


def variables(made: Object) -> dict[str, Any]:
    container = made["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize(
    "other",
    [
        {"step_run_name": "other-run-fetch", "step_run_uid": "u", "story_run_name": "other-run", "attempt": 3},
        {"story_name": "other", "story_version": "9", "step_id": "get"},
        {"trigger_data": '{"a":"$x"}', "step_config": "{}", "template_context": None, "skip_input_templating": True},
        {"timeout": timedelta(seconds=5), "max_recursion_depth": 3, "correlation_id": "c", "execution_key": "k"},
        {"policy": {"debug": True, "max_inline_size_bytes": 7, "cache": {}, "ttl_seconds_after_finished": None}},
    ],
)
def test_steps_that_differ_in_nothing_of_the_container_share_a_pool(other: dict[str, Any]) -> None:
    assert pool(workload(**other)).name == pool().name


@pytest.mark.parametrize(
    "other",
    [
        {"engram_version": "2"},
        {"engram_name": "fetcher2"},
        {"policy": {"image": "registry.example/http:2"}},
        {"policy": {"resources": {**POLICY.resources, "memoryLimit": "1Gi"}}},
        {"policy": {"node_selector": {"gpu": "yes"}}},
        {"policy": {"secrets": {"api": "keys"}}, "secret_schema": {"api": {}}},
        {"policy": {"storage": {"s3": {"bucket": "b"}}}},
    ],
)
def test_what_reaches_the_container_makes_another_pool(other: dict[str, Any]) -> None:
    assert pool(workload(**other)).name != pool().name


def test_bounds_and_annotations_of_the_account_make_another_pool() -> None:
    assert pool(warm=replace(WARM, max_replicas=11)).name != pool().name
    assert workers_wanted(WORKLOAD, WARM, "team-a", {"eks.amazonaws.com/role-arn": "r"}).name != pool().name
    assert workers_wanted(WORKLOAD, WARM, "library", {}).name != pool().name


@pytest.mark.parametrize("engram", ["f", "fetcher", "a.b.c", "x" * 63, "very-long-" * 12])
def test_names_leave_room_for_the_names_of_pods(engram: str) -> None:
    name = pool(workload(engram_name=engram)).name
    assert len(name) <= MAX_POOL_NAME
    assert name.replace("-", "").isalnum()
    assert not name.startswith("-")


def test_pool_and_step_together_have_the_variables_of_a_job() -> None:
    step = workload(trigger_data='{"cost":"$5"}')
    made = pool(step).deployment("u1", step.policy)
    of_job = {each["name"]: each for each in batch_environment(step)}
    of_pool, of_step = variables(made), environment_of(step)
    assert set(of_step) <= OF_STEP
    assert not set(of_step) & set(of_pool)
    assert set(of_job) <= {*of_pool, *of_step}
    assert of_step["BUBU_TRIGGER_DATA"] == '{"cost":"$5"}'
    assert all("value" in of_job[name] for name in of_step)


def test_the_context_of_templates_goes_to_those_who_evaluate_them() -> None:
    assert "BUBU_TEMPLATE_CONTEXT" in environment_of(WORKLOAD)
    assert "BUBU_TEMPLATE_CONTEXT" not in environment_of(workload(skip_input_templating=True))


def test_the_deployment_serves_with_its_own_account() -> None:
    wanted = pool()
    made = wanted.deployment("u1", WORKLOAD.policy)
    spec = made["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == wanted.name
    assert "restartPolicy" not in spec
    assert made["spec"]["replicas"] == 2
    assert made["spec"]["template"]["metadata"]["labels"][keys.LABEL_WORKER_POOL] == wanted.name
    assert keys.LABEL_STEP_RUN not in made["spec"]["template"]["metadata"]["labels"]
    found = variables(made)
    assert found["BUBU_WORKER_POOL"] == wanted.name
    assert found["BUBU_WORKER_CONCURRENCY"] == "4"
    assert found["BUBU_WORKER_ISOLATION"] == "process"
    assert found["BUBU_WORKER_MEMORY_BYTES"] == str(512 * 1024 * 1024 // 4)
    assert found["BUBU_POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


def test_without_a_memory_limit_a_step_has_none() -> None:
    step = workload(policy={"resources": {}})
    assert "BUBU_WORKER_MEMORY_BYTES" not in variables(pool(step).deployment("u1", step.policy))


def test_the_account_owns_everything_and_is_bound_to_both_roles() -> None:
    wanted = pool(WORKLOAD, WARM)
    rights = [obj for _, obj in worker_rights(wanted.namespace, wanted.name, "u1")]
    owned = [*rights, wanted.deployment("u1", WORKLOAD.policy)]
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in owned} == {"u1"}
    assert [obj["roleRef"]["name"] for obj in rights] == ["bobrapet-engram-runner", "bobrapet-engram-worker"]
    assert len({obj["metadata"]["name"] for obj in rights}) == 2


def test_a_deployment_says_what_its_pool_is() -> None:
    wanted = pool()
    found = standing_pool(wanted.deployment("u1", WORKLOAD.policy))
    assert found is not None
    assert (found.namespace, found.name, found.engram) == ("team-a", wanted.name, ("team-a", "fetcher"))
    assert (found.warm, found.account_uid, found.replicas) == (WARM, "u1", 2)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"replicas":0,"maxReplicas":1,"concurrencyPerWorker":1,"idleTimeout":"1s"}']
)
def test_a_deployment_that_somebody_has_changed_is_left_alone(text: str | None) -> None:
    made = pool().deployment("u1", WORKLOAD.policy)
    made["metadata"]["annotations"][keys.ANNOTATION_POOL_WORKERS] = text
    assert standing_pool(made) is None


def test_a_deployment_of_others_is_left_alone() -> None:
    made = pool().deployment("u1", WORKLOAD.policy)
    del made["metadata"]["ownerReferences"]
    assert standing_pool(made) is None


def test_the_context_of_a_trace_goes_with_the_step_and_not_with_its_pool() -> None:
    traced = workload(trace_context={"traceparent": "00-x"})
    assert environment_of(traced)["TRACEPARENT"] == "00-x"
    assert pool(traced).name == pool().name
    assert "TRACEPARENT" not in variables(pool(traced).deployment("uid", POLICY))
