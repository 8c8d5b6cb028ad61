"""Why an Impulse is down, from its status, its workload and its Pods. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from core.api.conditions import find_condition
from core.api.keys import ANNOTATION_SUSPEND, LABEL_APP_INSTANCE
from core.api.objects import Object, is_being_deleted
from core.api.phases import ImpulseReason, Reason
from core.workloads.impulse_workload import IMPULSE_CONTAINER, ListenerMode, instance_label
from views.impulses import ImpulseView, view_impulse
from views.pod_wait import PodObstacle, pod_wait, scheduled_at
from views.why.cause import Cause, CauseKind

_OBSTACLES: Final = {
    PodObstacle.IMAGE: (CauseKind.IMAGE, "cannot pull its image", "the author of the ImpulseTemplate"),
    PodObstacle.NODE: (
        CauseKind.NODE,
        "does not fit on any node",
        "a cluster administrator, or the author of the Impulse",
    ),
    PodObstacle.CONTAINER: (
        CauseKind.CONTAINER,
        "cannot create its container",
        "the owner of the Secrets and ConfigMaps that it refers to",
    ),
}
_MOST_PODS: Final = 3
LISTENING: Final = "Listening"
"""The condition of a Pod of the embedded cluster with the addresses of its ports."""


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """The known objects of one Impulse, at one moment."""

    impulse: Object
    pods: tuple[Object, ...] = ()
    """Pods with the labels of its workload, newest first."""
    unseen: tuple[str, ...] = ()
    """Objects that the user may not see."""
    last_lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The last lines of the log, by name of the Pod."""


@dataclass(frozen=True, slots=True)
class ListenerExplanation:
    view: ImpulseView
    causes: tuple[Cause, ...]
    unseen: tuple[str, ...]
    summary: str = ""
    """The whole answer, if the listener is up."""


def explain_listener(facts: ListenerFacts) -> ListenerExplanation:
    view = view_impulse(facts.impulse)
    if view.is_ready and view.is_current:
        counted = f"{view.received} received, {view.launched} started a run, {view.failed} rejected"
        where = "".join(f"; {text}" for pod in explained_pods(facts.pods) if (text := _place_of(pod)))
        return ListenerExplanation(view, (), facts.unseen, f"is active and listening{where}; events: {counted}")
    return ListenerExplanation(view, tuple(_causes(facts, view)), facts.unseen)


def _place_of(pod: Object) -> str:
    """Where it listens, on a node without a network for Pods; empty on others."""
    return str(
        (find_condition((pod.get("status") or {}).get("conditions") or (), LISTENING) or {}).get("message") or ""
    )


def _causes(facts: ListenerFacts, view: ImpulseView) -> Iterator[Cause]:
    if view.phase is None or not view.is_current:
        text = "has not been seen by an operator since it was last changed"
        who = "the operator, in a moment; else an administrator: check that an operator runs"
        yield _cause(view, CauseKind.OPERATOR, text, who)
        return
    if view.reason != Reason.RECONCILING:
        yield _of_reason(view)
        return
    pods = explained_pods(facts.pods)
    found = [
        replace(cause, last_lines=facts.last_lines.get(str(pod["metadata"]["name"]), ()))
        for pod in pods
        if (cause := _of_pod(view, pod)) is not None
    ]
    yield from found
    if not found:
        yield _cause(view, CauseKind.STARTING, view.message, "", *_looks(view, pods))


def explained_pods(pods: Sequence[Object]) -> list[Object]:
    """Those that an explanation looks at; ``pods`` are newest first."""
    return [pod for pod in pods if not is_being_deleted(pod)][:_MOST_PODS]


def log_of_unready(pod: Object) -> dict[str, str] | None:
    """The parameters of the request for the log of a container that has run but is not ready; None: there is none."""
    container = _container(pod)
    state, before = container.get("state") or {}, (container.get("lastState") or {}).get("terminated")
    if container.get("ready") or not (before or {"running", "terminated"} & set(state)):
        return None
    ended_before = before is not None and "terminated" not in state
    return {"container": IMPULSE_CONTAINER, **({"previous": "true"} if ended_before else {})}


