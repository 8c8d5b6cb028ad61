"""A Pod's row, with its status in one word that follows from its phase, its containers and its conditions.

Source: the API server's own Pod printer (Kubernetes 1.37), checked case by case.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcluster.server import tables_age
from localcluster.server.types import Object

_NONE = "<none>"
_NODE_UNREACHABLE = "NodeLost"


@dataclass
class _Tally:
    """Counts over the containers of a Pod."""

    ready: int = 0
    restarts: int = 0
    last_restart: str = ""

    def count(self, status: Object) -> None:
        self.restarts += status.get("restartCount", 0)
        finished = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        self.last_restart = max(self.last_restart, finished)


def pod_cells(pod: Object, now: datetime) -> list[Any]:
    """The cells of the columns Name to Readiness Gates."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    reason, tally, total = _summary(spec, status)
    if metadata.get("deletionTimestamp"):
        if status.get("reason") == _NODE_UNREACHABLE:
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    restarts = str(tally.restarts)
    if tally.restarts and tally.last_restart:
        restarts = f"{restarts} ({tables_age.age(tally.last_restart, now)} ago)"
    addresses = status.get("podIPs") or [{}]
    return [
        metadata["name"],
        f"{tally.ready}/{total}",
        reason,
        restarts,
        tables_age.age(metadata.get("creationTimestamp"), now),
        addresses[0].get("ip") or status.get("podIP") or _NONE,
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        _readiness_gates(spec, status),
    ]


def finished_condition(pod: Object) -> list[Object]:
    """Row conditions with which clients can dim Pods that have ended."""
    match (pod.get("status") or {}).get("phase"):
        case "Succeeded":
            reason, message = "Succeeded", "The pod has completed successfully."
        case "Failed":
            reason, message = "Failed", "The pod failed."
        case _:
            return []
    return [{"type": "Completed", "status": "True", "reason": reason, "message": message}]


def _summary(spec: Object, status: Object) -> tuple[str, _Tally, int]:
    reason = status.get("reason") or status.get("phase") or ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    init_specs = spec.get("initContainers") or []
    sidecars = {container["name"] for container in init_specs if container.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    everything, running_beside = _Tally(), _Tally()
    initializing = ""
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        everything.count(container)
        is_sidecar = container.get("name") in sidecars
        if is_sidecar:
            running_beside.count(container)
        initializing = _why_initializing(container, f"{index}/{len(init_specs)}", is_sidecar=is_sidecar)
        if initializing:
            break
        if is_sidecar and container.get("started") and container.get("ready"):
            running_beside.ready += 1
    if initializing:
        everything.ready = running_beside.ready
        if not _has_condition(status, "Initialized"):
            return initializing, everything, total
        reason = initializing
    return _with_containers(reason, status, running_beside), running_beside, total


def _why_initializing(container: Object, progress: str, *, is_sidecar: bool) -> str:
    """The status of the Pod while this init container keeps the next one from starting; empty when it does not."""
    state = container.get("state") or {}
    terminated, waiting = state.get("terminated"), state.get("waiting")
    if terminated is not None and terminated.get("exitCode", 0) == 0:
        return ""
    if is_sidecar and container.get("started"):
        return ""
    if terminated is not None:
        return f"Init:{_exit_reason(terminated)}"
    if waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
        return f"Init:{waiting['reason']}"
    return f"Init:{progress}"


def _with_containers(reason: str, status: Object, tally: _Tally) -> str:
    has_running = False
    for container in reversed(status.get("containerStatuses") or ()):
        tally.count(container)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if waiting is not None and waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _exit_reason(terminated)
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            tally.ready += 1
    if reason == "Completed" and has_running:
        return "Running" if _has_condition(status, "Ready") else "NotReady"
    return reason


def _exit_reason(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _has_condition(status: Object, kind: str) -> bool:
    return any(
        condition.get("type") == kind and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    if not gates:
        return _NONE
    return f"{sum(1 for gate in gates if _has_condition(status, gate))}/{len(gates)}"
