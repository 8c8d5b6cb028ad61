"""What a delete does, decided from the stored object alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from localcluster.server import crds, deletion
from localcluster.server.builtin import BUILTIN
from localcluster.server.deletion import Gone, Marked, Pending
from localcluster.server.errors import StatusError
from localcluster.server.options import DeleteOptions, Preconditions, Propagation

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05Z"
KINDS = {f"{resource.group}/{resource.plural}": resource for resource in BUILTIN}
PODS, CONFIG_MAPS, NAMESPACES = KINDS["/pods"], KINDS["/configmaps"], KINDS["/namespaces"]


def obj(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "uid": "1", "resourceVersion": "7", **metadata}}


def running_pod(**metadata: Any) -> dict[str, Any]:
    spec = {"nodeName": "n", "terminationGracePeriodSeconds": 20}
    return {**obj(generation=1, **metadata), "spec": spec, "status": {"phase": "Running"}}


def test_an_object_without_finalizers_goes_at_once() -> None:
    assert isinstance(deletion.decide(obj(), CONFIG_MAPS, DeleteOptions(), NOW), Gone)


def test_finalizers_keep_an_object_marked() -> None:
    outcome = deletion.decide(obj(finalizers=["a/b"], generation=2), CONFIG_MAPS, DeleteOptions(), NOW)
    assert isinstance(outcome, Marked)
    metadata = outcome.obj["metadata"]
    assert metadata["deletionTimestamp"] == STAMP
    assert metadata["deletionGracePeriodSeconds"] == 0
    assert metadata["generation"] == 3


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        (Propagation.FOREGROUND, [], ["foregroundDeletion"]),
        (Propagation.ORPHAN, [], ["orphan"]),
        (Propagation.ORPHAN, ["a/b", "foregroundDeletion"], ["a/b", "orphan"]),
        (Propagation.BACKGROUND, ["a/b", "orphan"], ["a/b"]),
        (None, ["orphan"], ["orphan"]),
        (None, ["foregroundDeletion"], ["foregroundDeletion"]),
    ],
)
def test_the_propagation_policy_becomes_a_finalizer(
    policy: Propagation | None, before: list[str], after: list[str]
) -> None:
    outcome = deletion.decide(obj(finalizers=before), CONFIG_MAPS, DeleteOptions(propagation=policy), NOW)
    assert isinstance(outcome, Marked)
    assert outcome.obj["metadata"]["finalizers"] == after


def test_a_running_pod_gets_its_grace_period() -> None:
    outcome = deletion.decide(running_pod(), PODS, DeleteOptions(), NOW)
    assert isinstance(outcome, Marked)
    assert outcome.obj["metadata"]["deletionGracePeriodSeconds"] == 20
    assert outcome.obj["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:25Z"
    assert outcome.obj["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "pod",
    [
        {**running_pod(), "spec": {}},
        {**running_pod(), "status": {"phase": "Succeeded"}},
    ],
    ids=["unscheduled", "finished"],
)
def test_a_pod_nobody_runs_goes_at_once(pod: dict[str, Any]) -> None:
    outcome = deletion.decide(pod, PODS, DeleteOptions(), NOW)
    assert isinstance(outcome, Gone)
    assert outcome.last["metadata"]["deletionGracePeriodSeconds"] == 0


def test_grace_zero_takes_a_running_pod_at_once() -> None:
    assert isinstance(deletion.decide(running_pod(), PODS, DeleteOptions(grace_period_seconds=0), NOW), Gone)


def test_a_grace_period_can_only_be_shortened() -> None:
    dying = running_pod(deletionTimestamp="2026-01-02T03:04:25Z", deletionGracePeriodSeconds=20)
    assert isinstance(deletion.decide(dying, PODS, DeleteOptions(), NOW), Pending)
    assert isinstance(deletion.decide(dying, PODS, DeleteOptions(grace_period_seconds=30), NOW), Pending)
    shorter = deletion.decide(dying, PODS, DeleteOptions(grace_period_seconds=5), NOW)
    assert isinstance(shorter, Marked)
    assert shorter.obj["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:10Z"
    assert isinstance(deletion.decide(dying, PODS, DeleteOptions(grace_period_seconds=0), NOW), Gone)


def test_a_shortened_period_never_ends_in_the_past() -> None:
    dying = running_pod(deletionTimestamp="2026-01-02T03:04:08Z", deletionGracePeriodSeconds=20)
    outcome = deletion.decide(dying, PODS, DeleteOptions(grace_period_seconds=5), NOW)
    assert isinstance(outcome, Marked)
    assert outcome.obj["metadata"]["deletionTimestamp"] == STAMP
    assert outcome.obj["metadata"]["deletionGracePeriodSeconds"] == 1


def test_a_namespace_waits_for_its_controller() -> None:
    namespace = {**obj(), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    outcome = deletion.decide(namespace, NAMESPACES, DeleteOptions(), NOW)
    assert isinstance(outcome, Marked)
    assert outcome.obj["status"]["phase"] == "Terminating"
    assert isinstance(deletion.decide(outcome.obj, NAMESPACES, DeleteOptions(), NOW), Pending)
    emptied = {**outcome.obj, "spec": {"finalizers": []}}
    assert isinstance(deletion.decide(emptied, NAMESPACES, DeleteOptions(), NOW), Gone)


def test_a_definition_waits_for_its_objects() -> None:
    resource = KINDS["apiextensions.k8s.io/customresourcedefinitions"]
    outcome = deletion.decide(obj(), resource, DeleteOptions(), NOW)
    assert isinstance(outcome, Marked)
    assert outcome.obj["metadata"]["finalizers"] == [crds.CLEANUP_FINALIZER]
    assert crds.is_terminating(outcome.obj)


def test_deciding_leaves_the_stored_object_alone() -> None:
    stored = running_pod(finalizers=["a/b"])
    deletion.decide(stored, PODS, DeleteOptions(propagation=Propagation.FOREGROUND), NOW)
    assert stored == running_pod(finalizers=["a/b"])


@pytest.mark.parametrize("wanted", [Preconditions(uid="2"), Preconditions(resource_version="8")])
def test_a_precondition_that_does_not_hold_is_a_conflict(wanted: Preconditions) -> None:
    with pytest.raises(StatusError, match="in the precondition") as caught:
        deletion.check_preconditions(obj(), wanted, CONFIG_MAPS)
    assert caught.value.code == 409


def test_preconditions_that_hold_are_silent() -> None:
    deletion.check_preconditions(obj(), Preconditions("1", "7"), CONFIG_MAPS)
