"""Defaults of built-in kinds, as a real API server (1.37) sets them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcluster.server.builtin import BUILTIN
from localcluster.server.builtin_defaults import complete_created, default_builtin
from localcluster.server.types import Object, ResourceType

CONTAINER = {
    "name": "a",
    "image": "x",
    "imagePullPolicy": "Always",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
POD_SPEC = {
    "containers": [CONTAINER],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}


def builtin(plural: str) -> ResourceType:
    return next(rtype for rtype in BUILTIN if rtype.plural == plural)


def defaulted(plural: str, obj: Object) -> Object:
    found = copy.deepcopy({"metadata": {"name": "n"}, **obj})
    default_builtin(found, builtin(plural))
    once = copy.deepcopy(found)
    default_builtin(found, builtin(plural))
    assert found == once, "defaults must be idempotent"
    return found


def template(**spec: Any) -> Object:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "x"}], **spec}}


def test_a_pod_gets_the_defaults_of_its_spec_and_a_service_account() -> None:
    spec = defaulted("pods", {"spec": {"containers": [{"name": "a", "image": "x"}]}})["spec"]
    assert spec == {
        **POD_SPEC,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "serviceAccountName": "default",
        "serviceAccount": "default",
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("x", "Always"),
        ("x:latest", "Always"),
        ("x:1", "IfNotPresent"),
        ("r.io:5000/x", "Always"),
        ("r.io:5000/x:2", "IfNotPresent"),
        ("x@sha256:abc", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    spec = defaulted("pods", {"spec": {"containers": [{"name": "a", "image": image}]}})["spec"]
    assert spec["containers"][0]["imagePullPolicy"] == policy


def test_requests_follow_limits_and_amounts_become_text() -> None:
    limits = {"cpu": 0.5, "memory": "1Gi"}
    pod = {"spec": {"containers": [{"name": "a", "image": "x", "resources": {"limits": limits}}]}}
    resources = defaulted("pods", pod)["spec"]["containers"][0]["resources"]
    assert resources == {
        "limits": {"cpu": "0.5", "memory": "1Gi"},
        "requests": {"cpu": "0.5", "memory": "1Gi"},
    }


def test_probes_ports_references_and_volumes_are_completed() -> None:
    container = {
        "name": "a",
        "image": "x",
        "ports": [{"containerPort": 80}],
        "livenessProbe": {"httpGet": {"port": 80}},
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    }
    volumes = [
        {"name": "s", "secret": {"secretName": "x"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "none"},
    ]
    spec = defaulted("pods", {"spec": {"containers": [container], "volumes": volumes}})["spec"]
    (found,) = spec["containers"]
    assert found["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert found["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert found["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert spec["volumes"] == [
        {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
        {
            "name": "t",
            "projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                "defaultMode": 420,
            },
        },
        {"name": "none", "emptyDir": {}},
    ]


def test_a_job_gets_its_counts_and_its_pods_no_service_account() -> None:
    spec = defaulted("jobs", {"spec": {"template": template(restartPolicy="Never")}})["spec"]
    assert spec["template"]["spec"] == {**POD_SPEC, "restartPolicy": "Never"}
    counts = {key: value for key, value in spec.items() if key != "template"}
    assert counts == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }


def test_a_parallel_job_without_completions_stays_a_work_queue() -> None:
    spec = defaulted("jobs", {"spec": {"parallelism": 3, "template": template()}})["spec"]
    assert "completions" not in spec


def test_a_new_job_selects_its_own_pods() -> None:
    job = defaulted("jobs", {"spec": {"template": template(restartPolicy="Never")}})
    job["metadata"]["uid"] = "u-1"
    complete_created(job, builtin("jobs"))
    own = {
        "batch.kubernetes.io/controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "n",
        "controller-uid": "u-1",
        "job-name": "n",
    }
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert job["spec"]["template"]["metadata"]["labels"] == {**own, "a": "b"}
    assert job["metadata"]["labels"] == {**own, "a": "b"}


def test_a_new_job_with_labels_or_a_manual_selector_keeps_them() -> None:
    selector = {"matchLabels": {"a": "b"}}
    job = defaulted("jobs", {"spec": {"template": template(), "manualSelector": True, "selector": selector}})
    job["metadata"] |= {"uid": "u-1", "labels": {"z": "1"}}
    complete_created(job, builtin("jobs"))
    assert job["spec"]["selector"] == selector
    assert job["metadata"]["labels"] == {"z": "1"}
    assert job["spec"]["template"]["metadata"]["labels"] == {"a": "b"}


def test_a_deployment_rolls_by_quarters_unless_it_recreates() -> None:
    spec = defaulted("deployments", {"spec": {"template": template()}})["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    recreated = defaulted("deployments", {"spec": {"template": template(), "strategy": {"type": "Recreate"}}})
    assert recreated["spec"]["strategy"] == {"type": "Recreate"}


def test_a_secret_takes_in_its_plain_texts_and_shows_none() -> None:
    secret = defaulted("secrets", {"data": {"x": "eA==", "a": "b2xk"}, "stringData": {"a": "b"}})
    assert secret == {"metadata": {"name": "n"}, "type": "Opaque", "data": {"x": "eA==", "a": "Yg=="}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": [{"port": 80}]}, {"type": "ClusterIP", "internalTrafficPolicy": "Cluster"}),
        ({"clusterIP": "None", "ports": []}, {"clusterIPs": ["None"]}),
        ({"type": "NodePort", "ports": []}, {"externalTrafficPolicy": "Cluster"}),
        ({"type": "LoadBalancer", "ports": []}, {"allocateLoadBalancerNodePorts": True}),
        ({"type": "ExternalName", "externalName": "a.b"}, {"sessionAffinity": "None"}),
    ],
)
def test_a_service_is_completed_by_its_type(spec: Object, expected: Object) -> None:
    found = defaulted("services", {"spec": spec})["spec"]
    assert expected.items() <= found.items()
    if spec.get("ports"):
        assert found["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


def test_bindings_and_webhooks_are_completed() -> None:
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]
    binding = defaulted("rolebindings", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects})
    assert binding["roleRef"]["apiGroup"] == group
    assert binding["subjects"] == [{"kind": "User", "name": "u", "apiGroup": group}, subjects[1]]
    webhook = {"name": "a.b.c", "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "rules": [{}]}
    configuration = {"kind": "MutatingWebhookConfiguration", "webhooks": [webhook]}
    (found,) = defaulted("mutatingwebhookconfigurations", configuration)["webhooks"]
    assert found["clientConfig"]["service"]["port"] == 443
    assert found["rules"] == [{"scope": "*"}]
    assert (found["failurePolicy"], found["timeoutSeconds"], found["reinvocationPolicy"]) == ("Fail", 10, "Never")


def test_a_kind_without_defaults_passes_untouched() -> None:
    assert defaulted("configmaps", {"data": {"a": "b"}}) == {"metadata": {"name": "n"}, "data": {"a": "b"}}