def _container(pod: Object) -> Object:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each.get("name") == IMPULSE_CONTAINER), {})


def _looks(view: ImpulseView, pods: Sequence[Object]) -> Iterator[str]:
    """Commands that show more about what the operator says."""
    selector = f"{LABEL_APP_INSTANCE}={instance_label(view.name)}"
    for kind in ("statefulset" if view.mode == ListenerMode.STATEFUL_SET else "deployment", *(["pod"] if pods else [])):
        yield shlex.join(["kubectl", "describe", kind, "--selector", selector, *_place(view)])


def _of_reason(view: ImpulseView) -> Cause:
    apply, edit = "kubectl apply --filename", shlex.join(["kubectl", "edit", "impulse", view.name, *_place(view)])
    match view.reason:
        case ImpulseReason.TEMPLATE_NOT_FOUND:
            who = "the owner of the ImpulseTemplate"
            return _cause(view, CauseKind.TEMPLATE, view.message, who, f"{apply} TEMPLATE.yaml")
        case Reason.STORY_NOT_FOUND:
            return _cause(view, CauseKind.STORY, view.message, "the owner of the Story", f"{apply} STORY.yaml")
        case Reason.STORY_REFERENCE_INVALID:
            who = "an administrator of the Story's namespace, with a ReferenceGrant"
            return _cause(view, CauseKind.REFERENCE, view.message, who)
        case Reason.PERMISSION_DENIED:
            who = "a cluster administrator; the operator continues by itself"
            return _cause(view, CauseKind.PERMISSION, view.message, who)
        case Reason.NAME_CONFLICT:
            return _cause(view, CauseKind.CONFLICT, view.message, "the owner of that object")
        case ImpulseReason.SUSPENDED:
            resume = shlex.join(["kubectl", "annotate", "impulse", view.name, f"{ANNOTATION_SUSPEND}-", *_place(view)])
            return _cause(view, CauseKind.SUSPENDED, view.message, "a user who may change the Impulse", resume)
        case _:
            who = "the author of the Impulse or of its template"
            return _cause(view, CauseKind.CONFIGURATION, view.message, who, edit)


def _of_pod(view: ImpulseView, pod: Object) -> Cause | None:
    """What keeps the Pod from being ready, as far as it says so itself."""
    name = str(pod["metadata"]["name"])
    describe = shlex.join(["kubectl", "describe", "pod", name, *_place(view)])
    if wait := pod_wait(pod):
        kind, text, who = _OBSTACLES[wait.obstacle]
        return Cause(
            kind,
            *(view.namespace, "", "", f"Pod {name} {text}: {wait.text}"),
            since=wait.since,
            who=who,
            commands=(describe,),
        )
    container = _container(pod)
    if container.get("ready"):
        return None
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended is not None:
        restarts = container.get("restartCount") or 0
        text = f"Pod {name} restarts: its container ended with exit code {ended.get('exitCode')}, {restarts} restarts"
        logs = shlex.join(["kubectl", "logs", name, "--previous", *_place(view)])
        return _cause(view, CauseKind.FAILED, text, "the author of the Impulse, or of its program", logs)
    if "running" not in state:
        return None
    return Cause(
        CauseKind.STARTING,
        *(view.namespace, "", "", f"Pod {name} runs, but its readiness probe fails"),
        since=scheduled_at(pod),
        commands=(describe,),
    )


def _cause(view: ImpulseView, kind: CauseKind, text: str, who: str, *commands: str) -> Cause:
    return Cause(kind, view.namespace, "", "", text, view.since, who=who, commands=commands)


def _place(view: ImpulseView) -> tuple[str, str]:
    return "--namespace", view.namespace
