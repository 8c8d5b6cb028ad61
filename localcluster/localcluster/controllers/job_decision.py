"""The next actions for a Job: Pods to create or delete, and the status to write. Pure; kube-controller-manager's rules.

A Pod that somebody deletes counts as failed from that moment, not only when it has ended: nothing replaces the Pod of a
Job without retries.

Differences from kube-controller-manager: Pods carry no ``batch.kubernetes.io/job-tracking`` finalizer. If a user
deletes a finished Pod before the Job ends, only the counters of the status still include it; they never decrease.
Indexed completion, pod failure policies and success policies end the Job at once with reason ``UnsupportedJob``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from localcluster.clock import to_time

Object = dict[str, Any]

DEFAULT_BACKOFF_LIMIT = 6
_FAILURE_DELAY_LIMIT = timedelta(minutes=10)
_FINAL = ("Complete", "Failed")
_UNSUPPORTED = ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex")


@dataclass(frozen=True, slots=True)
class JobDecision:
    """The next actions. The controller creates Pods, then writes the status, then deletes Pods."""

    create: int = 0
    """How many Pods to create from the template."""
    delete: Sequence[Object] = ()
    """Pods to delete."""
    status: Object | None = None
    """The whole status to store; None: no change."""
    urgent: bool = True
    """False: only counters of the status changed, so the write may wait a moment for the next change."""
    remove_job: bool = False
    """The Job ended, and its ``ttlSecondsAfterFinished`` has passed: delete it."""
    wake_at: datetime | None = None
    """Decide again at this time if nothing happens before."""


@dataclass(frozen=True, slots=True)
class _Census:
    """The Job's Pods, grouped by how they count."""

    active: list[Object] = field(default_factory=list)
    terminating: list[Object] = field(default_factory=list)
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    restarts: int = 0
    last_failure_at: datetime | None = None


def job_actions(
    job: Object, pods: Sequence[Object], now: datetime, *, failure_delay_seconds: float = 10
) -> JobDecision:
    """Decide from the Job, its Pods and the current time.

    Args:
        failure_delay_seconds: pause before a failed Pod is replaced; doubles with each further failure.
    """
    final = finished_condition(job)
    if final is not None:
        return _after_the_end(job, final, now)
    if job["metadata"].get("deletionTimestamp"):
        return JobDecision()
    census = _count(job, pods)
    verdict = _verdict(job, census, now)
    if verdict is not None:
        return _end(job, census, verdict, now)
    if job["spec"].get("suspend"):
        return _suspend(job, census, now)
    return _go_on(job, census, now, failure_delay_seconds)


def finished_condition(job: Object) -> Object | None:
    """The condition that says the Job has ended, if it has."""
    return _condition(job.get("status") or {}, *_FINAL)


def _count(job: Object, pods: Sequence[Object]) -> _Census:
    status = job.get("status") or {}
    active, terminating, ready, succeeded, failed, restarts = [], [], 0, 0, 0, 0
    last_failure_at: datetime | None = None
    for pod in pods:
        pod_status = pod.get("status") or {}
        phase = pod_status.get("phase")
        if phase == "Succeeded":
            succeeded += 1
        elif phase == "Failed":
            failed += 1
            last_failure_at = max(filter(None, (last_failure_at, _finished_at(pod))), default=None)
        elif pod["metadata"].get("deletionTimestamp"):
            terminating.append(pod)
        else:
            active.append(pod)
            ready += any(c["type"] == "Ready" and c["status"] == "True" for c in pod_status.get("conditions") or ())
            for name in ("initContainerStatuses", "containerStatuses"):
                restarts += sum(int(entry.get("restartCount") or 0) for entry in pod_status.get(name) or ())
    succeeded = max(succeeded, int(status.get("succeeded") or 0))
    if deleted := _deleted_by_others(job, _wanted(job, succeeded, len(active)) - len(active), terminating):
        failed += len(deleted)
        last_failure_at = max(filter(None, (last_failure_at, *map(_deleted_at, deleted))), default=None)
    return _Census(
        active,
        terminating,
        ready,
        succeeded,
        max(failed, int(status.get("failed") or 0)),
        restarts,
        last_failure_at,
    )


