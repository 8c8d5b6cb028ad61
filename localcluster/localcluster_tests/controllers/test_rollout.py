from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubewire import Object
from localcluster.controllers import rollout
from localcluster.controllers.replicas import replica_actions, with_failure

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def deployment(replicas: int = 4, image: str = "new", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "generation": 2},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"image": image}]}},
            **spec,
        },
    }


def replica_set(
    name: str, replicas: int, available: int | None = None, *, revision: int = 1, pods: int | None = None
) -> Object:
    count = replicas if pods is None else pods
    ready = count if available is None else available
    return {
        "metadata": {"name": name, "uid": name, "annotations": {rollout.REVISION: str(revision)}},
        "spec": {"replicas": replicas},
        "status": {"replicas": count, "readyReplicas": ready, "availableReplicas": ready},
    }


def steps(found: list[rollout.Scale]) -> dict[str, int]:
    return {step.replica_set["metadata"]["name"]: step.replicas for step in found}


def test_the_replica_set_of_a_template_is_found_again_and_labelled() -> None:
    wanted = deployment()
    made = rollout.replica_set_for(wanted, [], {"uid": "u"})
    made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"

    assert made["metadata"]["name"] == f"d-{rollout.template_hash(wanted['spec']['template'])}"
    assert made["spec"]["selector"]["matchLabels"][rollout.HASH_LABEL] == made["metadata"]["labels"][rollout.HASH_LABEL]
    assert rollout.new_replica_set(wanted, [made]) is made
    assert rollout.new_replica_set(deployment(image="other"), [made]) is None


def test_a_first_rollout_goes_to_full_size_at_once() -> None:
    assert steps(rollout.scaling(deployment(), replica_set("new", 0), [])) == {"new": 4}


def test_a_rolling_update_stays_within_surge_and_availability() -> None:
    new, old = replica_set("new", 0, revision=2), replica_set("old", 4)
    rounds = []
    for _ in range(20):
        found = steps(rollout.scaling(deployment(), new, [old]))
        if not found:
            break
        new = replica_set("new", found.get("new", new["spec"]["replicas"]), revision=2)
        old = replica_set("old", found.get("old", old["spec"]["replicas"]))
        total = new["spec"]["replicas"] + old["spec"]["replicas"]
        rounds.append(total)
        assert 3 <= total <= 5

    assert (new["spec"]["replicas"], old["spec"]["replicas"]) == (4, 0)
    assert len(rounds) > 1


def test_old_pods_stay_while_new_ones_are_not_available() -> None:
    broken = replica_set("new", 2, available=0, revision=2)

    assert steps(rollout.scaling(deployment(), broken, [replica_set("old", 3)])) == {}


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    wanted = deployment(strategy={"type": "Recreate"})
    new = replica_set("new", 0, revision=2)

    assert steps(rollout.scaling(wanted, new, [replica_set("old", 4)])) == {"old": 0}
    assert steps(rollout.scaling(wanted, new, [replica_set("old", 0, pods=2)])) == {}
    assert steps(rollout.scaling(wanted, new, [replica_set("old", 0)])) == {"new": 4}


def test_a_paused_rollout_does_not_move() -> None:
    found = rollout.scaling(deployment(paused=True), replica_set("new", 0), [replica_set("old", 4)])

    assert steps(found) == {}


def test_history_beyond_the_limit_is_obsolete_oldest_first() -> None:
    old = [replica_set(f"r{number}", 0, revision=number) for number in (3, 1, 2)]

    found = rollout.obsolete(deployment(revisionHistoryLimit=1), old)

    assert [entry["metadata"]["name"] for entry in found] == ["r1", "r2"]


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]}


