"""The account that the containers of all runs of a Story share: its name, and what binds rights to it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bubu_contract.identity import runner_name
from core.api import keys
from core.api.objects import Object
from core.workloads.impulse_access import impulse_runner_name
from core.workloads.story_runner import RUNNER_BASE_ROLE, SELECTOR, story_of_runner, story_runner

PODS: Object = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
KEYS: Object = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["keys"]}


def story(name: str = "report", namespace: str = "team", **annotations: str) -> Object:
    storage = {"storage": {"s3": {"authentication": {"serviceAccountAnnotations": annotations}}}} if annotations else {}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"policy": storage}}


def name_of(*rules: Object, namespace: str = "team", **told: Any) -> str:
    return story_runner(namespace, story(**told), rules).name


def test_equal_rights_of_a_story_have_one_name_and_others_another() -> None:
    assert re.fullmatch(r"report-[0-9a-f]{10}-story-runner", name_of())
    assert name_of(PODS, KEYS) == name_of(KEYS, PODS, {**PODS, "resourceNames": []})
    names = [
        name_of(),
        name_of(PODS),
        name_of(KEYS),
        name_of(PODS, KEYS),
        name_of(role="reader"),
        name_of(role="writer"),
        name_of(name="other"),
        name_of(PODS, name="re.port"),
        name_of(PODS, name="re-port"),
        story_runner("team", story(namespace="lib"), ()).name,
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["r", "a" * 30, "a" * 50, "a.b" * 20, "a" * 253])
def test_every_name_is_a_dns_label_and_never_that_of_a_run_or_an_impulse(name: str) -> None:
    found = [name_of(name=name), name_of(PODS, name=name)]
    assert len(set(found)) == 2
    for each in found:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", each)
        assert each.endswith("-story-runner")
        assert each not in {runner_name(name), impulse_runner_name(name)}


def test_an_account_without_extra_rules_has_a_binding_and_no_role() -> None:
    runner = story_runner("team", story(), ())
    account = runner.account()
    labels = {keys.LABEL_APP_MANAGED_BY: "bobrapet", keys.LABEL_RUNNER_OF_STORY: "report"}
    annotations = {keys.ANNOTATION_RUNNER_OF_STORY: "team/report"}
    metadata = {"name": runner.name, "namespace": "team", "labels": labels, "annotations": annotations}
    assert account == {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": runner.name, "uid": "u"}
    [(_, binding)] = runner.rights("u")
    assert binding == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {**metadata, "ownerReferences": [owner]},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": RUNNER_BASE_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": runner.name, "namespace": "team"}],
    }
    assert story_of_runner(account) == "team/report"
    assert SELECTOR == "app.kubernetes.io/managed-by=bobrapet,bubustack.io/runner-of-story"


def test_extra_rules_have_a_role_and_a_binding_of_their_own() -> None:
    runner = story_runner("team", story(), [KEYS, PODS, PODS])
    found = [(obj["kind"], obj["metadata"]["name"]) for _, obj in runner.rights("u")]
    assert found == [
        ("RoleBinding", runner.name),
        ("Role", runner.name),
        ("RoleBinding", f"{runner.name}-extra"),
    ]
    _, (_, role), (_, extra) = runner.rights("u")
    assert role["rules"] == [PODS, KEYS]
    assert (extra["roleRef"]["kind"], extra["roleRef"]["name"]) == ("Role", runner.name)


def test_annotations_of_the_store_are_those_of_a_story_of_this_namespace_and_never_the_operators() -> None:
    forged = {keys.ANNOTATION_RUNNER_OF_STORY: "team/other", keys.ANNOTATION_RUNNER_RETIRED: "true"}
    found = story_runner("team", story(**forged, role="reader"), ()).account()["metadata"]["annotations"]
    assert (found["role"], found[keys.ANNOTATION_RUNNER_OF_STORY]) == ("reader", "team/report")
    assert keys.ANNOTATION_RUNNER_RETIRED not in found
    borrowed = story_runner("team", story(namespace="lib", role="reader"), ()).account()
    assert borrowed["metadata"]["annotations"] == {keys.ANNOTATION_RUNNER_OF_STORY: "lib/report"}


def test_an_object_with_another_name_belongs_to_no_story_whatever_it_says() -> None:
    account = story_runner("team", story(), ()).account()
    account["metadata"]["name"] = "default"
    assert story_of_runner(account) == ""