def _wanted(job: Object, succeeded: int, active: int) -> int:
    """How many Pods the Job wants to run at once."""
    completions, parallelism = job["spec"].get("completions"), int(job["spec"].get("parallelism", 1))
    if completions is not None:
        return min(parallelism, int(completions) - succeeded)
    return active if succeeded else parallelism


def _deleted_by_others(job: Object, missing: int, terminating: Sequence[Object]) -> Sequence[Object]:
    """The Pods in deletion that the Job would still need. The others were deleted by this controller."""
    spec, status = job["spec"], job.get("status") or {}
    if spec.get("suspend") or _only_replaces_ended(job) or _condition(status, "FailureTarget", "SuccessCriteriaMet"):
        return ()
    resumptions = [entry for entry in status.get("conditions") or () if entry["type"] == "Suspended"]
    resumed_at = max(filter(None, (_instant(entry.get("lastTransitionTime")) for entry in resumptions)), default=None)
    later = [pod for pod in terminating if resumed_at is None or (_created_at(pod) or resumed_at) > resumed_at]
    return later[: max(missing, 0)]


def _only_replaces_ended(job: Object) -> bool:
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def _verdict(job: Object, census: _Census, now: datetime) -> tuple[str, str, str] | None:
    """Condition type, reason and message if the Job has to end, else None; an announced end does not change."""
    spec, status = job["spec"], job.get("status") or {}
    target = _condition(status, "FailureTarget", "SuccessCriteriaMet")
    if target is not None:
        kind = "Failed" if target["type"] == "FailureTarget" else "Complete"
        return kind, target.get("reason", ""), target.get("message", "")
    unsupported = [name for name in _UNSUPPORTED if spec.get(name) is not None]
    if spec.get("completionMode") == "Indexed":
        unsupported.append("completionMode: Indexed")
    if unsupported:
        return "Failed", "UnsupportedJob", f"spec.{unsupported[0]} is not supported by a local cluster"
    limit = spec.get("backoffLimit", DEFAULT_BACKOFF_LIMIT)
    on_failure = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
    too_many_restarts = on_failure and census.restarts > 0 and census.restarts >= limit
    if census.failed > limit or too_many_restarts:
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    deadline = _deadline(job)
    if deadline is not None and now >= deadline and not spec.get("suspend"):
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    completions = spec.get("completions")
    done = census.succeeded > 0 and not census.active if completions is None else census.succeeded >= completions
    if done:
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _end(job: Object, census: _Census, verdict: tuple[str, str, str], now: datetime) -> JobDecision:
    """Announce the end and delete the Pods that still run; when none is left, confirm the end."""
    kind, reason, message = verdict
    announced = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
    status = _counted(job, census, now, active=0)
    status["terminating"] = len(census.active) + len(census.terminating)
    status = _with_condition(status, announced, "True", reason, message, now)
    if not census.active and not census.terminating:
        status = _with_condition(status, kind, "True", reason, message, now)
        if kind == "Complete":
            status["completionTime"] = to_time(now)
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        wake_at = None if ttl is None else now + timedelta(seconds=ttl)
        return JobDecision(status=_if_changed(job, status), wake_at=wake_at)
    return JobDecision(delete=census.active, status=_if_changed(job, status))


def _after_the_end(job: Object, final: Object, now: datetime) -> JobDecision:
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    ended_at = _instant(final.get("lastTransitionTime"))
    if ttl is None or ended_at is None or job["metadata"].get("deletionTimestamp"):
        return JobDecision()
    expires_at = ended_at + timedelta(seconds=ttl)
    if now >= expires_at:
        return JobDecision(remove_job=True)
    return JobDecision(wake_at=expires_at)


