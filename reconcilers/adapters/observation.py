"""What a Job and its Pods say of the current attempt. Pure: objects in, one ``Observation`` out.

The Pod's terminal container state comes first, because the Job controller reports about a second later; the Job's own
conditions decide when no Pod can (deadline, deleted Pods). Only the container ``engram`` of the newest Pod of this very
Job counts: sidecars and Pods of earlier attempts do not. Source: StepRun contract 17.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from core.api import keys
from core.api.instant import parse_instant_or_none
from core.engine.ports import AttemptState, Object, Observation
from core.workloads.step_workload import ENGRAM_CONTAINER
from reconcilers.adapters.world import controlled_by, controller_owner

_ACTIVE_POD_PHASES: Final = frozenset({"Pending", "Running", "Unknown", ""})
_DEADLINE_REASON: Final = "DeadlineExceeded"


def observe(step_run: Object, job: Object | None, pods: Sequence[Object]) -> Observation:
    """One look at a StepRun.

    Args:
        job: the Job named like it and controlled by it, if any.
        pods: Pods made by Jobs of that name, of any attempt.
    """
    if job is None or job["metadata"].get("deletionTimestamp"):
        lingering = any(_active(pod) for pod in pods)
        state = AttemptState.LINGERING if lingering or job is not None else AttemptState.ABSENT
        return Observation(step_run, state)
    own = [pod for pod in pods if controlled_by(pod, job["metadata"]["uid"])]
    newest = max(own, key=_age_key, default=None)
    base = _Facts(step_run, job, newest)
    if finished := _finished(base):
        return finished
    if newest is None:
        return base.observation(AttemptState.STARTING)
    return _unfinished(base, newest)


class _Facts:
    """The parts of an observation that do not depend on how far the attempt got."""

    def __init__(self, step_run: Object, job: Object, pod: Object | None) -> None:
        self.step_run = step_run
        self.job = job
        self.pod = pod
        self.container = _engram_status(pod) if pod else None

    def observation(self, state: AttemptState, **more: Any) -> Observation:
        annotations = self.job["metadata"].get("annotations") or {}
        attempt = annotations.get(keys.ANNOTATION_ATTEMPT, "")
        return Observation(
            self.step_run,
            state,
            attempt=int(attempt) if attempt.isdigit() else None,
            deadline_at=parse_instant_or_none(annotations.get(keys.ANNOTATION_DEADLINE_AT)),
            job_uid=self.job["metadata"]["uid"],
            pod_name=self.pod["metadata"]["name"] if self.pod else None,
            **more,
        )


def _finished(facts: _Facts) -> Observation | None:
    """The first trustworthy word that the attempt is over, or None."""
    failure = _job_condition(facts.job, "Failed") or _job_condition(facts.job, "FailureTarget")
    if failure and failure.get("reason") == _DEADLINE_REASON:
        return facts.observation(AttemptState.FAILED, reason=_DEADLINE_REASON, message=failure.get("message", ""))
    ended = ((facts.container or {}).get("state") or {}).get("terminated")
    final = _pods_are_final(facts.job) or failure is not None
    if ended and facts.pod and _pod_phase(facts.pod) in ("Succeeded", "Failed") and (final or ended["exitCode"] == 0):
        return facts.observation(
            AttemptState.SUCCEEDED if ended["exitCode"] == 0 else AttemptState.FAILED,
            exit_code=ended["exitCode"],
            reason=ended.get("reason", ""),
            message=ended.get("message", ""),
            started_at=parse_instant_or_none(ended.get("startedAt")),
            finished_at=parse_instant_or_none(ended.get("finishedAt")),
        )
    if facts.pod and _pod_phase(facts.pod) == "Failed" and final:
        status = facts.pod["status"]
        return facts.observation(
            AttemptState.FAILED, reason=status.get("reason", ""), message=status.get("message", "")
        )
    if failure:
        return facts.observation(
            AttemptState.FAILED, reason=failure.get("reason", ""), message=failure.get("message", "")
        )
    if _job_condition(facts.job, "Complete"):
        return facts.observation(AttemptState.SUCCEEDED, exit_code=0)
    return None


def _unfinished(facts: _Facts, pod: Object) -> Observation:
    state = (facts.container or {}).get("state") or {}
    if running := state.get("running"):
        return facts.observation(AttemptState.RUNNING, started_at=parse_instant_or_none(running.get("startedAt")))
    waiting = state.get("waiting") or {}
    if waiting.get("reason") and waiting["reason"] != "ContainerCreating":
        return facts.observation(AttemptState.STARTING, reason=waiting["reason"], message=waiting.get("message", ""))
    unscheduled: Object = next(
        (
            condition
            for condition in (pod.get("status") or {}).get("conditions") or ()
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
        ),
        {},
    )
    return facts.observation(
        AttemptState.STARTING, reason=unscheduled.get("reason", ""), message=unscheduled.get("message", "")
    )


def _pods_are_final(job: Object) -> bool:
    """Whether a failed Pod ends the attempt: so it is unless the Job itself may start another."""
    return not (job.get("spec") or {}).get("backoffLimit", 0)


def _engram_status(pod: Object) -> Object | None:
    statuses: list[Object] = (pod.get("status") or {}).get("containerStatuses") or []
    return next((status for status in statuses if status.get("name") == ENGRAM_CONTAINER), None)


def _job_condition(job: Object, type_: str) -> Object | None:
    conditions: list[Object] = (job.get("status") or {}).get("conditions") or []
    return next(
        (condition for condition in conditions if condition["type"] == type_ and condition["status"] == "True"), None
    )


def _pod_phase(pod: Object) -> str:
    phase: str = (pod.get("status") or {}).get("phase", "")
    return phase


def _active(pod: Object) -> bool:
    return _pod_phase(pod) in _ACTIVE_POD_PHASES and controller_owner(pod) is not None


def _age_key(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]
