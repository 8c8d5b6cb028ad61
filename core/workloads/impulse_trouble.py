"""Why a listener is not ready, from its workload and its Pods, in one sentence. Pure.

The text goes into a status, so it names Pods, images and exit codes, but nothing that a container has written. It does
not change while the same trouble repeats: a container that crashes again and again causes no writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from core.api.conditions import find_condition, truncated
from core.api.objects import Object, ReadOnlyObject, controller_of, is_being_deleted
from core.workloads.impulse_workload import IMPULSE_CONTAINER

_ORDINARY_WAITS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_PULLING: Final = frozenset({"ErrImagePull", "ImagePullBackOff"})
"""Kubernetes alternates between these two while an image cannot be pulled."""
_RESTARTING: Final = "CrashLoopBackOff"
_LONGEST: Final = 300


def listener_trouble(workload: Object, pods: Iterable[Object], missing: str = "") -> str:
    """The trouble of the newest Pod that has any, or of the workload itself; empty when nothing is known.

    Args:
        pods: Pods with the labels of the workload; those that others control are left out.
        missing: Secrets that do not exist; a Pod that waits for one does not say so itself.
    """
    own = [pod for pod in pods if _belongs_to(pod, workload) and not is_being_deleted(pod)]
    own.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]), reverse=True)
    found = next((f"Pod {pod['metadata']['name']} {text}" for pod in own if (text := _trouble_of(pod))), "")
    return found or next(_troubles_of_workload(workload, missing), "")


def _belongs_to(pod: Object, workload: Object) -> bool:
    """The ReplicaSets of a Deployment are named after it; a StatefulSet controls its Pods itself."""
    owner, metadata = controller_of(pod) or {}, workload["metadata"]
    if owner.get("kind") == "ReplicaSet":
        return workload["kind"] == "Deployment" and str(owner.get("name")).startswith(f"{metadata['name']}-")
    return bool(owner.get("uid") == metadata["uid"])


def _trouble_of(pod: Object) -> str:
    status = pod.get("status") or {}
    container: Object = next(
        (each for each in status.get("containerStatuses") or () if each.get("name") == IMPULSE_CONTAINER), {}
    )
    if container.get("ready"):
        return ""
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if reason in _PULLING:
        return f"cannot pull its image {container.get('image')}"
    ended = _last_end(container)
    if ended is not None and (reason in _ORDINARY_WAITS or reason == _RESTARTING):
        return f"restarts: its container ended with exit code {ended.get('exitCode')} ({ended.get('reason')})"
    if reason not in _ORDINARY_WAITS:
        return f"cannot start: {reason}{_because(waiting)}"
    if (container.get("state") or {}).get("running") is not None:
        return "runs, but is not ready yet"
    if status.get("phase") == "Failed":
        return f"has failed: {status.get('reason') or 'no reason is reported'}{_because(status)}"
    scheduled = find_condition(status.get("conditions") or (), "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"does not fit on any node: {scheduled.get('reason')}{_because(scheduled)}"
    return ""


def _last_end(container: ReadOnlyObject) -> Object | None:
    for key in ("state", "lastState"):
        ended: Object | None = (container.get(key) or {}).get("terminated")
        if ended is not None:
            return ended
    return None


def _troubles_of_workload(workload: Object, missing: str) -> Iterator[str]:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    failure = find_condition(conditions, "ReplicaFailure") or {}
    if failure.get("status") == "True":
        yield f"no Pod can be created: {failure.get('reason')}{_because(failure)}"
    if missing:
        yield missing
    progress = find_condition(conditions, "Progressing") or {}
    if progress.get("status") == "False":
        yield f"the rollout does not progress: {progress.get('reason')}{_because(progress)}"


def _because(source: ReadOnlyObject) -> str:
    """The message of Kubernetes, on one line."""
    words: Any = source.get("message") or ""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(words)).split())
    return f": {truncated(text, _LONGEST)}" if text else ""