def _suspend(job: Object, census: _Census, now: datetime) -> JobDecision:
    status = _counted(job, census, now, active=0)
    status["terminating"] = len(census.active) + len(census.terminating)
    status.pop("startTime", None)
    status = _with_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", now)
    return JobDecision(delete=census.active, status=_if_changed(job, status))


def _go_on(job: Object, census: _Census, now: datetime, failure_delay_seconds: float) -> JobDecision:
    wanted = _wanted(job, census.succeeded, len(census.active))
    surplus = census.active[max(wanted, 0) :]
    present = len(census.active) + (len(census.terminating) if _only_replaces_ended(job) else 0)
    missing = max(wanted - present, 0)
    wake_at = _deadline(job, now)
    if missing and census.last_failure_at is not None:
        pause = timedelta(seconds=failure_delay_seconds * 2 ** max(census.failed - 1, 0))
        retry_at = census.last_failure_at + min(pause, _FAILURE_DELAY_LIMIT)
        if retry_at > now:
            missing, wake_at = 0, min(filter(None, (wake_at, retry_at)))
    status = _counted(job, census, now, active=len(census.active) - len(surplus) + missing)
    status["terminating"] = len(census.terminating) + len(surplus)
    resumed = _condition(job.get("status") or {}, "Suspended")
    if resumed is not None:
        status = _with_condition(status, "Suspended", "False", "JobResumed", "Job resumed", now)
    urgent = bool(surplus) or resumed is not None
    return JobDecision(missing, surplus, _if_changed(job, status), urgent, wake_at=wake_at)


def _counted(job: Object, census: _Census, now: datetime, *, active: int) -> Object:
    status = {**(job.get("status") or {})}
    status.setdefault("startTime", to_time(now))
    status |= {"active": active, "ready": min(census.ready, active)}
    status |= {"succeeded": census.succeeded, "failed": census.failed}
    for name in ("active", "succeeded", "failed"):
        if not status[name]:
            del status[name]
    status["uncountedTerminatedPods"] = {}
    return status


def _deadline(job: Object, started_by_default: datetime | None = None) -> datetime | None:
    seconds = job["spec"].get("activeDeadlineSeconds")
    started_at = _instant((job.get("status") or {}).get("startTime")) or started_by_default
    return None if seconds is None or started_at is None else started_at + timedelta(seconds=seconds)


def _if_changed(job: Object, status: Object) -> Object | None:
    return None if status == (job.get("status") or {}) else status


def _condition(status: Object, *kinds: str) -> Object | None:
    """The first condition of one of ``kinds`` that is True."""
    for condition in status.get("conditions") or ():
        if condition["type"] in kinds and condition["status"] == "True":
            return dict(condition)
    return None


def _with_condition(status: Object, kind: str, value: str, reason: str, message: str, now: datetime) -> Object:
    known = [condition for condition in status.get("conditions") or () if condition["type"] == kind]
    if known and known[0]["status"] == value:
        return status
    condition = {
        "type": kind,
        "status": value,
        "lastProbeTime": to_time(now),
        "lastTransitionTime": to_time(now),
        "reason": reason,
        "message": message,
    }
    others = [condition for condition in status.get("conditions") or () if condition["type"] != kind]
    return {**status, "conditions": [*others, condition]}


def _finished_at(pod: Object) -> datetime | None:
    ends = [
        _instant(((entry.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for entry in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    known = [end for end in ends if end is not None]
    return max(known) if known else _created_at(pod)


def _created_at(pod: Object) -> datetime | None:
    return _instant(pod["metadata"].get("creationTimestamp"))


def _deleted_at(pod: Object) -> datetime | None:
    """When the deletion was requested. ``deletionTimestamp`` is when it ends at the latest."""
    ends_at = _instant(pod["metadata"].get("deletionTimestamp"))
    grace = pod["metadata"].get("deletionGracePeriodSeconds") or 0
    return ends_at - timedelta(seconds=grace) if ends_at is not None else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
