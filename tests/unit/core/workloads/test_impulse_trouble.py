"""Why a listener is not ready, in one sentence that does not change while the trouble repeats."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.impulse_trouble import listener_trouble

DEPLOYMENT: Object = {"kind": "Deployment", "metadata": {"name": "hook", "uid": "d"}, "status": {}}
STATEFUL_SET: Object = {"kind": "StatefulSet", "metadata": {"name": "hook", "uid": "s"}, "status": {}}
OF_DEPLOYMENT: Object = {"kind": "ReplicaSet", "name": "hook-abc", "uid": "r", "controller": True}
OF_STATEFUL_SET: Object = {"kind": "StatefulSet", "name": "hook", "uid": "s", "controller": True}


def pod(name: str = "hook-1", *, owner: Object = OF_DEPLOYMENT, created: str = "2025-01-01", **status: Any) -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": created, "ownerReferences": [owner]},
        "status": {"phase": "Pending", **status},
    }


def container(*, last: Object | None = None, ready: bool = False, **state: Any) -> Object:
    named = {"name": "impulse", "image": "registry.example/hook:1", "ready": ready, "state": state}
    return {"containerStatuses": [named | ({"lastState": {"terminated": last}} if last else {})]}


CRASH = {"exitCode": 3, "reason": "Error", "message": "password=hunter2"}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, ""),
        (container(waiting={"reason": "ContainerCreating"}), ""),
        (container(ready=True, running={}), ""),
        (container(running={}), "Pod hook-1 runs, but is not ready yet"),
        (
            container(waiting={"reason": "ErrImagePull", "message": "x"}),
            "Pod hook-1 cannot pull its image registry.example/hook:1",
        ),
        (
            container(waiting={"reason": "ImagePullBackOff", "message": "Back-off"}),
            "Pod hook-1 cannot pull its image registry.example/hook:1",
        ),
        (
            container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "keys"\nnot found'}),
            'Pod hook-1 cannot start: CreateContainerConfigError: secret "keys" not found',
        ),
        (
            container(waiting={"reason": "CrashLoopBackOff", "message": "back-off 40s"}, last=CRASH),
            "Pod hook-1 restarts: its container ended with exit code 3 (Error)",
        ),
        (container(terminated=CRASH), "Pod hook-1 restarts: its container ended with exit code 3 (Error)"),
        (container(running={}, last=CRASH), "Pod hook-1 restarts: its container ended with exit code 3 (Error)"),
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no CPU"}
                ]
            },
            "Pod hook-1 does not fit on any node: Unschedulable: no CPU",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "Pod hook-1 has failed: Evicted: disk"),
    ],
)
def test_a_pod_says_what_keeps_it_from_being_ready(status: Object, said: str) -> None:
    assert listener_trouble(DEPLOYMENT, [pod(**status)]) == said


def test_the_newest_pod_with_trouble_counts() -> None:
    pods = [
        pod("old", created="2025-01-01", **container(terminated=CRASH)),
        pod("new", created="2025-01-02", **container(waiting={"reason": "ErrImagePull"})),
        pod("newest", created="2025-01-03", **container(ready=True, running={})),
    ]
    assert listener_trouble(DEPLOYMENT, pods).startswith("Pod new cannot pull")


def test_pods_that_others_control_or_that_are_ending_do_not_count() -> None:
    crash = container(terminated=CRASH)
    ending = pod(**crash)
    ending["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    strangers = [
        pod(owner={**OF_DEPLOYMENT, "name": "other-abc"}, **crash),
        pod(owner={**OF_STATEFUL_SET, "uid": "another"}, **crash),
        ending,
    ]
    assert listener_trouble(DEPLOYMENT, strangers) == ""
    assert listener_trouble(STATEFUL_SET, [pod(**crash)]) == ""
    assert listener_trouble(STATEFUL_SET, [pod(owner=OF_STATEFUL_SET, **crash)]) != ""


def test_without_pods_the_deployment_says_why() -> None:
    failing = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    assert listener_trouble({**DEPLOYMENT, "status": {"conditions": [failing]}}, []) == (
        "no Pod can be created: FailedCreate: exceeded quota"
    )
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert listener_trouble({**DEPLOYMENT, "status": {"conditions": [stuck]}}, []) == (
        "the rollout does not progress: ProgressDeadlineExceeded"
    )


def test_a_missing_secret_is_told_when_the_pod_only_waits_and_before_its_effect_on_the_rollout() -> None:
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    workload, waiting = {**DEPLOYMENT, "status": {"conditions": [stuck]}}, container(waiting={"reason": ""})
    assert (
        listener_trouble(workload, [pod(**waiting)], "Secret 'keys' does not exist") == "Secret 'keys' does not exist"
    )
    crashed = [pod(**container(terminated=CRASH))]
    assert listener_trouble(workload, crashed, "Secret 'keys' does not exist").startswith("Pod hook-1 restarts")


def test_what_a_container_wrote_is_never_repeated() -> None:
    assert "hunter2" not in listener_trouble(DEPLOYMENT, [pod(**container(terminated=CRASH))])