def test_status_tells_progress_completion_and_a_missed_deadline() -> None:
    wanted, new, old = deployment(), replica_set("new", 2, revision=2), replica_set("old", 2)

    moving = rollout.deployment_status(wanted, new, [new, old], NOW)
    done = rollout.deployment_status(wanted, new := replica_set("new", 4), [new], NOW)
    stuck = {**wanted, "status": moving}
    late = rollout.deployment_status(
        stuck, replica_set("new", 2), [replica_set("new", 2), old], NOW + timedelta(seconds=601)
    )

    assert (moving["replicas"], moving["updatedReplicas"]) == (4, 2)
    assert conditions(moving)["Progressing"] == ("True", "ReplicaSetUpdated")
    assert conditions(done) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert conditions(late)["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_a_settled_deployment_writes_the_same_status_again() -> None:
    new = replica_set("new", 4)
    first = rollout.deployment_status(deployment(), new, [new], NOW)

    again = rollout.deployment_status({**deployment(), "status": first}, new, [new], NOW + timedelta(hours=1))

    assert again == first


def pod(name: str, *, ready_since: datetime | None = NOW, phase: str = "Running", age: int = 0) -> Object:
    status: Object = {"phase": phase, "conditions": []}
    if ready_since:
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": ready_since.isoformat()}]
    created = (NOW - timedelta(seconds=age)).isoformat()
    metadata = {"name": name, "creationTimestamp": created, "labels": {"app": "x"}}
    return {"metadata": metadata, "spec": {"nodeName": "local"}, "status": status}


def sized(replicas: int, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "x"}}}
    return {"metadata": {"generation": 1}, "spec": {"replicas": replicas, "template": template, **spec}}


def test_missing_pods_are_created_and_ended_ones_do_not_count() -> None:
    decision = replica_actions(sized(3), [pod("a"), pod("b", phase="Failed")], NOW)

    assert (decision.create, list(decision.delete)) == (2, [])
    assert decision.status == {
        "replicas": 1,
        "observedGeneration": 1,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
    }


def test_a_pod_that_is_ready_without_saying_since_when_counts_since_its_creation() -> None:
    """The field is optional, and whoever writes the status may leave it out."""
    sick = pod("a", age=50)
    del sick["status"]["conditions"][0]["lastTransitionTime"]

    decisions = [replica_actions(sized(1, minReadySeconds=seconds), [sick], NOW) for seconds in (0, 50, 51)]

    assert [decision.status["readyReplicas"] for decision in decisions] == [1, 1, 1]
    assert [decision.status.get("availableReplicas", 0) for decision in decisions] == [1, 1, 0]


def test_the_least_useful_pods_go_first() -> None:
    pods = [pod("old", age=100), pod("young", age=1), pod("sick", ready_since=None, age=50)]

    names = [entry["metadata"]["name"] for entry in replica_actions(sized(1), pods, NOW).delete]

    assert names == ["sick", "young"]


def test_a_pod_that_cannot_be_created_is_a_condition_since_the_first_refusal_until_it_can() -> None:
    first = with_failure({"replicas": 0}, {}, "pods forbidden", NOW)
    again = with_failure({"replicas": 0}, first, "pods still forbidden", NOW + timedelta(minutes=1))

    (failure,) = again["conditions"]
    assert (failure["type"], failure["status"], failure["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
    assert failure["message"] == "pods still forbidden"
    assert failure["lastTransitionTime"] == first["conditions"][0]["lastTransitionTime"]
    assert with_failure({"replicas": 1}, again, "", NOW) == {"replicas": 1}

    new = {**replica_set("new", 4, pods=0), "status": again}
    told = rollout.deployment_status(deployment(), new, [new], NOW)["conditions"]
    assert {each["type"]: each["message"] for each in told}["ReplicaFailure"] == "pods still forbidden"


@pytest.mark.parametrize(("passed", "available"), [(4, 0), (5, 1)])
def test_a_pod_is_available_once_it_was_ready_long_enough(passed: int, available: int) -> None:
    now = NOW + timedelta(seconds=passed)

    decision = replica_actions(sized(1, minReadySeconds=5), [pod("a")], now)

    assert decision.status.get("availableReplicas", 0) == available
    assert decision.wake_at == (None if available else NOW + timedelta(seconds=5))
