"""The ServiceAccount of containers, and its rights."""

from __future__ import annotations

from core.api.objects import Object
from core.workloads.runner import BASE_RULES, role, role_binding, service_account

RUN: Object = {"metadata": {"name": "demo-run", "namespace": "team-a", "uid": "run-uid"}}
METADATA = {
    "name": "demo-run-engram-runner",
    "namespace": "team-a",
    "labels": {"bubustack.io/storyrun": "demo-run"},
    "ownerReferences": [
        {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun", "name": "demo-run", "uid": "run-uid"}
    ],
}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
NAMED_SECRET = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["keys"]}


def test_the_base_rules_are_those_of_the_contract() -> None:
    assert [(rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in BASE_RULES] == [
        (["runs.bubustack.io"], ["stepruns"], ["get", "watch"]),
        (["runs.bubustack.io"], ["stepruns/status"], ["patch", "update"]),
        (["runs.bubustack.io"], ["effectclaims"], ["get", "create", "update"]),
        (["transport.bubustack.io"], ["transportbindings"], ["get", "list", "watch"]),
        (["transport.bubustack.io"], ["transportbindings/status"], ["get"]),
    ]


def test_the_three_objects_are_named_after_the_run_and_owned_by_it() -> None:
    assert service_account(RUN, {"spec": {}}) == {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": METADATA}
    assert role(RUN, []) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": METADATA,
        "rules": [dict(rule) for rule in BASE_RULES],
    }
    assert role_binding(RUN) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": METADATA,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "demo-run-engram-runner"},
        "subjects": [{"kind": "ServiceAccount", "name": "demo-run-engram-runner", "namespace": "team-a"}],
    }


def test_annotations_for_the_object_store_are_set_and_remembered() -> None:
    wanted = {"b": "2", "a": "1", "runs.bubustack.io/managed-storage-annotations": "forged"}
    story = {"spec": {"policy": {"storage": {"s3": {"authentication": {"serviceAccountAnnotations": wanted}}}}}}
    assert service_account(RUN, story)["metadata"]["annotations"] == {
        "a": "1",
        "b": "2",
        "runs.bubustack.io/managed-storage-annotations": "a,b,runs.bubustack.io/managed-storage-annotations",
    }


def test_extra_rules_are_merged_in_sorted_without_repetition_and_without_empty_fields() -> None:
    rules = role(RUN, [NAMED_SECRET, PODS, {**PODS, "verbs": ["get"], "resourceNames": []}])["rules"]
    assert rules == [
        *(dict(BASE_RULES[number]) for number in (2, 1, 0, 4, 3)),
        PODS,
        NAMED_SECRET,
    ]
