"""Status, Ready and Restarts of Pods in every state that was tried on a real API server (1.37)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from localcluster.server.tables_pod import finished_condition, pod_cells
from localcluster.server.types import Object

NOW = datetime(2026, 11, 25, 1, 15, 0, tzinfo=UTC)
AT = "2026-11-25T00:30:00Z"
RUNNING: Object = {"running": {"startedAt": AT}}
DONE: Object = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": AT}}
READY: Object = {"type": "Ready", "status": "True"}


def container(state: Object, *, ready: bool = False, restarts: int = 0, **more: Any) -> Object:
    return {"name": "c", "ready": ready, "restartCount": restarts, "state": state, **more}


def waiting(reason: str) -> Object:
    return {"waiting": {"reason": reason}}


def exited(code: int, **more: Any) -> Object:
    return {"terminated": {"exitCode": code, "finishedAt": AT, **more}}


def init(state: Object, name: str = "i", **more: Any) -> Object:
    return {"name": name, "ready": False, "restartCount": 0, "state": state, **more}


def pod(status: Object, *, containers: int = 1, inits: int = 0, **spec: Any) -> Object:
    listed = [{"name": f"i{index}"} for index in range(inits)]
    shape = {"containers": [{"name": "c"}] * containers, "initContainers": listed, **spec}
    return {"metadata": {"name": "p", "creationTimestamp": AT}, "spec": shape, "status": status}


CASES: list[tuple[str, Object, list[str]]] = [
    ("pending", pod({"phase": "Pending"}), ["0/1", "Pending", "0"]),
    (
        "running",
        pod({"phase": "Running", "containerStatuses": [container(RUNNING, ready=True)]}),
        ["1/1", "Running", "0"],
    ),
    (
        "one crashing beside one running",
        pod(
            {
                "phase": "Running",
                "containerStatuses": [
                    container(RUNNING, ready=True, restarts=2, lastState=exited(1)),
                    container(waiting("CrashLoopBackOff")),
                ],
            },
            containers=2,
        ),
        ["1/2", "CrashLoopBackOff", "2 (45m ago)"],
    ),
    (
        "image not found",
        pod({"phase": "Pending", "containerStatuses": [container(waiting("ImagePullBackOff"))]}),
        ["0/1", "ImagePullBackOff", "0"],
    ),
    (
        "completed",
        pod({"phase": "Succeeded", "containerStatuses": [container(DONE)]}),
        ["0/1", "Completed", "0"],
    ),
    (
        "failed with a reason",
        pod({"phase": "Failed", "containerStatuses": [container(exited(3, reason="Error"))]}),
        ["0/1", "Error", "0"],
    ),
    (
        "failed with a bare exit code",
        pod({"phase": "Failed", "containerStatuses": [container(exited(3))]}),
        ["0/1", "ExitCode:3", "0"],
    ),
    (
        "killed by a signal",
        pod({"phase": "Failed", "containerStatuses": [container(exited(0, signal=9))]}),
        ["0/1", "Signal:9", "0"],
    ),
    ("evicted", pod({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]),
    (
        "second init container running",
        pod({"phase": "Pending", "initContainerStatuses": [init(exited(0)), init(RUNNING, restartCount=1)]}, inits=2),
        ["0/1", "Init:1/2", "1"],
    ),
    (
        "init container failed",
        pod({"phase": "Pending", "initContainerStatuses": [init(exited(2), restartCount=3)]}, inits=1),
        ["0/1", "Init:ExitCode:2", "3"],
    ),
    (
        "init image not found",
        pod({"phase": "Pending", "initContainerStatuses": [init(waiting("ImagePullBackOff"))]}, inits=1),
        ["0/1", "Init:ImagePullBackOff", "0"],
    ),
    (
        "waiting to initialize",
        pod({"phase": "Pending", "initContainerStatuses": [init(waiting("PodInitializing"))]}, inits=1),
        ["0/1", "Init:0/1", "0"],
    ),
    (
        "held by a scheduling gate",
        pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
        ["0/1", "SchedulingGated", "0"],
    ),
    (
        "one container done, ready none the less",
        pod(
            {
                "phase": "Running",
                "containerStatuses": [container(RUNNING, ready=True), container(DONE)],
                "conditions": [READY],
            },
            containers=2,
        ),
        ["1/2", "Running", "0"],
    ),
    (
        "one container done, not ready",
        pod({"phase": "Running", "containerStatuses": [container(RUNNING, ready=True), container(DONE)]}, containers=2),
        ["1/2", "NotReady", "0"],
    ),
    (
        "a sidecar counts as a container",
        pod(
            {
                "phase": "Running",
                "initContainerStatuses": [init(RUNNING, "s", ready=True, started=True, restartCount=2)],
                "containerStatuses": [container(RUNNING, ready=True, restarts=1)],
            },
            initContainers=[{"name": "s", "restartPolicy": "Always"}],
        ),
        ["2/2", "Running", "3"],
    ),
]


@pytest.mark.parametrize(("obj", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_a_pod_says_in_one_word_how_it_is(obj: Object, expected: list[str]) -> None:
    assert pod_cells(obj, NOW)[1:4] == expected


def test_a_pod_being_deleted_is_terminating_until_it_is_over() -> None:
    leaving = pod({"phase": "Running"})
    leaving["metadata"]["deletionTimestamp"] = AT
    assert pod_cells(leaving, NOW)[2] == "Terminating"
    leaving["status"]["phase"] = "Succeeded"
    assert pod_cells(leaving, NOW)[2] == "Succeeded"


def test_wide_columns_tell_address_node_and_readiness_gates() -> None:
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.5"}], "conditions": [{"type": "x.y/z", "status": "True"}]}
    obj = pod(status, nodeName="n1", readinessGates=[{"conditionType": "x.y/z"}])
    assert pod_cells(obj, NOW)[5:] == ["10.0.0.5", "n1", "<none>", "1/1"]
    assert pod_cells(pod({"phase": "Running"}), NOW)[5:] == ["<none>"] * 4


def test_only_a_finished_pod_is_marked_completed() -> None:
    assert finished_condition(pod({"phase": "Running"})) == []
    (condition,) = finished_condition(pod({"phase": "Succeeded"}))
    assert (condition["type"], condition["reason"]) == ("Completed", "Succeeded")
