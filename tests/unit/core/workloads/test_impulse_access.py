"""The account of a listener, and its permissions."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.impulse_access import (
    impulse_account,
    impulse_role,
    impulse_role_binding,
    impulse_runner_name,
    is_managed,
    role_without_rights,
)
from core.workloads.runner_rules import extra_rules, extra_rules_of_impulse
from tests.unit.core.workloads.impulse_samples import LABELS, OWNER, impulse, template

NAME = "voice-hook-impulse-runner"
METADATA = {"name": NAME, "namespace": "team-a", "labels": LABELS, "ownerReferences": [OWNER]}
TRIGGERS = {"apiGroups": ["runs.bubustack.io"], "resources": ["storytriggers"], "verbs": ["create", "get"]}
RUNS = {"apiGroups": ["runs.bubustack.io"], "resources": ["storyruns"], "verbs": ["get", "list", "patch"]}
OWN = {"apiGroups": ["bubustack.io"], "resources": ["impulses"], "resourceNames": ["voice-hook"], "verbs": ["get"]}
STATUS = {**OWN, "resources": ["impulses/status"], "verbs": ["patch"]}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
NAMED = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["settings"]}


def asking(*rules: Object) -> Object:
    return {"rbac": {"rules": list(rules)}}


def test_a_listener_gets_exactly_these_rules_in_this_order() -> None:
    assert impulse_role(impulse(), []) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": METADATA,
        "rules": [TRIGGERS, RUNS, OWN, STATUS],
    }


def test_with_extra_rules_the_whole_list_is_sorted_and_free_of_duplicates() -> None:
    rules = impulse_role(impulse(), [PODS, NAMED, {**PODS, "resourceNames": []}, RUNS])["rules"]
    assert rules == [STATUS, OWN, RUNS, TRIGGERS, NAMED, PODS]


def test_account_and_binding_belong_to_the_impulse() -> None:
    assert impulse_account(impulse(), None) == {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": METADATA}
    assert impulse_role_binding(impulse()) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": METADATA,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": "team-a"}],
    }


def test_the_account_has_the_annotations_of_the_store_and_a_record_of_them() -> None:
    storage = {"s3": {"bucket": "b", "authentication": {"serviceAccountAnnotations": {"b": "2", "a": "1"}}}}
    assert impulse_account(impulse(), storage)["metadata"]["annotations"] == {
        "a": "1",
        "b": "2",
        "runs.bubustack.io/managed-storage-annotations": "a,b",
    }


def test_with_the_account_of_somebody_else_the_role_has_no_rules() -> None:
    assert role_without_rights(impulse()) == {**impulse_role(impulse(), []), "rules": []}


@pytest.mark.parametrize(("account", "managed"), [("", True), ("default", True), (" ", True), ("mine", False)])
def test_a_named_account_is_left_to_its_owner(account: str, managed: bool) -> None:
    assert is_managed(account) is managed


def test_the_name_of_the_account_is_never_too_long() -> None:
    assert impulse_runner_name("cron") == "cron-impulse-runner"
    assert len(impulse_runner_name("a" * 253)) <= 63


def test_a_template_asks_like_that_of_an_engram_and_an_impulse_only_to_read_what_it_names() -> None:
    secrets = {**PODS, "resources": ["secrets"], "verbs": ["list"]}
    granted, refused = extra_rules_of_impulse(
        template(execution=asking(PODS, secrets)), impulse(execution=asking(NAMED, PODS))
    )
    assert granted == [PODS, NAMED]
    assert [text.partition(": ")[0] for text in refused] == [
        "ImpulseTemplate livekit-webhook spec.execution.rbac.rules[1]",
        "Impulse voice-hook spec.execution.rbac.rules[1]",
    ]


@pytest.mark.parametrize(
    ("change", "granted"),
    [
        ({}, True),
        ({"verbs": ["get", "list", "watch", "patch"]}, True),
        ({"resources": ["impulses/status"], "verbs": ["get", "patch"]}, True),
        ({"resources": ["impulses", "impulses/status"]}, True),
        ({"resources": ["impulses", "impulses/status"], "verbs": ["get", "patch"]}, True),
        ({"verbs": ["get", "update"]}, False),
        ({"verbs": ["delete"]}, False),
        ({"resources": ["impulses/status"], "verbs": ["update"]}, False),
        ({"resources": ["impulses", "stories"]}, False),
        ({"resources": ["impulses/finalizers"]}, False),
        ({"resourceNames": ["other"]}, False),
        ({"resourceNames": ["voice-hook", "other"]}, False),
        ({"resourceNames": []}, False),
        ({"apiGroups": ["bubustack.io", ""]}, False),
        ({"apiGroups": ["runs.bubustack.io"]}, False),
    ],
)
def test_an_impulse_may_ask_to_read_and_patch_itself_and_its_status_and_for_nothing_beyond(
    change: dict[str, Any], granted: bool
) -> None:
    rule = {"apiGroups": ["bubustack.io"], "resources": ["impulses"], "verbs": ["get"], "resourceNames": ["voice-hook"]}
    rule |= change
    found, refused = extra_rules_of_impulse({}, impulse(execution=asking(rule)))
    assert found == ([rule] if granted else [])
    assert granted or "on itself, by its name, get, list, watch, patch of impulses, get, patch of" in refused[0]


def test_an_engram_with_the_name_of_an_impulse_may_not_ask_for_it() -> None:
    rule = {"apiGroups": ["bubustack.io"], "resources": ["impulses"], "verbs": ["get"], "resourceNames": ["voice-hook"]}
    engram = {"kind": "Engram", "metadata": {"name": "voice-hook"}, "spec": {"overrides": asking(rule)}}
    assert extra_rules({}, engram) == []
