from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubewire import Object
from localcluster.clock import to_time
from localcluster.controllers.stateful_decision import REVISION_LABEL, claims_of, pod_of, stateful_actions

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stateful_set(replicas: int = 3, image: str = "new", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "n", "uid": "u", "generation": 2},
        "spec": {
            "replicas": replicas,
            "serviceName": "db-headless",
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"image": image}]}},
            **spec,
        },
    }


def pod(ordinal: int, state: str = "ready", *, image: str = "new", since: datetime = NOW) -> Object:
    """A Pod of the StatefulSet: ``ready``, ``starting``, ``failed`` or ``ending``."""
    made = pod_of(stateful_set(image=image), ordinal, {"metadata": {"labels": {"app": "x"}}, "spec": {}})
    made["status"] = {"phase": "Failed" if state == "failed" else "Running"}
    if state == "ready":
        made["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": to_time(since)}]
    if state == "ending":
        made["metadata"]["deletionTimestamp"] = to_time(NOW)
    return made


def planned(wanted: Object, *pods: Object) -> tuple[list[int], list[str]]:
    """Ordinals to create and names to delete."""
    decision = stateful_actions(wanted, pods, NOW)
    return list(decision.create), [each["metadata"]["name"] for each in decision.delete]


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], ([0], [])),
        ([pod(0, "starting")], ([], [])),
        ([pod(0)], ([1], [])),
        ([pod(0), pod(2)], ([1], [])),
        ([pod(0), pod(1), pod(2)], ([], [])),
        ([pod(0), pod(1, "failed"), pod(2)], ([], ["db-1"])),
        ([pod(0), pod(1, "ending"), pod(2)], ([], [])),
        ([pod(0), pod(1, "starting"), pod(2), pod(3)], ([], [])),
    ],
)
def test_ordered_pods_come_one_after_the_other(pods: list[Object], expected: tuple[list[int], list[str]]) -> None:
    assert planned(stateful_set(), *pods) == expected


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], ([0, 1, 2], [])),
        ([pod(1, "starting")], ([0, 2], [])),
        ([pod(0, "failed"), pod(1)], ([2], ["db-0"])),
        ([pod(ordinal) for ordinal in range(5)], ([], ["db-4", "db-3"])),
    ],
)
def test_parallel_pods_do_not_wait_for_each_other(pods: list[Object], expected: tuple[list[int], list[str]]) -> None:
    assert planned(stateful_set(podManagementPolicy="Parallel"), *pods) == expected


def test_surplus_pods_end_one_after_the_other_from_the_last() -> None:
    assert planned(stateful_set(1), pod(0), pod(1), pod(2)) == ([], ["db-2"])
    assert planned(stateful_set(1), pod(0), pod(1), pod(2, "ending")) == ([], [])
    assert planned(stateful_set(0), pod(0)) == ([], ["db-0"])


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([pod(0, image="old"), pod(1, image="old"), pod(2, image="old")], ["db-2"]),
        ([pod(0, image="old"), pod(1, image="old"), pod(2)], ["db-1"]),
        ([pod(0, image="old"), pod(1), pod(2)], ["db-0"]),
        ([pod(0, image="old"), pod(1, image="old"), pod(2, "starting")], []),
        ([pod(0, image="old"), pod(1, "ending", image="old"), pod(2)], []),
    ],
)
def test_a_changed_template_replaces_pods_from_the_last(pods: list[Object], expected: list[str]) -> None:
    assert planned(stateful_set(), *pods) == ([], expected)


def test_a_parallel_set_replaces_a_pod_that_was_never_ready_and_an_ordered_one_does_not() -> None:
    stuck = pod(0, "starting", image="old")

    assert planned(stateful_set(1, podManagementPolicy="Parallel"), stuck) == ([], ["db-0"])
    assert planned(stateful_set(1), stuck) == ([], [])


def test_only_a_rolling_update_replaces_pods_and_only_from_its_partition() -> None:
    old = [pod(ordinal, image="old") for ordinal in range(3)]
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}

    assert planned(stateful_set(updateStrategy={"type": "OnDelete"}), *old) == ([], [])
    assert planned(stateful_set(updateStrategy=rolling), *old) == ([], ["db-2"])
    assert planned(stateful_set(updateStrategy=rolling), *old[:2], pod(2)) == ([], [])


def test_pods_that_are_not_named_by_an_ordinal_are_left_alone() -> None:
    stray = pod(0)
    stray["metadata"]["name"] = "db-extra"

    assert planned(stateful_set(1), pod(0), stray) == ([], [])


def test_a_set_that_is_being_deleted_changes_nothing() -> None:
    going = stateful_set()
    going["metadata"]["deletionTimestamp"] = to_time(NOW)

    assert planned(going, pod(0, "failed")) == ([], [])


def test_status_counts_ready_available_and_current_pods() -> None:
    wanted = stateful_set(minReadySeconds=10)
    pods = [pod(0, since=NOW - timedelta(seconds=30)), pod(1, since=NOW - timedelta(seconds=4)), pod(2, image="old")]
    decision = stateful_actions(wanted, pods, NOW)

    counts = {name: count for name, count in decision.status.items() if name.endswith("Replicas")}
    assert decision.status["replicas"] == 3
    assert decision.status["observedGeneration"] == 2
    assert counts == {"readyReplicas": 3, "availableReplicas": 1, "currentReplicas": 2, "updatedReplicas": 2}
    assert decision.wake_at == NOW + timedelta(seconds=6)


def test_pods_and_claims_are_named_by_their_ordinal() -> None:
    wanted = stateful_set(
        volumeClaimTemplates=[{"metadata": {"name": "data", "labels": {"a": "b"}}, "spec": {"accessModes": ["RWO"]}}]
    )
    template: Object = {
        "metadata": {"generateName": "db-", "labels": {"app": "x"}},
        "spec": {"volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]},
    }
    made = pod_of(wanted, 1, template)
    (claim,) = claims_of(wanted, 1)

    assert made["metadata"]["name"] == "db-1"
    assert "generateName" not in made["metadata"]
    assert made["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert len(made["metadata"]["labels"][REVISION_LABEL]) <= 63
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-1", "db-headless")
    assert made["spec"]["volumes"] == [
        {"name": "tmp", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}},
    ]
    assert claim["metadata"] == {"name": "data-db-1", "namespace": "n", "labels": {"a": "b"}}
    assert template["metadata"]["generateName"] == "db-", "the template stays as it is"
