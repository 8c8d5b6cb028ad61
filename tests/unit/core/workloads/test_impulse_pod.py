"""The Deployment or StatefulSet of a listener, and what changes in a stored one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.impulse_change import listener_correction, must_be_recreated, notes_of, suspension
from core.workloads.impulse_pod import listener, listener_template
from core.workloads.impulse_workload import ListenerMode
from kubewire import apply_json_patch, copy_value
from tests.unit.core.workloads.impulse_samples import LABELS, OWNER, listening

HASH = "bubustack.io/template-hash"
BEFORE = "bubustack.io/suspended-replicas"


def stored(wanted: Object, **metadata: Any) -> Object:
    """The object as an API server has it: with the fields that it fills in."""
    obj: Object = copy_value(wanted)
    obj["metadata"] |= {"uid": "u", "resourceVersion": "7", **metadata}
    obj["spec"].setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}})
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    obj["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    return obj


def corrected(have: Object, wanted: Object, *, suspended: bool = False) -> Object:
    changes = listener_correction(have, wanted, suspended=suspended)
    result: Object = apply_json_patch(have, changes)
    return result


def test_a_deployment_is_controlled_by_its_impulse_and_runs_one_pod() -> None:
    made = listener(listening())
    assert made["apiVersion"] == "apps/v1"
    assert made["kind"] == "Deployment"
    assert made["metadata"]["labels"] == LABELS
    assert made["metadata"]["ownerReferences"] == [OWNER]
    assert list(made["metadata"]["annotations"]) == [HASH]
    assert set(made["spec"]) == {"replicas", "selector", "template"}
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["selector"] == {"matchLabels": LABELS}


def test_a_stateful_set_names_its_service_and_its_policy_if_there_is_one() -> None:
    made = listener(listening(mode=ListenerMode.STATEFUL_SET, service_name="hook"))
    assert (made["kind"], made["spec"]["serviceName"]) == ("StatefulSet", "hook")
    assert "podManagementPolicy" not in made["spec"]
    parallel = listening(mode=ListenerMode.STATEFUL_SET, pod_management_policy="Parallel")
    assert listener(parallel)["spec"]["podManagementPolicy"] == "Parallel"


def test_the_pod_has_one_container_with_the_settings_of_the_policy() -> None:
    policy = {
        "node_selector": {"disk": "ssd"},
        "tolerations": ({"key": "gpu"},),
        "affinity": {"podAffinity": {}},
        "probes": {"readiness": {"httpGet": {"port": 80}}},
        "resources": {"cpuLimit": "1", "ephemeralStorageRequest": "1Gi"},
        "secrets": {"files": "f", "all": "a"},
        "storage": {"file": {"path": "/data", "volumeClaimName": "c"}},
    }
    workload = listening(policy=policy, secret_schema={"files": {"mountType": "file"}, "all": {}})
    made = listener_template(workload)
    assert made["metadata"] == {"labels": LABELS}
    spec, [container] = made["spec"], made["spec"]["containers"]
    assert spec["serviceAccountName"] == "voice-hook-impulse-runner"
    assert spec["automountServiceAccountToken"] is True
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 1000,
    }
    assert (spec["nodeSelector"], spec["tolerations"], spec["affinity"]) == (
        {"disk": "ssd"},
        [{"key": "gpu"}],
        {"podAffinity": {}},
    )
    assert [volume["name"] for volume in spec["volumes"]] == ["secret-files", "bubu-storage"]
    assert {"restartPolicy", "terminationGracePeriodSeconds"} & set(spec) == set()
    assert container["name"] == "impulse"
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"] == {"limits": {"cpu": "1"}, "requests": {"ephemeral-storage": "1Gi"}}
    assert container["readinessProbe"] == {"httpGet": {"port": 80}}
    assert container["envFrom"] == [{"prefix": "all_", "secretRef": {"name": "a"}}]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/etc/bubu/secrets/files", "/data"]
    assert "ports" not in container


@pytest.mark.parametrize(
    ("given", "strategy"),
    [
        (None, None),
        ({}, None),
        ({"type": "Recreate"}, {"type": "Recreate"}),
        ({"type": "Recreate", "rollingUpdate": {"maxSurge": "1"}}, {"type": "Recreate"}),
        ({"type": "RollingUpdate"}, {"type": "RollingUpdate"}),
        (
            {"rollingUpdate": {"maxUnavailable": "1", "maxSurge": "25%"}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        ),
    ],
)
def test_the_update_strategy_is_that_of_the_impulse(given: Object | None, strategy: Object | None) -> None:
    assert listener(listening(update_strategy=given))["spec"].get("strategy") == strategy


def test_the_template_is_the_same_in_a_hundred_builds_whatever_the_order_of_its_parts() -> None:
    chance = random.Random(1)
    secrets = {name: f"secret-{name}" for name in "abcdefgh"}
    kinds = ("env", "file", "both")
    schema: dict[str, Any] = {name: {"mountType": kinds[number % 3]} for number, name in enumerate(secrets)}
    hashes, templates = set(), []
    for _ in range(100):
        shuffled = dict(chance.sample(list(secrets.items()), len(secrets)))
        policy = {"secrets": shuffled, "node_selector": dict(chance.sample([("a", "1"), ("b", "2")], 2))}
        workload = listening(policy=policy, secret_schema=dict(chance.sample(list(schema.items()), len(schema))))
        made = listener(workload)
        hashes.add(made["metadata"]["annotations"][HASH])
        templates.append(made["spec"]["template"])
    assert len(hashes) == 1
    assert all(each == templates[0] for each in templates)


def test_what_the_server_fills_in_and_what_others_write_is_no_change() -> None:
    wanted = listener(listening())
    have = stored(wanted)
    have["metadata"]["labels"] = {**LABELS, "team": "x"}
    have["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    have["spec"]["replicas"] = 5
    assert listener_correction(have, wanted, suspended=False) == []


def test_a_new_template_replaces_the_old_one_as_a_whole_and_nothing_else() -> None:
    have = stored(listener(listening(policy={"node_selector": {"a": "1"}})))
    have["metadata"]["labels"]["team"] = "x"
    have["spec"]["replicas"] = 5
    wanted = listener(listening(policy={"image": "other"}))
    changes = listener_correction(have, wanted, suspended=False)
    assert changes[:2] == [
        {"op": "test", "path": "/metadata/uid", "value": "u"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
    ]
    result = corrected(have, wanted)
    assert result["spec"]["template"] == wanted["spec"]["template"]
    assert result["spec"]["replicas"] == 5
    assert "strategy" not in result["spec"]  # the server fills in the default again
    assert result["metadata"]["labels"] == {**LABELS, "team": "x"}
    assert listener_correction(result, wanted, suspended=False) == []


def test_a_listener_with_its_identity_at_azure_asks_for_it_and_is_selected_as_before() -> None:
    wanted = listener(listening(policy={"storage": {"azure": {"account": "acc", "container": "con"}}}))
    label = {"azure.workload.identity/use": "true"}
    assert wanted["spec"]["template"]["metadata"]["labels"] == {**LABELS, **label}
    assert wanted["spec"]["selector"] == {"matchLabels": LABELS}
    assert corrected(stored(listener(listening())), wanted)["spec"]["template"] == wanted["spec"]["template"]


def test_each_setting_of_the_pod_changes_the_hash() -> None:
    changes: list[dict[str, Any]] = [
        {"policy": {"node_selector": {"a": "1"}}},
        {"policy": {"tolerations": ({"key": "x"},)}},
        {"policy": {"affinity": {"nodeAffinity": {}}}},
        {"policy": {"run_as_user": 7}},
        {"policy": {"probes": {"liveness": {"exec": {}}}}},
        {"policy": {"image_pull_policy": "Always"}},
        {"account": "other"},
        {"step_config": "{}"},
        {"throttle": {"burst": 1}},
        {"update_strategy": {"type": "Recreate"}},
    ]
    made = [listener(listening(**change)) for change in ({}, *changes)]
    assert len({each["metadata"]["annotations"][HASH] for each in made}) == len(made)


def test_labels_that_somebody_took_away_come_back() -> None:
    wanted = listener(listening())
    have = stored(wanted, labels={"team": "x"})
    assert corrected(have, wanted)["metadata"]["labels"] == {**LABELS, "team": "x"}


def test_a_suspension_sets_zero_replicas_and_brings_back_the_number_before() -> None:
    wanted = listener(listening(suspended=True))
    have = stored(listener(listening()))
    have["spec"]["replicas"] = 4
    suspended = corrected(have, wanted, suspended=True)
    assert (suspended["spec"]["replicas"], suspended["metadata"]["annotations"][BEFORE]) == (0, "4")
    assert listener_correction(suspended, wanted, suspended=True) == []
    resumed = corrected(suspended, listener(listening()))
    assert resumed["spec"]["replicas"] == 4
    assert BEFORE not in resumed["metadata"]["annotations"]


def test_a_suspension_needs_nothing_but_the_stored_workload() -> None:
    have = stored(listener(listening()))
    have["spec"]["replicas"] = 4
    changes = suspension(have)
    suspended = apply_json_patch(have, changes)
    assert (suspended["spec"]["replicas"], suspended["metadata"]["annotations"][BEFORE]) == (0, "4")
    assert [change["op"] for change in changes[:2]] == ["test", "test"]
    assert suspension(suspended) == []
    assert listener_correction(suspended, listener(listening(suspended=True)), suspended=True) == []


def test_a_patch_is_told_in_words() -> None:
    have, other = stored(listener(listening())), listener(listening(policy={"image": "next"}))
    rolled_out = listener_correction(have, other, suspended=False)
    assert [word for word, _ in notes_of(rolled_out)] == ["Updated"]
    assert [word for word, _ in notes_of(suspension(have))] == ["Suspended"]
    have["spec"]["replicas"] = 0
    have["metadata"]["annotations"][BEFORE] = "2"
    [_, resumed] = notes_of(listener_correction(have, other, suspended=False))
    assert resumed == ("Resumed", "has 2 replicas again: the Impulse is not suspended any more")
    assert notes_of([]) == []


def test_a_listener_that_begins_suspended_starts_with_one_replica() -> None:
    made = listener(listening(suspended=True))
    assert made["spec"]["replicas"] == 0
    assert corrected(stored(made), listener(listening()))["spec"]["replicas"] == 1


@pytest.mark.parametrize(("record", "replicas"), [("nonsense", 1), ("-3", 1), ("0", 1), ("99999999999", 1000)])
def test_a_record_that_somebody_has_damaged_does_no_harm(record: str, replicas: int) -> None:
    have = stored(listener(listening(suspended=True)))
    have["metadata"]["annotations"][BEFORE] = record
    assert corrected(have, listener(listening()))["spec"]["replicas"] == replicas


def test_a_workload_that_a_user_scaled_to_zero_stays_there_after_a_suspension() -> None:
    have = stored(listener(listening()))
    have["spec"]["replicas"] = 0
    assert listener_correction(have, listener(listening()), suspended=True) == []
    assert listener_correction(have, listener(listening()), suspended=False) == []


def test_what_no_server_lets_change_needs_a_new_object() -> None:
    stateful = listening(mode=ListenerMode.STATEFUL_SET, service_name="a")
    have = stored(listener(stateful))
    have["spec"]["podManagementPolicy"] = "OrderedReady"
    assert not must_be_recreated(have, listener(stateful))
    for other in (
        listening(mode=ListenerMode.STATEFUL_SET, service_name="b"),
        listening(mode=ListenerMode.STATEFUL_SET, service_name="a", pod_management_policy="Parallel"),
    ):
        assert must_be_recreated(have, listener(other))
    parallel = stored(listener(listening(mode=ListenerMode.STATEFUL_SET, pod_management_policy="Parallel")))
    assert must_be_recreated(parallel, listener(listening(mode=ListenerMode.STATEFUL_SET)))
    assert not must_be_recreated(stored(listener(listening())), listener(listening()))
