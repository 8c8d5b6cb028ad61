"""The status of a Pod, computed from the records of its containers, as a kubelet does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from localcluster.clock import to_time
from localcluster.node.records import ContainerRecord, Running, Terminated, Waiting

Object = dict[str, Any]

LISTENING = "Listening"
"""The condition of a Pod that says where it listens, if its image map entry has ports."""


class PodPhase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class RestartPolicy(StrEnum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"

    def restarts_after(self, outcome: Terminated) -> bool:
        """Whether a container with this outcome is started again."""
        if self is RestartPolicy.ON_FAILURE:
            return not outcome.succeeded
        return self is RestartPolicy.ALWAYS

    def for_init(self) -> RestartPolicy:
        """The policy for init containers, which run until they succeed once: Always becomes OnFailure."""
        return RestartPolicy.ON_FAILURE if self is RestartPolicy.ALWAYS else self


FINISHED = frozenset({PodPhase.SUCCEEDED, PodPhase.FAILED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a Pod that does not follow from its containers: evicted, past its deadline, refused."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PodView:
    """All data from which a status is computed."""

    restart_policy: RestartPolicy
    init: Sequence[ContainerRecord]
    main: Sequence[ContainerRecord]
    started_at: datetime
    host_ip: str
    pod_ip: str
    verdict: Verdict | None = None
    stopped: bool = False
    """The Pod is being stopped: no container is restarted any more."""
    at_work: bool = False
    """A container may still be running. A verdict waits for its end, because Failed means that nothing runs."""


def pod_phase(view: PodView) -> PodPhase:
    """The phase that follows from the records."""
    if view.verdict is not None:
        return _phase_at_work(view) if view.at_work else PodPhase.FAILED
    policy = view.restart_policy
    for record in view.init:
        if not isinstance(record.state, Terminated):
            return PodPhase.PENDING
        if not record.state.succeeded:
            retried = policy.for_init().restarts_after(record.state) and not view.stopped
            return PodPhase.PENDING if retried else PodPhase.FAILED
    ended = [record.state for record in view.main if isinstance(record.state, Terminated)]
    final = [state for state in ended if view.stopped or not policy.restarts_after(state)]
    if len(final) == len(view.main):
        return PodPhase.SUCCEEDED if all(state.succeeded for state in final) else PodPhase.FAILED
    fresh = [record for record in view.main if isinstance(record.state, Waiting) and record.last is None]
    return PodPhase.PENDING if fresh else PodPhase.RUNNING


def _phase_at_work(view: PodView) -> PodPhase:
    """The phase of a Pod that is being ended: Running if a container has begun, else Pending."""
    has_begun = any(not isinstance(record.state, Waiting) or record.last is not None for record in view.main)
    return PodPhase.RUNNING if has_begun else PodPhase.PENDING


def pod_status(view: PodView, previous: Object, now: datetime) -> Object:
    """The whole status to write. ``previous`` is the stored status: unchanged conditions keep their times."""
    phase = pod_phase(view)
    status: Object = {
        "phase": phase.value,
        "conditions": _conditions(view, phase, previous.get("conditions") or [], now),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "podIP": view.pod_ip,
        "podIPs": [{"ip": view.pod_ip}],
        "startTime": to_time(view.started_at),
        "containerStatuses": [record.to_status() for record in view.main],
        "qosClass": previous.get("qosClass") or "BestEffort",
    }
    if view.init:
        status["initContainerStatuses"] = [record.to_status(init=True) for record in view.init]
    if view.verdict is not None and not view.at_work:
        status |= {"reason": view.verdict.reason, "message": view.verdict.message}
    return status


def _conditions(view: PodView, phase: PodPhase, previous: list[Object], now: datetime) -> list[Object]:
    initialized = all(isinstance(record.state, Terminated) and record.state.succeeded for record in view.init)
    unready = [record.name for record in view.main if not (isinstance(record.state, Running) and record.ready)]
    not_initialized = [
        record.name for record in view.init if not (isinstance(record.state, Terminated) and record.state.succeeded)
    ]
    if phase is PodPhase.SUCCEEDED:
        why_unready, unready_message = "PodCompleted", ""
    elif phase is PodPhase.FAILED:
        why_unready, unready_message = "PodFailed", ""
    else:
        why_unready, unready_message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    ready = phase is PodPhase.RUNNING and not unready
    wanted = [
        ("PodScheduled", True, "", ""),
        (
            "Initialized",
            initialized,
            "PodCompleted" if phase is PodPhase.SUCCEEDED else "" if initialized else "ContainersNotInitialized",
            "" if initialized else f"containers with incomplete status: [{' '.join(not_initialized)}]",
        ),
        ("ContainersReady", ready, "" if ready else why_unready, "" if ready else unready_message),
        ("Ready", ready, "" if ready else why_unready, "" if ready else unready_message),
    ]
    ports = [pair for record in view.main for pair in record.ports.items()]
    if ports:
        where = ", ".join(f"port {port} is {view.pod_ip}:{lent}" for port, lent in ports)
        wanted.append((LISTENING, True, "PortsOfTheMachine", where))
    known = {condition["type"]: condition for condition in previous}
    ours = {LISTENING, *(kind for kind, *_ in wanted)}
    return [_condition(*entry, known.get(entry[0]), now) for entry in wanted] + [
        condition for condition in previous if condition["type"] not in ours
    ]


def _condition(kind: str, holds: bool, reason: str, message: str, known: Object | None, now: datetime) -> Object:
    status = "True" if holds else "False"
    unchanged = known is not None and known.get("status") == status
    since = known["lastTransitionTime"] if unchanged and known and known.get("lastTransitionTime") else to_time(now)
    condition: Object = {"type": kind, "status": status, "lastTransitionTime": since}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition
